//! Third stage: which credential, and may it be used for this?

use std::sync::Arc;

use http::HeaderMap;
use http::uri::PathAndQuery;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::glob;
use trunkline_core::scan::{Found, Progress};

use super::authenticate::Authed;
use super::{FastMode, Service, User};
use crate::credential::{Credential, Held, NotReady};
use crate::forward::{slow_body, upload_fault, within_time};
use crate::upload::Upload;

/// A request with the credential that it may use.
pub(super) struct Leased {
    pub(super) target: PathAndQuery,
    pub(super) credential: Arc<Credential>,
    pub(super) held: Arc<Held>,
    pub(super) passthrough_limits: bool,
}

impl Service {
    pub(super) async fn select(
        &self,
        authed: Authed,
        upload: &Arc<Upload>,
        headers: &HeaderMap,
    ) -> Result<Leased, Fault> {
        let Authed { call, user, position } = authed;
        let user = user.as_deref();
        let pool = user.map_or(0, |user| user.credential);
        let Some(credential) = self.settings.credentials.get(pool) else {
            return Err(Fault::new(FaultKind::Unavailable, "this service has no credential"));
        };
        if !credential.admits_user(position) {
            return Err(Fault::new(
                FaultKind::Permission,
                format!("credential {} may not be used by this user", credential.tag()),
            ));
        }
        if user.is_some_and(|user| user.fast_mode == FastMode::Deny)
            && self.provider.asks_extra_usage(headers)
        {
            return Err(Fault::new(
                FaultKind::InvalidRequest,
                "fast mode costs the account extra and is switched off for this user",
            ));
        }
        if call.asks_model {
            self.check_model(user, credential, upload).await?;
        }
        let held = credential.live().authorization().await.map_err(|why| unavailable(credential, &why))?;
        Ok(Leased {
            target: call.target,
            credential: Arc::clone(credential),
            held,
            passthrough_limits: user.is_some_and(|user| user.passthrough_limits),
        })
    }

    /// Where the model decides what is allowed, the body is read whole before anything of it is sent.
    async fn check_model(
        &self,
        user: Option<&User>,
        credential: &Credential,
        upload: &Upload,
    ) -> Result<(), Fault> {
        let of_user = user.map_or(&[][..], |user| &user.models);
        if of_user.is_empty() && credential.models().is_empty() {
            return Ok(());
        }
        within_time(upload, upload.read_whole()).await.map_err(|_| slow_body())?.map_err(upload_fault)?;
        let (progress, model, _) = upload.facts();
        let model = match (progress, model) {
            (Progress::Ended, Found::Text(model)) => model,
            (Progress::Ended, Found::Unclear) => {
                return Err(unreadable("the request's model is not one plain string"));
            }
            _ => return Err(unreadable("the request's model cannot be read from its body")),
        };
        if glob::admits(of_user, &model) && glob::admits(credential.models(), &model) {
            return Ok(());
        }
        let shown: String = model.chars().take(100).collect();
        Err(Fault::new(FaultKind::NotFound, format!("model: {shown} is not available to this user")))
    }
}

/// The refusal where a credential has nothing to authenticate with.
pub(super) fn unavailable(credential: &Credential, why: &NotReady) -> Fault {
    Fault::new(FaultKind::Unavailable, format!("credential {} is unavailable: {why}", credential.tag()))
}

fn unreadable(message: &'static str) -> Fault {
    Fault::new(FaultKind::InvalidRequest, message)
}
