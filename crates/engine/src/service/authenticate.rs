//! Second stage: whose request is it?

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};

use http::HeaderMap;
use trunkline_core::auth::presented_token;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::glob;

use super::accept::{ApiCall, NeededPath};
use super::{Service, User};

/// A call whose user is known.
pub(super) struct Authed {
    pub(super) call: ApiCall,
    /// `None` where nobody authenticates.
    pub(super) user: Option<Arc<User>>,
}

impl Service {
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        call: ApiCall,
        address: IpAddr,
    ) -> Result<Authed, Fault> {
        if self.settings.tokens.is_empty() {
            self.check_path(call.needs_path.as_ref(), &[])?;
            return Ok(Authed { call, user: None });
        }
        let presented = presented_token(headers);
        let found = presented.and_then(|token| self.settings.tokens.find(token)).copied();
        let Some(user) = found.and_then(|at| self.settings.users.get(at)) else {
            return Err(self.refuse_token(presented.is_some(), address).await);
        };
        if user.disabled {
            return Err(Fault::new(FaultKind::UserInactive, format!("user {} is disabled", user.name)));
        }
        if user.expires.is_some_and(|expires| expires <= SystemTime::now()) {
            return Err(Fault::new(
                FaultKind::UserInactive,
                format!("the token of user {} has expired", user.name),
            ));
        }
        self.check_path(call.needs_path.as_ref(), &user.paths)?;
        Ok(Authed { call, user: Some(Arc::clone(user)) })
    }

    /// Whether the service's option or the user's admits a path that is none of the clients' own.
    fn check_path(&self, needed: Option<&NeededPath>, of_user: &[String]) -> Result<(), Fault> {
        let Some(needed) = needed else { return Ok(()) };
        let mut globs = self.settings.paths.iter().chain(of_user);
        if globs.any(|glob| glob::matches(glob, &needed.path)) { Ok(()) } else { Err(needed.refusal.clone()) }
    }

    /// Whoever keeps trying tokens waits longer and longer for the answer.
    async fn refuse_token(&self, presented: bool, address: IpAddr) -> Fault {
        let delay = self
            .live
            .throttle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .on_failure(address, Instant::now());
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if !presented {
            return Fault::new(
                FaultKind::Authentication,
                "no user token: send it as \"Authorization: Bearer\" or as \"x-api-key\"",
            );
        }
        let place = self.provider.client_token_place();
        Fault::new(
            FaultKind::Authentication,
            format!(
                "this token belongs to no user of this trunkline: check {place}, or ask its owner for a token"
            ),
        )
    }
}
