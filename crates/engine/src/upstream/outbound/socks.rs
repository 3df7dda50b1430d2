//! What the versions of SOCKS have in common: carrying out a handshake, looking up names, and how proxies refuse.
//!
//! The messages are made and read by state machines without I/O ([`super::socks4`], [`super::socks5`]); only as many bytes
//! are read as a message has, so that nothing behind the last one is lost.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::Target;
use crate::upstream::dial::{DialError, chain};

/// The longest part of a reply that is read at once: a name of 255 bytes and a port.
pub(super) const MAX_PART: usize = 257;

/// The longest name or login that a message has room for, in bytes.
pub(super) const MAX_TEXT: usize = 255;

/// What a handshake goes on with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes are sent, and then as many are read.
    Send(Zeroizing<Vec<u8>>, usize),
    /// As many bytes are read.
    Receive(usize),
    /// The connection leads to the target.
    Done,
}

/// A handshake as a state machine.
pub(super) trait Handshake {
    /// The next step. `received` has exactly as many bytes as the step before asked for, none at first.
    fn advance(&mut self, received: &[u8]) -> Result<Step, Refusal>;
}

/// Why a proxy gives no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the proxy did not answer with SOCKS {0}: correct its version or its address")]
    OtherProtocol(&'static str),
    #[error("the proxy wants a user and a password: set its username and password")]
    WantsLogin,
    #[error("the proxy refused the user and the password: correct its username and password")]
    LoginRefused,
    #[error("the proxy wants another authentication than user and password")]
    OtherMethod,
    #[error("the proxy refused the connection: {0}")]
    Code(&'static str),
    #[error("the proxy refused the connection: reply code {0}")]
    UnknownCode(u8),
    #[error("the proxy sent a reply that cannot be read")]
    Malformed,
    #[error("{0} is too long for SOCKS, which has room for 255 bytes")]
    TooLong(&'static str),
    #[error("SOCKS 4 cannot connect to IPv6 addresses: use version 5")]
    NoIpv6,
}

impl From<Refusal> for DialError {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match text.split_once(": ") {
            Some((stage, why)) => Self::new(stage.to_owned(), why),
            None => Self::new("SOCKS", text),
        }
    }
}

/// Carries out a handshake.
pub(super) async fn negotiate<S>(stream: &mut S, handshake: &mut impl Handshake) -> Result<(), DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = [0; MAX_PART];
    let mut count = 0;
    loop {
        let received = buffer.get(..count).ok_or(Refusal::Malformed)?;
        count = match handshake.advance(received)? {
            Step::Done => return Ok(()),
            Step::Receive(count) => count,
            Step::Send(bytes, count) => {
                stream.write_all(&bytes).await.map_err(|error| failed(&error))?;
                stream.flush().await.map_err(|error| failed(&error))?;
                count
            }
        };
        let part = buffer.get_mut(..count).ok_or(Refusal::Malformed)?;
        stream.read_exact(part).await.map_err(|error| failed(&error))?;
    }
}

fn failed(error: &io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => {
            DialError::new("the proxy closed the connection", "before it answered")
        }
        _ => DialError::new("the connection to the proxy failed", chain(error)),
    }
}

/// The addresses of a target, looked up here. Never empty.
pub(super) async fn look_up(target: Target<'_>) -> Result<Vec<IpAddr>, DialError> {
    if let Ok(address) = target.host.parse() {
        return Ok(vec![address]);
    }
    let found = tokio::net::lookup_host((target.host, target.port))
        .await
        .map_err(|error| DialError::new("the name of the target was not found", chain(&error)))?;
    let addresses: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
    if addresses.is_empty() {
        return Err(DialError::new("the name of the target was not found", "it has no address"));
    }
    Ok(addresses)
}
