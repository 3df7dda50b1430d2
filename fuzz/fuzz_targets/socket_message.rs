//! A message on a WebSocket: read by the scan, in whatever pieces, as by a full parse; and edited only where it must be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use trunkline_core::provider::codex::Codex;
use trunkline_core::socket::{ClientMessage, SocketFacts, UpstreamEvent};

fuzz_target!(|data: &[u8]| {
    let client = Codex.read_client(data);
    let upstream = Codex.read_upstream(data);
    let _ = Codex.issued_state(data);
    let edited = Codex.without_turn_state(data);
    // What the scan cannot tell may still be JSON, but never the other way round: a request for a response that a parser
    // finds is found here, or refused.
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        if value["type"] == "response.create" {
            assert_ne!(client, ClientMessage::Other);
        }
        if let ClientMessage::Create(create) = &client {
            assert_eq!(value["type"], "response.create");
            assert_eq!(create.is_prewarm, value["generate"] == false);
            assert_eq!(create.model.as_deref(), value["model"].as_str());
        }
        if upstream == UpstreamEvent::Completed {
            assert_eq!(value["type"], "response.completed");
        }
    }
    if let Some(edited) = edited {
        let rest: Value = serde_json::from_slice(&edited).expect("it was JSON before");
        assert!(rest["client_metadata"].get("x-codex-turn-state").is_none());
        assert!(edited.len() < data.len());
        assert_eq!(Codex.without_turn_state(&edited), None);
    }
});
