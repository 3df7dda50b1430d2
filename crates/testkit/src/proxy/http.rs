//! HTTP CONNECT.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Asked, Shared, Wire};
use crate::headers::Headers;
use crate::wire::{malformed, parse_head};

const GRANTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const WANTS_LOGIN: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\n\
    Proxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

pub(super) async fn serve(wire: &mut Wire, shared: &Shared) -> io::Result<()> {
    let head = wire.read_until(b"\r\n\r\n").await?;
    let (line, headers) = parse_head(&head)?;
    // An odd proxy is asked for a path; the target is then in `Host` alone.
    let target = match line.split(' ').nth(1) {
        Some(path) if path.starts_with('/') => headers.get("host").unwrap_or_default().to_owned(),
        Some(target) => target.to_owned(),
        None => return Err(malformed("a request line without a target")),
    };
    let login = basic(&headers);
    if shared.login.is_some() && shared.login != login {
        return wire.say(WANTS_LOGIN).await;
    }
    let asked = Asked { target, login, line, headers };
    let refused = |code| format!("HTTP/1.1 {code} Refused\r\nContent-Length: 0\r\n\r\n").into_bytes();
    wire.answer(shared, asked, GRANTED, refused).await
}

fn basic(headers: &Headers) -> Option<(String, String)> {
    let encoded = headers.get("proxy-authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}
