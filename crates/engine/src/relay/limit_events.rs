//! Events of a stream that tell of the account's limits: observed, and not passed on (limits.md, *Rate-limit headers that a
//! client sees*).

use std::time::SystemTime;

use bytes::Bytes;
use trunkline_core::event_cut::EventCut;
use trunkline_core::provider::Provider;

use crate::credential::{Credential, Told};

/// What takes them out.
#[derive(Debug)]
pub(super) struct LimitEvents {
    cut: EventCut,
    provider: &'static dyn Provider,
}

impl LimitEvents {
    pub(super) fn new(kind: &'static str, provider: &'static dyn Provider) -> Self {
        Self { cut: EventCut::new(kind), provider }
    }

    /// What is left of a piece. What was taken out is told to the credential.
    pub(super) fn take_out(&mut self, piece: &Bytes, credential: &Credential) -> Bytes {
        let left = self.cut.push(piece);
        for event in self.cut.take_cut() {
            let readings = self.provider.limit_facts().read_event(&event, SystemTime::now());
            if readings.is_worth_telling() {
                credential.live().tell(Told::Readings(readings));
            }
        }
        left
    }

    /// What was held back, at the end of the stream.
    pub(super) fn end(&mut self) -> Bytes {
        self.cut.end()
    }

    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.cut.is_empty()
    }
}
