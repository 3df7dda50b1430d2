//! Compressed streams, which the client offers to read: what they begin with is seen in time, and what tells of the account's
//! limits is taken out of them.

use std::io::Write;

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::{Script, sse};

use crate::client::Codex;
use crate::setup::Setup;

/// A stream of events without a content type, as the provider sends it, in a coding that the client offers.
fn stream(coding: &str, events: &[Value]) -> Script {
    fn each<W: Write>(
        mut encoder: W,
        events: &[Bytes],
        mut taken: impl FnMut(&mut W) -> Vec<u8>,
    ) -> (W, Vec<Bytes>) {
        let mut out = Vec::new();
        for event in events {
            encoder.write_all(event).expect("memory takes all");
            encoder.flush().expect("memory takes all");
            out.push(taken(&mut encoder).into());
        }
        (encoder, out)
    }
    let events: Vec<Bytes> =
        events.iter().map(|event| sse::event(event["type"].as_str().expect("a type"), event)).collect();
    let mut writes = if coding == "gzip" {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let (encoder, mut writes) = each(encoder, &events, |encoder| std::mem::take(encoder.get_mut()));
        writes.push(encoder.finish().expect("memory takes all").into());
        writes
    } else {
        let encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
        let (encoder, mut writes) = each(encoder, &events, |encoder| std::mem::take(encoder.get_mut()));
        writes.push(encoder.finish().expect("memory takes all").into());
        writes
    };
    writes.retain(|write| !write.is_empty());
    Script::status(200).header("content-encoding", coding).chunks(writes)
}

#[tokio::test]
async fn a_limit_that_a_compressed_stream_begins_with_is_not_seen() {
    for coding in ["zstd", "gzip"] {
        let setup = Setup::with_logins("fallback").await;
        let instance = setup.start().await;
        let Some(codex) = Codex::new(&setup.client_lines(&instance).await, false) else { return };
        let limit = json!({
            "type": "error", "status": 429,
            "error": { "type": "usage_limit_reached", "message": "The usage limit has been reached" },
        });
        let keepalive = json!({ "type": "codex.keepalive" });
        setup.api.next("a", stream(coding, &[keepalive, limit]));
        setup.api.set_reply("Hi there.");
        let run = codex.run(&["say hi"]).await;
        run.assert_says("Hi there.");
        assert_eq!(setup.served(), [1, 1], "{coding}: refused by the one, and answered by the other");
        setup.finish(instance, &[&run.all]).await;
    }
}

#[tokio::test]
async fn a_compressed_stream_is_understood_without_the_limits_in_it() {
    for coding in ["zstd", "gzip"] {
        let setup = Setup::with_logins("fallback").await;
        let instance = setup.start().await;
        let Some(codex) = Codex::new(&setup.client_lines(&instance).await, false) else { return };
        let message = json!({
            "type": "message", "role": "assistant", "id": "msg_1",
            "content": [{ "type": "output_text", "text": "Hi in pieces." }],
        });
        let usage = json!({
            "input_tokens": 1, "input_tokens_details": null, "output_tokens": 1, "output_tokens_details": null,
            "total_tokens": 2,
        });
        let limits = json!({
            "type": "codex.rate_limits", "plan_type": "pro", "credits": { "has_credits": true, "balance": "1234.56" },
            "rate_limits": { "primary": { "used_percent": 99.0, "window_minutes": 300 }, "secondary": null },
        });
        let events = [
            json!({ "type": "response.created", "response": { "id": "resp_1" } }),
            limits.clone(),
            json!({ "type": "response.output_item.done", "item": message }),
            limits,
            json!({ "type": "response.completed", "response": { "id": "resp_1", "usage": usage } }),
        ];
        setup.api.next("a", stream(coding, &events));
        let run = codex.run(&["say hi"]).await;
        run.assert_says("Hi in pieces.");
        assert!(!run.all.contains("1234.56"), "{}", run.all);
        setup.finish(instance, &[&run.all]).await;
    }
}
