//! Which credential issued a state that clients send back.
//!
//! Spec: codex.md, *Turn state*. The first answer of a turn gives the client a value that it sends with every later request
//! of that turn, and that only the same account understands. It is not remembered itself, but its digest.

use std::collections::{HashMap, VecDeque};

use crate::ids::CredentialId;
use crate::secret::TokenDigest;

/// Most states remembered, the one issued last kept longest: some 7 MB. A turn has one, and lasts minutes.
pub const MAX_STATES: usize = 65_536;

/// The table. See the module.
#[derive(Debug, Default)]
pub struct IssuedStates {
    issuers: HashMap<TokenDigest, CredentialId>,
    order: VecDeque<TokenDigest>,
}

impl IssuedStates {
    /// `credential` gave this state to a client.
    pub fn note(&mut self, state: &[u8], credential: CredentialId) {
        let digest = TokenDigest::of(state);
        // A provider repeats it on every answer of the turn.
        if self.issuers.insert(digest, credential).is_some() {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > MAX_STATES
            && let Some(oldest) = self.order.pop_front()
        {
            self.issuers.remove(&oldest);
        }
    }

    /// Who issued a state, where that is remembered.
    pub fn issuer(&self, state: &[u8]) -> Option<CredentialId> {
        self.issuers.get(&TokenDigest::of(state)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_who_issued_it_counts() {
        let mut states = IssuedStates::default();
        assert_eq!(states.issuer(b"s"), None);
        states.note(b"s", CredentialId(1));
        states.note(b"t", CredentialId(2));
        assert_eq!(
            (states.issuer(b"s"), states.issuer(b"t")),
            (Some(CredentialId(1)), Some(CredentialId(2)))
        );
        states.note(b"s", CredentialId(2));
        assert_eq!((states.issuer(b"s"), states.order.len()), (Some(CredentialId(2)), 2));
    }

    #[test]
    fn the_oldest_are_forgotten_at_the_bound() {
        let mut states = IssuedStates::default();
        for number in 0..=MAX_STATES {
            states.note(&number.to_be_bytes(), CredentialId(0));
        }
        assert_eq!((states.issuers.len(), states.order.len()), (MAX_STATES, MAX_STATES));
        assert_eq!(states.issuer(&0_usize.to_be_bytes()), None);
        assert!(states.issuer(&MAX_STATES.to_be_bytes()).is_some());
    }
}
