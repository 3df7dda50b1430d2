//! What selection has to know of a request, and how that is found out.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::ACCEPT;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::glob;
use trunkline_core::ids::CredentialId;
use trunkline_core::scan::{Found, Progress};
use trunkline_core::selection::{Quota, RequestFacts, Transport};
use trunkline_core::sessions::SessionKey;

use super::authenticate::Authed;
use super::pool::Pool;
use super::{FastMode, Service, User};
use crate::forward::{slow_body, upload_fault, within_time};
use crate::upload::Upload;

/// The header by which a user asks how a credential was picked, and is told.
pub(super) const EXPLAIN: &str = "x-trunkline-explain";

/// How many of a user's models are named in a refusal: a client shows it on one line.
const MAX_SHOWN_MODELS: usize = 8;

/// A request as the selection sees it.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) user: Option<Arc<User>>,
    pub(super) pool: Arc<Pool>,
    pub(super) model: Option<String>,
    pub(super) session: Option<SessionKey>,
    /// Whether only an API key can serve it.
    pub(super) needs_api_key: bool,
    /// What it takes of a credential's windows.
    pub(super) quota: Quota,
    pub(super) transport: Transport,
    /// Whether its `accept` asks for a stream of events. The body may ask for one all the same.
    pub(super) accepts_stream: bool,
    /// How long it may wait for a credential to become usable.
    pub(super) wait: Duration,
    /// Whether its user wants to be told how the credential was picked.
    pub(super) explain: bool,
}

impl Asked {
    /// Whether another instance asks.
    pub(super) fn is_peer(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.is_peer)
    }

    pub(super) fn user_name(&self) -> Option<&str> {
        self.user.as_ref().map(|user| &*user.name)
    }

    pub(super) fn facts<'a>(&'a self, tried: &'a [CredentialId], has_awaited: bool) -> RequestFacts<'a> {
        RequestFacts {
            user: self.user_name(),
            allows_external: self.user.as_ref().is_none_or(|user| user.allow_external_usage),
            external_credential: None,
            model: self.model.as_deref(),
            transport: self.transport,
            needs_api_key: self.needs_api_key,
            quota: self.quota,
            session: self.session.as_ref(),
            tried,
            has_awaited_refresh: has_awaited,
        }
    }
}

impl Service {
    /// The pool of a user. Without users: the first of the list.
    pub(super) fn pool_of(&self, user: Option<&User>) -> Result<&Arc<Pool>, Fault> {
        let pool = self.settings.pools.get(user.map_or(0, |user| user.pool));
        pool.ok_or_else(|| Fault::new(FaultKind::Unavailable, "this service has no credential"))
    }

    /// Finds out what the selection has to know; as much of the body is read for that as it takes. `session`: what the
    /// headers say of it.
    pub(super) async fn ask(
        &self,
        authed: &Authed,
        mut session: Option<String>,
        upload: &Upload,
        headers: &HeaderMap,
    ) -> Result<Asked, Fault> {
        let user = authed.user.as_deref();
        let pool = self.pool_of(user)?;
        self.check_fast_mode(user, pool, headers)?;
        let mut model = None;
        if authed.call.asks_model {
            let has_others = pool.members().len() > 1;
            if user.is_some_and(|user| !user.models.is_empty()) || pool.restricts_models() {
                model = Some(self.check_model(user, upload).await?);
            } else {
                // In a pool of one too: what keeps new sessions away is not to hit one that runs.
                let wants_session = session.is_none() && (has_others || authed.call.uses_quota);
                if has_others || wants_session || is_limited_by_model(pool) {
                    let reads = upload.read_for_routing(wants_session);
                    within_time(upload, pin!(reads)).await.map_err(|_| slow_body())?.map_err(upload_fault)?;
                }
            }
            model = model.or_else(|| upload.model());
            session = session.or_else(|| self.provider.session(&HeaderMap::new(), &upload.facts().2));
        }
        let key =
            session.and_then(|session| SessionKey::new(self.settings.id, user.map(|user| user.id), &session));
        Ok(Asked {
            user: authed.user.clone(),
            pool: Arc::clone(pool),
            model,
            session: key,
            needs_api_key: authed.call.needs_api_key,
            quota: if authed.call.uses_quota { self.provider.quota(headers) } else { Quota::Nothing },
            transport: Transport::Http,
            accepts_stream: accepts_stream(headers),
            wait: user.and_then(|user| user.wait_for_capacity).unwrap_or(self.settings.wait_for_capacity),
            explain: user.is_some_and(|user| user.explain)
                && headers.get(EXPLAIN).is_some_and(|value| value == "1"),
        })
    }

    pub(super) fn check_fast_mode(
        &self,
        user: Option<&User>,
        pool: &Pool,
        headers: &HeaderMap,
    ) -> Result<(), Fault> {
        let why = match user.map_or(FastMode::Single, |user| user.fast_mode) {
            FastMode::Deny => "fast mode costs the account extra and is switched off for this user",
            FastMode::Single if pool.members().len() > 1 => {
                "fast mode costs the account extra and is only for users with one credential: switch it off, or have \
                 fast_mode set to \"allow\""
            }
            FastMode::Allow | FastMode::Single => return Ok(()),
        };
        match self.provider.refuse_extra_usage(headers, why) {
            Some(refusal) => Err(Fault::new(FaultKind::InvalidRequest, refusal)),
            None => Ok(()),
        }
    }

    /// Where the model decides what is allowed, the body is read whole before anything of it is sent.
    async fn check_model(&self, user: Option<&User>, upload: &Upload) -> Result<String, Fault> {
        within_time(upload, pin!(upload.read_whole()))
            .await
            .map_err(|_| slow_body())?
            .map_err(upload_fault)?;
        let (progress, model, _) = upload.facts();
        let model = match (progress, model) {
            (Progress::Ended, Found::Text(model)) => model,
            (Progress::Ended, Found::Unclear) => {
                return Err(unreadable("the request's model is not one plain string"));
            }
            _ => return Err(unreadable("the request's model cannot be read from its body")),
        };
        if glob::admits(user.map_or(&[][..], |user| &user.models), &model) {
            return Ok(model);
        }
        Err(model_denied(&model, user))
    }
}

/// The refusal of a model that a user may not use, with those that the user may.
pub(super) fn model_denied(model: &str, user: Option<&User>) -> Fault {
    let model: String = model.chars().take(100).collect();
    let mut text = format!("model: {model} is not available to ");
    text.push_str(user.map_or("this user", |user| &user.name));
    let models = user.map_or(&[][..], |user| &user.models);
    let shown: Vec<&str> = models.iter().take(MAX_SHOWN_MODELS).map(String::as_str).collect();
    if !shown.is_empty() {
        text.push_str("; available: ");
        text.push_str(&shown.join(", "));
        if models.len() > shown.len() {
            text.push_str(", …");
        }
    }
    Fault::new(FaultKind::ModelDenied, text)
}

/// Whether a request with these headers accepts a stream of events.
fn accepts_stream(headers: &HeaderMap) -> bool {
    const STREAM: &str = "text/event-stream";
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds = values.flat_map(|value| value.split(','));
    kinds.filter_map(|kind| kind.split(';').next()).any(|kind| kind.trim().eq_ignore_ascii_case(STREAM))
}

/// Whether one of them is at a limit that only some models are about.
fn is_limited_by_model(pool: &Pool) -> bool {
    pool.members().iter().any(|member| member.live().may_be_limited_by_model())
}

fn unreadable(message: &'static str) -> Fault {
    Fault::new(FaultKind::InvalidRequest, message)
}
