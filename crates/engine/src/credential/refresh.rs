//! One refresh, from the locks to the file (credentials.md, *Refreshing, step by step*). What must not be interrupted is not:
//! whoever began this waits for its end.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use trunkline_core::login::Login;
use trunkline_core::provider::Provider;
use trunkline_core::refresh::{
    CALL_LASTS, RefreshFailure, RefreshKind, TokenAnswer, is_settled_after_failure, judge,
};
use trunkline_login_store::{
    BeginError, Begun, Committed, Finished, HEARTBEAT, Heartbeat, LoginStore, Pending, ProviderFormat,
    ReadError, Reason, Sent, WriteOutstanding, fault,
};

use super::call::{Calls, call};
use super::live::Ways;
use super::waiter::Waits;
use crate::own_request::{OwnAnswer, OwnError, OwnRequest, Stage, connect, send_over};

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
        let (store, format, waits, tag) = (
            self.store.clone(),
            ProviderFormat(self.provider),
            self.waits.clone(),
            Arc::clone(&self.ways.tag),
        );
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
        let Some(request) = self.request(&login) else {
            return End::NoLogin;
        };
        fault::pass("call.before");
        let sent = match blocking(move || pending.sending()).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(lost)) => return End::LockedOut(lost.to_string()),
            Err(died) => return End::LockedOut(died),
        };
        let mut endpoint = Endpoint { job: &self, request: &request, sent: Some(sent) };
        let called = call(&mut endpoint).await;
        let (answer, sent) = match (called, endpoint.sent) {
            (Ok(answer), Some(sent)) => (answer, sent),
            (Err(why), _) => return End::LockedOut(why),
            (Ok(_), None) => return End::Failed(RefreshFailure::Unreachable),
        };
        let received = SystemTime::now();
        let judged = match &answer {
            None => Err(RefreshFailure::Unreachable),
            Some(answer) => judge(self.provider, &login, &token_answer(answer), received),
        };
        match (judged, answer) {
            (Ok(renewed), Some(answer)) => self.keep(sent, answer.body, received, renewed.login).await,
            (Err(failure), _) => self.give_up(sent, &login, failure).await,
            // A judgement is of an answer.
            (Ok(_), None) => End::Failed(RefreshFailure::Unreachable),
        }
    }

    /// One try. From the connection on, it is not abandoned before [`CALL_LASTS`].
    async fn try_call(&self, request: &OwnRequest) -> Result<OwnAnswer, OwnError> {
        let (upstream, user_agent) = (&self.ways.token, &self.ways.user_agent);
        let sent = async {
            let connection = connect(upstream).await?;
            fault::pass("call.connected");
            let sending = send_over(connection, upstream, user_agent, request, |stage| {
                fault::pass(match stage {
                    Stage::Sent => "call.sent",
                    Stage::Head => "call.head",
                    Stage::Body => "call.body",
                });
            });
            match tokio::time::timeout(CALL_LASTS, sending).await {
                Ok(answer) => answer,
                Err(_) => Err(OwnError::NoAnswer("it took too long".to_owned())),
            }
        };
        sent.await.inspect_err(|error| {
            tracing::debug!(credential = &*self.ways.tag, %error, "the token endpoint did not answer");
        })
    }

    fn request(&self, login: &Login) -> Option<OwnRequest> {
        let request = self.provider.refresh_request(login, self.kind)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type));
        Some(OwnRequest {
            method: Method::POST,
            path: None,
            headers,
            body: Bytes::copy_from_slice(request.body.expose().as_bytes()),
        })
    }

    /// The answer is in the journal first, then in use, then in the file.
    async fn keep(self, sent: Sent, raw: Bytes, received: SystemTime, login: Login) -> End {
        let format = ProviderFormat(self.provider);
        let answered = match blocking(move || sent.answered(&raw, received, &format)).await {
            Ok(answered) => answered,
            Err(died) => return End::LockedOut(died),
        };
        if let Err(problem) = answered.journalled() {
            tracing::warn!(
                credential = &*self.ways.tag,
                "the answer to a refresh is in memory only, until it is written: {problem}"
            );
        }
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

    async fn give_up(self, sent: Sent, login: &Login, failure: RefreshFailure) -> End {
        let (store, format, waits) = (self.store.clone(), ProviderFormat(self.provider), self.waits.clone());
        let read = blocking(move || {
            sent.abandon();
            store.read_patiently(&format, &waits)
        });
        // Another process may have succeeded where we failed.
        if let Ok(Ok(text)) = read.await
            && let Ok(read) = self.provider.read_login(text.as_bytes())
            && is_settled_after_failure(&read, self.kind, login, SystemTime::now())
        {
            return End::Needless(read);
        }
        End::Failed(failure)
    }
}

/// The token endpoint, for [`call`].
struct Endpoint<'a> {
    job: &'a Job,
    request: &'a OwnRequest,
    /// `None` only while it is asked, or once the locks are lost.
    sent: Option<Sent>,
}

impl Calls for Endpoint<'_> {
    type Answer = OwnAnswer;

    async fn try_once(&mut self) -> Result<OwnAnswer, OwnError> {
        self.job.try_call(self.request).await
    }

    async fn may_repeat(&mut self) -> Result<(), String> {
        let Some(sent) = self.sent.take() else { return Err(String::new()) };
        match blocking(move || sent.again().map(|()| sent)).await {
            Ok(Ok(sent)) => {
                self.sent = Some(sent);
                Ok(())
            }
            Ok(Err(lost)) => Err(lost.to_string()),
            Err(died) => Err(died),
        }
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
