//! One turn on a WebSocket, as far as it is counted, written down, and may be begun again elsewhere.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::glob;
use trunkline_core::socket::{Create, TurnEnd, TurnOutcome};

use crate::activity::Counted;
use crate::credential::Credential;
use crate::memory_budget::{MemoryShare, Reservation};
use crate::record::{Outcome, Record};
use crate::service::User;
use crate::service::asked::model_denied;
use crate::service::attempt::Tries;
use crate::websocket::Data;

/// A turn under way.
pub(super) struct Turn {
    record: Option<Box<Record>>,
    of_service: Option<Counted>,
    of_credential: Option<Counted>,
    pub(super) tries: Tries,
    /// Its request, as long as it may have to be sent again.
    pub(super) kept: Option<Kept>,
    pub(super) has_previous: bool,
    /// Whether something has been passed on that cannot be taken back.
    pub(super) has_output: bool,
    status: StatusCode,
}

impl Turn {
    pub(super) fn new(create: &Create, record: Option<Box<Record>>, tries: Tries) -> Self {
        Self {
            record,
            of_service: None,
            of_credential: None,
            tries,
            kept: None,
            has_previous: create.has_previous,
            has_output: false,
            status: StatusCode::OK,
        }
    }

    /// Counts it among what is under way in its service.
    pub(super) fn count(&mut self, of_service: Counted) {
        self.of_service = Some(of_service);
    }

    /// It is another credential's now, or the first's.
    pub(super) fn set_credential(&mut self, credential: &Arc<Credential>) {
        if self.of_service.is_some() {
            self.of_credential = Some(Counted::new(credential.activity()));
        }
        if let Some(record) = &mut self.record {
            record.credential = Some(Arc::clone(credential.tag()));
            record.attempts += 1;
        }
    }

    /// A message of the turn's goes to the client.
    pub(super) fn on_passed(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.bytes_out += bytes as u64;
            record.answered.get_or_insert_with(Instant::now);
        }
    }

    /// It has failed with this status, which the client is told.
    pub(super) fn set_status(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// Why it is refused or was lost, for the log.
    pub(super) fn set_detail(&mut self, detail: String) {
        if let Some(record) = &mut self.record {
            record.detail = Some(detail);
        }
    }

    pub(super) fn finish(mut self, end: TurnEnd, is_client_gone: bool) {
        let Some(mut record) = self.record.take() else { return };
        record.status = self.status;
        record.finish(match end.outcome {
            TurnOutcome::Completed | TurnOutcome::Incomplete => Outcome::Ok,
            TurnOutcome::Failed | TurnOutcome::Error => Outcome::UpstreamError,
            TurnOutcome::Refused => Outcome::Refused,
            TurnOutcome::Cut if is_client_gone => Outcome::ClientGone,
            TurnOutcome::Cut => Outcome::Cut,
        });
    }
}

/// A message that is kept, with its part of its user's share of the memory for bodies.
pub(super) struct Kept {
    pub(super) data: Data,
    _reserved: Reservation,
}

impl Kept {
    /// `None`: it is longer than `most`, or there is no room for it.
    pub(super) fn new(data: &Data, most: u64, memory: &MemoryShare) -> Option<Self> {
        if data.bytes.len() as u64 > most {
            return None;
        }
        let reserved = memory.reserve(data.bytes.len())?;
        // A copy of its own: what is sent is masked where it lies.
        let data = Data { is_text: data.is_text, bytes: Bytes::copy_from_slice(&data.bytes) };
        Some(Self { data, _reserved: reserved })
    }
}

/// Whether a user may ask for this turn.
pub(super) fn check_user(user: Option<&User>, create: &Create) -> Result<(), Fault> {
    let Some(user) = user else { return Ok(()) };
    if user.disabled {
        return Err(Fault::new(FaultKind::UserInactive, format!("user {} is disabled", user.name)));
    }
    if user.expires.is_some_and(|expires| expires <= SystemTime::now()) {
        let message = format!("the token of user {} has expired", user.name);
        return Err(Fault::new(FaultKind::UserInactive, message));
    }
    if user.models.is_empty() {
        return Ok(());
    }
    match &create.model {
        Some(model) if glob::admits(&user.models, model) => Ok(()),
        Some(model) => Err(model_denied(model, Some(user))),
        None => Err(Fault::new(FaultKind::InvalidRequest, "the request names no model")),
    }
}
