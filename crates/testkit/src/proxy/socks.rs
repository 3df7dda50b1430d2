//! SOCKS 4, 4a (openssh.com/txt/socks4a.protocol) and 5 (RFC 1928, RFC 1929).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Asked, Shared, Wire};
use crate::headers::{Headers, text};
use crate::wire::malformed;

fn asked(target: String, login: Option<(String, String)>) -> Asked {
    Asked { target, login, line: String::new(), headers: Headers::new() }
}

fn code(code: u16) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

pub(super) async fn serve_4(wire: &mut Wire, shared: &Shared) -> io::Result<()> {
    let [4, 1, high, low, a, b, c, d] = wire.read().await? else { return Err(malformed("no SOCKS 4")) };
    let without_zero = |mut bytes: Vec<u8>| {
        bytes.pop();
        text(&bytes)
    };
    let user = without_zero(wire.read_until(&[0]).await?);
    let port = u16::from_be_bytes([high, low]);
    let target = if [a, b, c] == [0; 3] && d != 0 {
        format!("{}:{port}", without_zero(wire.read_until(&[0]).await?))
    } else {
        format!("{}:{port}", Ipv4Addr::new(a, b, c, d))
    };
    if shared.login.as_ref().is_some_and(|(wanted, _)| *wanted != user) {
        return wire.say(&[0, 93, 0, 0, 0, 0, 0, 0]).await;
    }
    let login = (!user.is_empty()).then(|| (user, String::new()));
    let refused = |number| vec![0, code(number), 0, 0, 0, 0, 0, 0];
    wire.answer(shared, asked(target, login), &[0, 90, 1, 2, 127, 0, 0, 1], refused).await
}

pub(super) async fn serve_5(wire: &mut Wire, shared: &Shared) -> io::Result<()> {
    let [5, count] = wire.read().await? else { return Err(malformed("no SOCKS 5")) };
    let methods = wire.read_vec(count.into()).await?;
    let method = if shared.login.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return wire.say(&[5, 255]).await;
    }
    wire.say(&[5, method]).await?;
    let mut login = None;
    if method == 2 {
        let [1, length] = wire.read().await? else { return Err(malformed("no login")) };
        let user = text(&wire.read_vec(length.into()).await?);
        let [length] = wire.read().await?;
        login = Some((user, text(&wire.read_vec(length.into()).await?)));
        if login != shared.login {
            return wire.say(&[1, 1]).await;
        }
        wire.say(&[1, 0]).await?;
    }
    let [5, 1, 0, kind] = wire.read().await? else { return Err(malformed("no request to connect")) };
    let host = match kind {
        1 => Ipv4Addr::from(wire.read::<4>().await?).to_string(),
        4 => format!("[{}]", Ipv6Addr::from(wire.read::<16>().await?)),
        3 => {
            let [length] = wire.read().await?;
            text(&wire.read_vec(length.into()).await?)
        }
        _ => return Err(malformed("no kind of address")),
    };
    let target = format!("{host}:{}", u16::from_be_bytes(wire.read().await?));
    let refused = |number| vec![5, code(number), 0, 1, 0, 0, 0, 0, 0, 0];
    wire.answer(shared, asked(target, login), &[5, 0, 0, 1, 127, 0, 0, 1, 1, 2], refused).await
}
