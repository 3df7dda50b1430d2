//! SOCKS 4 and 4a (openssh.com/txt/socks4.protocol and socks4a.protocol).

use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncRead, AsyncWrite};
use trunkline_core::secret::Secret;
use zeroize::Zeroizing;

use super::socks::{Handshake, MAX_TEXT, Refusal, Step, look_up, negotiate};
use super::{NameLookup, ProxyServer, Target};
use crate::upstream::dial::DialError;

const VERSION: u8 = 4;
const CONNECT: u8 = 1;
const GRANTED: u8 = 90;

/// An address of this form says that the name follows: 0.0.0.x with x above 0.
const NAME_FOLLOWS: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

/// A SOCKS proxy of version 4, or 4a if it looks up names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socks4 {
    /// Where it is.
    pub server: ProxyServer,
    /// The user; SOCKS 4 has no passwords.
    pub username: Option<Secret>,
    /// Who looks up names: here for 4, the proxy for 4a.
    pub lookup: NameLookup,
}

impl Socks4 {
    pub(super) async fn ask<S>(&self, mut stream: S, target: Target<'_>) -> Result<S, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let user = self.username.as_ref().map_or("", Secret::expose);
        let address = match (target.host.parse(), self.lookup) {
            (Ok(address), _) => Some(address),
            (Err(_), NameLookup::AtProxy) => None,
            (Err(_), NameLookup::Here) => {
                let addresses = look_up(target).await?;
                let first = addresses.into_iter().find(IpAddr::is_ipv4);
                Some(first.ok_or_else(|| {
                    DialError::new(
                        "the target has no IPv4 address",
                        "SOCKS 4 knows no others: use version 4a or 5",
                    )
                })?)
            }
        };
        let mut handshake = Connect::new(user, target, address)?;
        negotiate(&mut stream, &mut handshake).await?;
        Ok(stream)
    }
}

/// The handshake: one request, one reply.
#[derive(Debug)]
struct Connect {
    state: State,
}

#[derive(Debug)]
enum State {
    Request(Zeroizing<Vec<u8>>),
    Reply,
    Address,
    Over,
}

impl Connect {
    /// A request for `target`, whose address is known unless the proxy is to look it up.
    fn new(user: &str, target: Target<'_>, address: Option<IpAddr>) -> Result<Self, Refusal> {
        let address = match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => Some(address),
            Some(IpAddr::V6(_)) => return Err(Refusal::NoIpv6),
            None => None,
        };
        if user.len() > MAX_TEXT || user.contains('\0') {
            return Err(Refusal::TooLong("the user name"));
        }
        if target.host.len() > MAX_TEXT || target.host.contains('\0') {
            return Err(Refusal::TooLong("the name of the target"));
        }
        let mut request = Zeroizing::new(vec![VERSION, CONNECT]);
        request.extend_from_slice(&target.port.to_be_bytes());
        request.extend_from_slice(&address.unwrap_or(NAME_FOLLOWS).octets());
        request.extend_from_slice(user.as_bytes());
        request.push(0);
        if address.is_none() {
            request.extend_from_slice(target.host.as_bytes());
            request.push(0);
        }
        Ok(Self { state: State::Request(request) })
    }
}

impl Handshake for Connect {
    fn advance(&mut self, received: &[u8]) -> Result<Step, Refusal> {
        match (std::mem::replace(&mut self.state, State::Over), received) {
            (State::Request(request), []) => {
                self.state = State::Reply;
                Ok(Step::Send(request, 2))
            }
            (State::Reply, [0, GRANTED]) => {
                // A port and an address, which mean nothing here.
                self.state = State::Address;
                Ok(Step::Receive(6))
            }
            (State::Reply, [0, code]) => Err(match code {
                91 => Refusal::Code("request rejected or failed"),
                92 => Refusal::Code("it could not ask identd on this machine for the user"),
                93 => Refusal::Code("identd on this machine names another user"),
                _ => Refusal::UnknownCode(*code),
            }),
            (State::Reply, _) => Err(Refusal::OtherProtocol("4")),
            (State::Address, [_, _, _, _, _, _]) => Ok(Step::Done),
            _ => Err(Refusal::Malformed),
        }
    }
}

#[cfg(test)]
mod tests;
