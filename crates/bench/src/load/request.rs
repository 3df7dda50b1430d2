//! The request a coding agent sends, byte for byte as far as proxies look at it.

use std::rc::Rc;

/// A `POST /v1/messages` with a body of `length` bytes; each `session` looks like a client of its own.
pub(crate) fn messages_request(length: usize, session: usize, stream: bool) -> Rc<[u8]> {
    let session = format!("5a1d0c6e-7b1f-4c7e-9a52-{session:012x}");
    let body = body(length, &session, stream);
    let head = format!(
        "POST /v1/messages?beta=true HTTP/1.1\r\n\
         Accept: application/json\r\n\
         Authorization: Bearer bench-token\r\n\
         Content-Type: application/json\r\n\
         User-Agent: claude-cli/2.1.197 (external, cli)\r\n\
         X-Claude-Code-Session-Id: {session}\r\n\
         X-Stainless-Arch: x64\r\n\
         X-Stainless-Lang: js\r\n\
         X-Stainless-OS: Linux\r\n\
         X-Stainless-Package-Version: 0.94.0\r\n\
         X-Stainless-Retry-Count: 0\r\n\
         X-Stainless-Runtime: node\r\n\
         X-Stainless-Runtime-Version: v26.3.0\r\n\
         X-Stainless-Timeout: 600\r\n\
         anthropic-beta: claude-code-20250219,context-1m-2025-08-07,interleaved-thinking-2025-05-14,\
         thinking-token-count-2026-05-13,context-management-2025-06-27,prompt-caching-scope-2026-01-05,\
         mid-conversation-system-2026-04-07,effort-2025-11-24\r\n\
         anthropic-dangerous-direct-browser-access: true\r\n\
         anthropic-version: 2023-06-01\r\n\
         x-app: cli\r\n\
         Connection: keep-alive\r\n\
         Host: 127.0.0.1\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat().into()
}

fn body(length: usize, session: &str, stream: bool) -> String {
    let start = "{\"model\":\"claude-opus-5\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"";
    let device = "0123456789abcdef".repeat(4);
    let stream = if stream { ",\"stream\":true" } else { "" };
    let end = format!(
        "\"}}]}}],\"system\":[{{\"type\":\"text\",\"text\":\"You are a coding agent.\",\
         \"cache_control\":{{\"type\":\"ephemeral\"}}}}],\"metadata\":{{\"user_id\":\
         \"{{\\\"device_id\\\":\\\"{device}\\\",\\\"account_uuid\\\":\\\"\\\",\\\"session_id\\\":\\\"{session}\\\"}}\"}},\
         \"max_tokens\":64000,\"thinking\":{{\"type\":\"adaptive\"}}{stream}}}"
    );
    // Source code, as agents send it: an escape every twenty characters or so.
    let line = r#"    println!(\"{count} of {total}\");\n    total += count;\n"#;
    let missing = length.saturating_sub(start.len() + end.len());
    let mut body = String::with_capacity(length);
    body.push_str(start);
    body.push_str(&line.repeat(missing / line.len()));
    // No part of a line, which might end within an escape.
    body.push_str(&" ".repeat(missing % line.len()));
    body.push_str(&end);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_json_of_the_asked_length() {
        for (length, stream) in [(2048, false), (1 << 20, true)] {
            let body = body(length, "a-session", stream);
            assert_eq!(body.len(), length);
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(value["stream"].as_bool(), stream.then_some(true));
            let user: serde_json::Value =
                serde_json::from_str(value["metadata"]["user_id"].as_str().unwrap()).unwrap();
            assert_eq!(user["session_id"], "a-session");
        }
    }
}
