//! One refresh, from the locks to the file (credentials.md, *Refreshing, step by step*). What must not be interrupted is not:
//! whoever began this waits for its end.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use trunkline_core::login::Login;
use trunkline_core::provider::Provider;
use trunkline_core::refresh::{
    CALL_LASTS, RefreshAnswer, RefreshFailure, RefreshKind, TokenAnswer, Unread, is_settled_after_failure,
    judge, refuses_scopes,
};
use trunkline_core::secret::Secret;
use trunkline_login_store::{
    Answer, AnswerEnd, BeginError, Begun, Committed, Finished, HEARTBEAT, Heartbeat, LoginStore, Pending,
    ReadError, Reason, Sent, WriteOutstanding, fault,
};

use super::call::{Calls, call};
use super::live::Ways;
use super::token_answer::{TokenFormat, read};
use super::waiter::Waits;
use crate::own_request::{BodyEnd, CameBack, OwnAnswer, OwnError, OwnRequest, Stage, connect, send_over};

/// What a refresh needs.
pub(super) struct Job {
    pub(super) store: LoginStore,
    pub(super) provider: &'static dyn Provider,
    pub(super) kind: RefreshKind,
    /// The login that is to be refreshed.
    pub(super) login: Login,
    pub(super) ways: Arc<Ways>,
    pub(super) waits: Waits,
    /// Told of the new login as soon as it can be used, before it is in the file.
    pub(super) renewed: mpsc::UnboundedSender<Login>,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    /// The file had a login that needs no refresh.
    Needless(Login),
    /// The provider answered with a token, and the file has it, or it is kept beside it.
    Renewed,
    /// The same, but it could not be written: to be tried again.
    Outstanding(Box<WriteOutstanding>),
    /// The provider did not give one, and nobody else got one either.
    Failed(RefreshFailure),
    /// Another holds the locks, or took them over: again in a while.
    LockedOut(String),
    /// The answer could not have been kept, so it was not asked for.
    CannotKeep(String),
    /// There is no login to refresh any more.
    NoLogin,
}

impl End {
    /// Why it gave no login, for whoever waits for one. Names no path.
    pub(super) fn problem(&self) -> Option<Arc<str>> {
        match self {
            Self::Failed(RefreshFailure::TooManyRequests(_)) => {
                Some("the provider asks to wait; it is tried again".into())
            }
            Self::Failed(RefreshFailure::Unusable) => {
                Some("the provider answered without a token; it is tried again".into())
            }
            Self::Failed(RefreshFailure::Unread(why)) => Some(
                format!(
                    "no token could be read from the provider's answer: {why}; it is kept, and tried again"
                )
                .into(),
            ),
            Self::Failed(RefreshFailure::Unreachable) => {
                Some("the provider did not answer; it is tried again".into())
            }
            Self::LockedOut(why) => Some(why.as_str().into()),
            // These have a state of their own, or none that is told.
            Self::Failed(RefreshFailure::RefusedForGood)
            | Self::CannotKeep(_)
            | Self::NoLogin
            | Self::Needless(_)
            | Self::Renewed
            | Self::Outstanding(_) => None,
        }
    }
}

impl Job {
    /// Does it all.
    pub(super) async fn run(self) -> End {
        let reason = match self.kind {
            RefreshKind::Proactive => Reason::Proactive,
            RefreshKind::Forced => Reason::Forced { failed: self.login.access_token.clone() },
        };
        let (store, format, waits, tag) =
            (self.store.clone(), TokenFormat(self.provider), self.waits.clone(), Arc::clone(&self.ways.tag));
        let begun =
            blocking(move || store.begin(&format, &reason, &waits, &mut |finished| report(&tag, finished)));
        let pending = match begun.await {
            Ok(Ok(Begun::Pending(pending))) => pending,
            Ok(Ok(Begun::Fresh(text) | Begun::NoRefreshToken(text))) => {
                return match self.provider.read_login(text.as_bytes()) {
                    Ok(login) => End::Needless(login),
                    Err(_) => End::NoLogin,
                };
            }
            Ok(Ok(Begun::Outstanding(outstanding))) => return End::Outstanding(outstanding),
            Ok(Err(error)) => {
                let told = error.to_string();
                return match error {
                    // It is there, but cannot be reached: the token that is held goes on to count.
                    BeginError::Read(ReadError::Keychain(_))
                    | BeginError::NoProof(_)
                    | BeginError::Finish(_) => End::CannotKeep(told),
                    BeginError::Read(_) | BeginError::NotALogin(_) => End::NoLogin,
                    BeginError::Lock(_) | BeginError::OwnerLives | BeginError::Moved => End::LockedOut(told),
                };
            }
            Err(died) => return End::LockedOut(died),
        };
        self.exchange(*pending).await
    }

    async fn exchange(self, pending: Pending) -> End {
        let _heart = Heart::beat(pending.heartbeat());
        let Ok(login) = self.provider.read_login(pending.text().as_bytes()) else { return End::NoLogin };
        let Some((request, with_own_scopes)) = self.requests(&login) else {
            return End::NoLogin;
        };
        fault::pass("call.before");
        let sent = match blocking(move || pending.sending()).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(lost)) => return End::LockedOut(lost.to_string()),
            Err(died) => return End::LockedOut(died),
        };
        let mut endpoint =
            Endpoint { job: &self, login: &login, request, with_own_scopes, sent: Some(sent), partly: None };
        let called = call(&mut endpoint).await;
        let Endpoint { sent, partly, .. } = endpoint;
        let Some(sent) = sent else { return End::LockedOut("an internal error".to_owned()) };
        // Of an answer that was cut, a part may have been read; it counts if the repeated call gave nothing better.
        let (failure, lost) = match (called, partly) {
            (Ok(Some(Called::Renewed(renewed))), _) | (_, Some(renewed)) => {
                return self.keep(sent, renewed.login).await;
            }
            (Ok(Some(Called::Unread(why))), None) => (RefreshFailure::Unread(why), None),
            (Ok(Some(Called::Refused(answer))), None) => {
                let judged = judge(self.provider, &login, &token_answer(&answer), SystemTime::now());
                // A judgement of a refusal is no token.
                (judged.err().unwrap_or(RefreshFailure::Unusable), None)
            }
            (Ok(None), None) => (RefreshFailure::Unreachable, None),
            (Err(lost), None) => (RefreshFailure::Unreachable, Some(lost)),
        };
        self.give_up(sent, &login, failure, lost).await
    }

    /// One try. From the connection on, it is not abandoned before [`CALL_LASTS`].
    async fn try_call(&self, request: &OwnRequest) -> Result<CameBack, OwnError> {
        let (upstream, user_agent) = (&self.ways.token, &self.ways.user_agent);
        let sent = async {
            let connection = connect(upstream).await?;
            fault::pass("call.connected");
            let until = Some(Instant::now() + CALL_LASTS);
            send_over(connection, upstream, user_agent, request, until, |stage| {
                fault::pass(match stage {
                    Stage::Sent => "call.sent",
                    Stage::Head => "call.head",
                    Stage::Body => "call.body",
                });
            })
            .await
        };
        sent.await.inspect_err(|error| {
            tracing::debug!(credential = &*self.ways.tag, %error, "the token endpoint did not answer");
        })
    }

    /// The request, and the one to make instead if its scopes are refused.
    fn requests(&self, login: &Login) -> Option<(OwnRequest, Option<OwnRequest>)> {
        let request = self.provider.refresh_request(login, self.kind)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type));
        let with = |body: &Secret| OwnRequest {
            method: Method::POST,
            path: None,
            headers: headers.clone(),
            body: Bytes::copy_from_slice(body.expose().as_bytes()),
        };
        Some((with(&request.body), request.with_own_scopes.as_ref().map(with)))
    }

    /// The answer is in the journal; now it is in use, and then in the file.
    async fn keep(self, sent: Sent, login: Login) -> End {
        let format = TokenFormat(self.provider);
        let answered = sent.answered(&format);
        fault::pass("renewed.telling");
        // Whoever keeps the credential is there until this ends.
        let _ = self.renewed.send(login);
        fault::pass("renewed.told");
        let waits = Waits::default();
        match blocking(move || answered.commit(&format, &waits)).await {
            Ok(Ok(committed)) => {
                if let Committed::SetAside(reason) = committed {
                    tracing::warn!(
                        credential = &*self.ways.tag,
                        "the answer to a refresh is kept aside, since the login changed meanwhile: {reason}"
                    );
                }
                End::Renewed
            }
            Ok(Err(outstanding)) => End::Outstanding(outstanding),
            // It is in the journal.
            Err(died) => End::CannotKeep(died),
        }
    }

    /// `lost`: why the call could not be repeated.
    async fn give_up(self, sent: Sent, login: &Login, failure: RefreshFailure, lost: Option<String>) -> End {
        let (store, format, waits) = (self.store.clone(), TokenFormat(self.provider), self.waits.clone());
        let read = blocking(move || {
            let unread = sent.give_up(&format);
            (unread, store.read_patiently(&format, &waits))
        });
        let (unread, read) = match read.await {
            Ok((unread, read)) => (unread, read.ok()),
            Err(_) => (None, None),
        };
        if let Some(why) = unread {
            tracing::error!(
                credential = &*self.ways.tag,
                why = %why,
                "the token endpoint answered, and no token can be read from its answer; it is kept beside the journal's place, and read again at every start; \"trunkline doctor\" says where"
            );
        }
        // Another process may have succeeded where we failed.
        if let Some(text) = read
            && let Ok(read) = self.provider.read_login(text.as_bytes())
            && is_settled_after_failure(&read, self.kind, login, SystemTime::now())
        {
            return End::Needless(read);
        }
        match (lost, failure, unread) {
            (Some(lost), ..) => End::LockedOut(lost),
            // Without an answer to the repeated call, the first one is what there is.
            (None, RefreshFailure::Unreachable, Some(why)) => End::Failed(RefreshFailure::Unread(why)),
            (None, failure, _) => End::Failed(failure),
        }
    }
}

/// What the token endpoint came back with.
enum Called {
    /// A token, which is in the journal.
    Renewed(Box<RefreshAnswer>),
    /// Success, but no token can be read from it. It is in the journal.
    Unread(Unread),
    /// Anything but success.
    Refused(OwnAnswer),
}

/// The token endpoint, for [`call`].
struct Endpoint<'a> {
    job: &'a Job,
    login: &'a Login,
    request: OwnRequest,
    /// What is sent instead once the scopes of the request have been refused.
    with_own_scopes: Option<OwnRequest>,
    /// `None` only while something is done with it.
    sent: Option<Sent>,
    /// What could be read of an answer that was cut before its refresh token.
    partly: Option<Box<RefreshAnswer>>,
}

impl Endpoint<'_> {
    /// Puts an answer into the journal, before anything else is done with it.
    async fn record(&mut self, answer: Answer) {
        let Some(mut sent) = self.sent.take() else { return };
        let recorded = blocking(move || {
            let recorded = sent.keep(answer);
            (sent, recorded)
        });
        let Ok((sent, recorded)) = recorded.await else { return };
        self.sent = Some(sent);
        if let Err(problem) = recorded {
            tracing::warn!(
                credential = &*self.job.ways.tag,
                "the answer to a refresh is in memory only, until it is written: {problem}"
            );
        }
    }
}

impl Calls for Endpoint<'_> {
    type Answer = Called;

    async fn try_once(&mut self) -> Result<Called, OwnError> {
        let mut came = self.job.try_call(&self.request).await?;
        if !came.status.is_success() {
            let answer = came.read()?;
            if self.with_own_scopes.is_none() || !refuses_scopes(&token_answer(&answer)) {
                return Ok(Called::Refused(answer));
            }
            if let Err(lost) = self.may_repeat().await {
                return Err(OwnError::NoAnswer(lost));
            }
            if let Some(request) = self.with_own_scopes.take() {
                self.request = request;
            }
            came = self.job.try_call(&self.request).await?;
            if !came.status.is_success() {
                return came.read().map(Called::Refused);
            }
        }
        // The token that was sent is spent.
        let end = match &came.end {
            BodyEnd::Whole => AnswerEnd::Whole,
            BodyEnd::Cut(_) => AnswerEnd::Cut,
            BodyEnd::TooLong => AnswerEnd::TooLong,
        };
        if end == AnswerEnd::Cut && came.body.is_empty() {
            return Err(OwnError::NoAnswer("the answer ended behind its head".to_owned()));
        }
        let answer = Answer::new(SystemTime::now(), &came.body, &came.encoding(), end);
        self.record(answer.clone()).await;
        let renewed = read(self.job.provider, self.login, &answer).map(Box::new);
        match (renewed, end) {
            (Ok(renewed), AnswerEnd::Cut) if renewed.login.refresh_token == self.login.refresh_token => {
                self.partly = Some(renewed);
                Err(OwnError::NoAnswer("the answer was cut".to_owned()))
            }
            (Ok(renewed), _) => Ok(Called::Renewed(renewed)),
            (Err(_), AnswerEnd::Cut) => Err(OwnError::NoAnswer("the answer was cut".to_owned())),
            (Err(why), _) => Ok(Called::Unread(why)),
        }
    }

    async fn may_repeat(&mut self) -> Result<(), String> {
        let Some(sent) = self.sent.take() else { return Err("an internal error".to_owned()) };
        let (sent, is_ours) = blocking(move || {
            let is_ours = sent.again();
            (sent, is_ours)
        })
        .await?;
        self.sent = Some(sent);
        is_ours.map_err(|lost| lost.to_string())
    }
}

fn token_answer(answer: &OwnAnswer) -> TokenAnswer<'_> {
    TokenAnswer {
        status: answer.status.as_u16(),
        retry_after: answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()),
        body: &answer.body,
    }
}

/// Tells what became of a journal that a process left which died.
pub(super) fn report(tag: &str, finished: &Finished) {
    match finished {
        Finished::Written(_) => {
            tracing::info!(
                credential = tag,
                "a refresh that another process could not finish is in the login file now"
            );
        }
        Finished::SetAside(reason) => {
            tracing::warn!(credential = tag, "the journal of an earlier refresh is kept aside: {reason}");
        }
        Finished::Unread(why) => {
            tracing::warn!(
                credential = tag,
                why = %why,
                "no token can be read from the answer to an earlier refresh, which is still kept; \"trunkline doctor\" says where"
            );
        }
        Finished::Outstanding(outstanding) => {
            tracing::warn!(credential = tag, "{}", outstanding.problem);
        }
        Finished::Failed(error) => tracing::error!(credential = tag, "{error}"),
        Finished::OwnerLives | Finished::Unanswered | Finished::AlreadyWritten => {}
    }
}

/// Runs what blocks on a file system. The error is for the log: it panicked.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("an internal error: {error}"))
}

/// Keeps the locks until dropped.
#[derive(Debug)]
pub(super) struct Heart(JoinHandle<()>);

impl Heart {
    pub(super) fn beat(heartbeat: Heartbeat) -> Self {
        Self(tokio::spawn(async move {
            let heartbeat = Arc::new(heartbeat);
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let heartbeat = Arc::clone(&heartbeat);
                if blocking(move || heartbeat.touch(SystemTime::now())).await != Ok(true) {
                    return;
                }
            }
        }))
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.0.abort();
    }
}
