//! Small numbers that stand for what the configuration names by tags, so that tables need no strings.
//!
//! Whoever reads the configuration gives each tag or name its number and keeps it for the life of the process, across
//! reloads too: a number is never given to another credential or user. What outlives the process is stored by name.

/// A credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId(pub u32);

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u16);

/// A user of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u32);
