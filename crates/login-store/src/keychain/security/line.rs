//! What is said to `security`, and what it says. Pure.
//!
//! `security -i` takes a command from each line of standard input: words between spaces, or in quotes, with `\` before a
//! character that means itself. A line that is cut off is carried out as far as it goes, and the rest is taken for another
//! command. So the secret comes first and what the command cannot do without comes last: a line that is cut inside the secret
//! lacks both names and does nothing.

use zeroize::Zeroizing;

use crate::keychain::KeychainItem;
use crate::text::LoginText;

/// Longest line, in bytes with its end. `security` reads lines of 4095; the client stays below 4032 too.
pub(super) const MAX_LINE: usize = 4096 - 64;

/// The command that sets an item's data, and adds the item if it is not there.
pub(super) fn add_line(item: &KeychainItem, text: &[u8]) -> Zeroizing<Vec<u8>> {
    // All of it at once: a vector that grows leaves copies behind.
    let most = text.len() * 2 + (item.service().len() + item.account().len()) * 2 + 64;
    let mut line = Zeroizing::new(Vec::with_capacity(most));
    line.extend_from_slice(b"add-generic-password -U ");
    if is_plain(text) {
        line.extend_from_slice(b"-w ");
        quote(&mut line, text);
    } else {
        line.extend_from_slice(b"-X \"");
        for byte in text {
            for digit in [byte >> 4, byte & 15] {
                line.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
            }
        }
        line.push(b'"');
    }
    line.extend_from_slice(b" -s ");
    quote(&mut line, item.service().as_bytes());
    line.extend_from_slice(b" -a ");
    quote(&mut line, item.account().as_bytes());
    line.push(b'\n');
    line
}

/// How many bytes of the line one more byte of the text takes.
pub(super) fn grows_by(text: &[u8]) -> usize {
    if is_plain(text) { 1 } else { 2 }
}

/// The data in the output of `find-generic-password -w`: as it is, or, if a byte of it cannot be printed, in hexadecimal
/// digits; a login, which is a JSON object, is never made of such digits alone.
pub(super) fn text_of(output: &[u8]) -> LoginText {
    let data = output.strip_suffix(b"\n").unwrap_or(output);
    let digits = data.strip_prefix(b"0x").unwrap_or(data);
    let decoded = decode(digits).filter(|decoded| !decoded.is_empty());
    LoginText::new(decoded.unwrap_or_else(|| data.to_vec()))
}

fn decode(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    let mut decoded = Vec::with_capacity(digits.len() / 2);
    for pair in pairs {
        let &[high, low] = pair else { return None };
        decoded.push(value(high)? << 4 | value(low)?);
    }
    Some(decoded)
}

/// Whether a text can stand in a line as it is.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, 0x20..=0x7e))
}

fn quote(line: &mut Vec<u8>, text: &[u8]) {
    line.push(b'\'');
    for &byte in text {
        if matches!(byte, b'\'' | b'\\') {
            line.push(b'\\');
        }
        line.push(byte);
    }
    line.push(b'\'');
}
