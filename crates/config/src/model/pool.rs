//! What the tag of a credential or balancer stands for.

use trunkline_core::selection::Strategy;

use super::CredentialId;

/// The place of a pool in [`super::Service::pools`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub usize);

/// Credentials that requests go to.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The tag of the balancer, or of the one credential.
    pub tag: String,
    /// How one is picked.
    pub strategy: Strategy,
    /// From how much more use of its credential on a session is moved, in percent; 0: never.
    pub rebalance_threshold: f64,
    /// The credentials, in order. Never empty, and none of them twice.
    pub members: Vec<CredentialId>,
    /// Whether it is a balancer, rather than a credential by itself.
    pub is_balancer: bool,
}
