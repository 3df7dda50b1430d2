//! Reading an answer whose end is missing, as far as it goes: what stands in it before the cut is what the provider said.

use zeroize::Zeroizing;

/// A JSON object that was cut, closed behind its last whole member. `None`: `text` is no object, or none of its members is
/// whole. Whether the result is valid JSON is for its reader to find out.
///
/// A member counts as whole once the comma behind it is there, since a number or a name may go on.
pub fn closed(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim_ascii_start();
    if text.first() != Some(&b'{') {
        return None;
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_u32, false, false);
    let mut last = None;
    for (at, byte) in text.iter().enumerate() {
        if in_string {
            in_string = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => last = Some(at),
            _ => {}
        }
    }
    let whole = text.get(..last?)?;
    let mut closed = Zeroizing::new(Vec::with_capacity(whole.len() + 1));
    closed.extend_from_slice(whole);
    closed.push(b'}');
    Some(closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_members_stay_and_nothing_else() {
        let whole = r#"{"a":"x,}\\\"","b":{"c":[1,{"d":2}]},"e":12,"f":true}"#;
        for cut in 0..whole.len() {
            let Some(closed) = closed(&whole.as_bytes()[..cut]) else {
                assert!(cut < r#"{"a":"x,}\\\"","#.len(), "{cut}");
                continue;
            };
            let closed: serde_json::Value = serde_json::from_slice(&closed).unwrap();
            let all: serde_json::Value = serde_json::from_str(whole).unwrap();
            for (name, value) in closed.as_object().unwrap() {
                assert_eq!(all[name], *value, "{cut}");
            }
        }
        assert!(closed(b"[1,2").is_none() && closed(b"<html>,").is_none() && closed(b"").is_none());
        assert_eq!(&closed(b" {\"a\":1,\"b").unwrap()[..], b"{\"a\":1}");
    }
}
