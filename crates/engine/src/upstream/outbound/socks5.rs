//! SOCKS 5 (RFC 1928), with user and password (RFC 1929).

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use trunkline_core::secret::Secret;
use zeroize::Zeroizing;

use super::socks::{Handshake, MAX_TEXT, Refusal, Step, look_up, negotiate};
use super::{NameLookup, ProxyLogin, ProxyServer, Target};
use crate::upstream::dial::DialError;

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;

/// Methods of authentication.
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_OF_THEM: u8 = 0xff;

/// Kinds of addresses.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// A SOCKS proxy of version 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socks5 {
    /// Where it is.
    pub server: ProxyServer,
    /// Offered, and sent if the proxy wants it.
    pub login: Option<ProxyLogin>,
    /// Who looks up names.
    pub lookup: NameLookup,
}

impl Socks5 {
    pub(super) async fn ask<S>(&self, mut stream: S, target: Target<'_>) -> Result<S, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let address = match (target.host.parse(), self.lookup) {
            (Ok(address), _) => Some(address),
            (Err(_), NameLookup::AtProxy) => None,
            // The system puts those first that it would use itself.
            (Err(_), NameLookup::Here) => look_up(target).await?.into_iter().next(),
        };
        let mut handshake = Connect::new(self.login.as_ref(), target, address)?;
        negotiate(&mut stream, &mut handshake).await?;
        Ok(stream)
    }
}

/// The handshake: methods, perhaps a login, and the request.
#[derive(Debug)]
struct Connect {
    state: State,
    login: Option<Zeroizing<Vec<u8>>>,
    request: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Start,
    Method,
    Login,
    Reply,
    Kind,
    NameLength,
    Address,
    Over,
}

impl Connect {
    /// A request for `target`, whose address is known unless the proxy is to look it up.
    fn new(login: Option<&ProxyLogin>, target: Target<'_>, address: Option<IpAddr>) -> Result<Self, Refusal> {
        let mut request = vec![VERSION, CONNECT, 0];
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => {
                request.push(IPV4);
                request.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                request.push(IPV6);
                request.extend_from_slice(&address.octets());
            }
            None => {
                request.push(NAME);
                push_text(&mut request, target.host, "the name of the target")?;
            }
        }
        request.extend_from_slice(&target.port.to_be_bytes());
        let login = match login {
            None => None,
            Some(ProxyLogin { username, password }) => {
                let mut message = Zeroizing::new(vec![LOGIN_VERSION]);
                push_secret(&mut message, username, "the user name")?;
                push_secret(&mut message, password, "the password")?;
                Some(message)
            }
        };
        Ok(Self { state: State::Start, login, request })
    }

    fn send_request(&mut self) -> Step {
        self.state = State::Reply;
        Step::Send(Zeroizing::new(std::mem::take(&mut self.request)), 2)
    }
}

fn push_secret(message: &mut Vec<u8>, text: &Secret, what: &'static str) -> Result<(), Refusal> {
    // Room for the whole message, so that growing leaves no copy behind.
    message.reserve(2 * (MAX_TEXT + 1));
    push_text(message, text.expose(), what)
}

fn push_text(message: &mut Vec<u8>, text: &str, what: &'static str) -> Result<(), Refusal> {
    message.push(u8::try_from(text.len()).map_err(|_| Refusal::TooLong(what))?);
    message.extend_from_slice(text.as_bytes());
    Ok(())
}

impl Handshake for Connect {
    fn advance(&mut self, received: &[u8]) -> Result<Step, Refusal> {
        let receive = |state: &mut State, next, count| {
            *state = next;
            Ok(Step::Receive(count))
        };
        match (std::mem::replace(&mut self.state, State::Over), received) {
            (State::Start, []) => {
                self.state = State::Method;
                let methods: &[u8] = match self.login {
                    None => &[VERSION, 1, NO_LOGIN],
                    Some(_) => &[VERSION, 2, NO_LOGIN, USER_AND_PASSWORD],
                };
                Ok(Step::Send(Zeroizing::new(methods.to_vec()), 2))
            }
            // The first byte of the answer to a login is a version of its own, which some proxies get wrong.
            (State::Method, [VERSION, NO_LOGIN]) | (State::Login, [_, 0]) => Ok(self.send_request()),
            (State::Method, [VERSION, USER_AND_PASSWORD]) => {
                let login = self.login.take().ok_or(Refusal::WantsLogin)?;
                self.state = State::Login;
                Ok(Step::Send(login, 2))
            }
            (State::Method, [VERSION, NONE_OF_THEM]) if self.login.is_none() => Err(Refusal::WantsLogin),
            (State::Method, [VERSION, _]) => Err(Refusal::OtherMethod),
            (State::Login, _) => Err(Refusal::LoginRefused),
            (State::Reply, [VERSION, 0]) => receive(&mut self.state, State::Kind, 2),
            (State::Reply, [VERSION, code]) => Err(refusal(*code)),
            (State::Method | State::Reply, _) => Err(Refusal::OtherProtocol("5")),
            // The address from which the proxy connects means nothing here, but has to be read.
            (State::Kind, [_, IPV4]) => receive(&mut self.state, State::Address, 4 + 2),
            (State::Kind, [_, IPV6]) => receive(&mut self.state, State::Address, 16 + 2),
            (State::Kind, [_, NAME]) => receive(&mut self.state, State::NameLength, 1),
            (State::NameLength, [length]) => {
                receive(&mut self.state, State::Address, usize::from(*length) + 2)
            }
            (State::Address, _) => Ok(Step::Done),
            _ => Err(Refusal::Malformed),
        }
    }
}

/// The reply codes in words (RFC 1928, section 6).
fn refusal(code: u8) -> Refusal {
    Refusal::Code(match code {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused by the target",
        6 => "time to live expired",
        7 => "it cannot connect (command not supported)",
        8 => "it does not know this kind of address",
        _ => return Refusal::UnknownCode(code),
    })
}

#[cfg(test)]
mod tests;
