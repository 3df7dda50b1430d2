//! Any bytes as a login file: no reader panics, what is read can be used, and no error quotes the file.

#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use trunkline_core::availability::LoginFacts;
use trunkline_core::provider::LoginFormat;
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_core::refresh::RefreshKind;

fuzz_target!(|data: &[u8]| {
    let formats: [&dyn LoginFormat; 2] = [&Claude, &Codex];
    for format in formats {
        match format.read_login(data) {
            Ok(login) => {
                assert!(!login.access_token.is_empty(), "an empty token is no login");
                assert!(login.refresh_token.as_ref().is_none_or(|token| !token.is_empty()));
                assert!(login.refresh_due.is_none() || login.refresh_token.is_some());
                let _ = (LoginFacts::of(&login), login.needs_refresh(SystemTime::UNIX_EPOCH));
                let _ = (format.usage_poll(&login), format.profile_request(&login));
                assert!(format.plan_weight(&login.plan) >= 1);
                for kind in [RefreshKind::Proactive, RefreshKind::Forced] {
                    let request = format.refresh_request(&login, kind);
                    assert_eq!(request.is_some(), login.refresh_token.is_some());
                    if let Some(request) = request {
                        serde_json::from_str::<serde_json::Value>(request.body.expose()).expect("JSON");
                    }
                }
            }
            Err(error) => assert!(error.to_string().len() < 200, "{error}"),
        }
        let _ = format.read_profile(data);
    }
});
