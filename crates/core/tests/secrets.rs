//! Nothing public that can hold a secret shows it when it is formatted.

#![expect(clippy::expect_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, StatusCode};
use trunkline_core::auth::TokenTable;
use trunkline_core::failure::ErrorFields;
use trunkline_core::json_edit::Edit;
use trunkline_core::kept_headers::KeptHeaders;
use trunkline_core::limits::RefusedAnswer;
use trunkline_core::limits::error_body::ErrorBody;
use trunkline_core::limits::json::Object;
use trunkline_core::login::{Login, LoginIdentity};
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_core::provider::{Authorization, ClientToken, LoginFormat, Provider as _};
use trunkline_core::refresh::{RefreshKind, TokenAnswer, judge};
use trunkline_core::secret::{Secret, TokenDigest};
use trunkline_core::socket::{
    ClientMessage, Create, LimitEvents, Options, SocketFacts as _, TurnState, Turns, UpstreamEvent,
};

/// A token whose every part of eight characters is found nowhere by chance.
const CANARY: &str = "sk-ant-oat01-Qz7Xk2Vw9Lp4Tn6Rb8Hs3Jd5Gf1Mc0Ya-end7";

/// Types of which nothing below makes a value, since nothing secret comes into them: the rest of this crate's public
/// types must each be shown to be silent. A new type must be put here or tested.
const WITHOUT_SECRETS: &[&str] = &[
    // Plain choices and facts.
    "Admission",
    "BadHead",
    "BadPath",
    "BodyRate",
    "Burst",
    "Claude",
    "ClientMode",
    "Codex",
    "ControlFrames",
    "Differ",
    "Disturbance",
    "EditError",
    "Edited",
    "FaultKind",
    "Foreign",
    "Hold",
    "LeftOut",
    "LogRate",
    "LoginKind",
    "Meant",
    "Mounted",
    "Network",
    "Plan",
    "ProbeTarget",
    "Progress",
    "Quota",
    "RequestClass",
    "RequestHints",
    "Route",
    "SetAnew",
    "SocketHealth",
    "Span",
    "Statuses",
    "StreamLimits",
    "Unread",
    "Unreadable",
    "Wanted",
    "WeightSource",
    "Written",
    // Availability: names of windows, times, texts of ours, and the digests of `LoginIdentity`.
    "Asking",
    "Availability",
    "BlockReason",
    "CappedWindow",
    "Change",
    "FailureCounts",
    "Facts",
    "LoginChange",
    "LoginFacts",
    "Pickable",
    "RateLimited",
    "Renewal",
    "RequestEnd",
    "Scope",
    "Source",
    "StateLog",
    "Unavailable",
    "WayOut",
    // Refreshes and recoveries: choices, times, and digests.
    "Advance",
    "AfterFailure",
    "AuthRecovery",
    "CheckAnswer",
    "Denied",
    "ForcedRefresh",
    "Mark",
    "Next",
    "NextTry",
    "Outcome",
    "RefreshEnd",
    "RefreshFailure",
    "RefreshKind",
    "RefreshPolicy",
    "Step",
    "TokenCall",
    "Tries",
    // What a request's body names: the model and the session.
    "BodyScan",
    "Found",
    // Events of a provider's about limits, and digests.
    "EventCut",
    "IssuedStates",
    // Addresses and counts.
    "AuthThrottle",
    "FrameCount",
    // Texts of ours.
    "Fault",
    "OwnAnswer",
    // Plain choices and facts of routing.
    "Action",
    "BindingChange",
    "Counter",
    "CredentialKind",
    "Effect",
    "FinalAnswer",
    "Interrupt",
    "LimitScope",
    "Meaning",
    "Outcome",
    "Phase",
    "Pick",
    "PickReason",
    "PoolScope",
    "Recovery",
    "RefusalKind",
    "RefusedFor",
    "Repeat",
    "Row",
    "Scope",
    "Standing",
    "Strategy",
    "Streak",
    "Transport",
    "Verdict",
    "WhyNone",
    "Window",
    // Numbers and counts.
    "Attempts",
    "Counts",
    "CredentialId",
    "ServiceId",
    "Situation",
    "UserId",
    "WindowUse",
    // What is known of credentials: tags, globs and states, whose texts are ours.
    "Assessment",
    "Candidate",
    "Explained",
    "Explanation",
    "Fact",
    "ModelFamily",
    "NoCandidate",
    "Pool",
    "Refused",
    "RequestFacts",
    "Selection",
    // Sessions, by the ids that clients give them.
    "Binding",
    "Change",
    "Changes",
    "SessionKey",
    "SessionTable",
    // WebSockets: choices, moments, texts of ours, names of sessions, and the headers that a user is shown.
    "AfterFailure",
    "Boundary",
    "Close",
    "Drops",
    "LimitEvents",
    "Message",
    "OnCreate",
    "Options",
    "Passing",
    "ShownLimits",
    "Tick",
    "TurnEnd",
    "TurnOutcome",
    "UpstreamBase",
    "UpstreamEvent",
    // A path, of which the log is told as well.
    "UpstreamTarget",
    // What holds the words of a provider as `ErrorFields`, and the texts that they are compared with.
    "Answer",
    "Beginning",
    "Failure",
    "FirstEvent",
    "Text",
    "Texts",
    "Ranking",
    "Words",
];

/// The same, of limits: numbers, moments, names of windows and models, and what a provider says of them.
const LIMITS_WITHOUT_SECRETS: [&str; 34] = [
    "Aggregate",
    "AggregateWindow",
    "BaseWindow",
    "Caps",
    "Claim",
    "Due",
    "ErrorBody",
    "Followup",
    "ImplausibleReset",
    "LimitScope",
    "Limited",
    "Member",
    "MemberKind",
    "NoCandidate",
    "Observed",
    "Obstacle",
    "PollResult",
    "PollSchedule",
    "PollState",
    "RateLimit",
    "Reading",
    "Readings",
    "Refusal",
    "RefusedWindow",
    "ReportedWindow",
    "ScopedReading",
    "Source",
    "Standing",
    "Utilization",
    "View",
    "Weight",
    "Window",
    "WindowPair",
    "Windows",
];

/// Of limits, what comes from an answer whole, and is formatted below.
const LIMITS_TESTED: [&str; 3] = ["Object", "RefusedAnswer", "Scalar"];

/// Types that are formatted below.
const TESTED: &[&str] = &[
    "AccountFacts",
    "AnswerError",
    "Authorization",
    "ClientFile",
    "ClientToken",
    "ClientMessage",
    "Create",
    "Edit",
    "Edits",
    "ErrorFields",
    "Login",
    "KeptHeaders",
    "LoginError",
    "LoginIdentity",
    "PreparedAuthorization",
    "Probe",
    "Profile",
    "RefreshAnswer",
    "RefreshRequest",
    "Secret",
    "TokenAnswer",
    "TokenDigest",
    "TokenTable",
    "TurnState",
    "Turns",
];

fn check(what: &str, value: &impl Debug) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        check_text(what, &shown);
    }
}

fn check_text(what: &str, shown: &str) {
    // A list of bytes shows a secret as well as its text does.
    let bytes = |part: &str| {
        let list: Vec<String> = part.bytes().map(|byte| byte.to_string()).collect();
        [list.join(", "), list.join(",\n        "), list.join(",\n    ")]
    };
    for at in "sk-ant-oat01-".len()..=CANARY.len() - 8 {
        let part = &CANARY[at..at + 8];
        assert!(!shown.contains(part), "{what} shows {part}: {shown}");
        assert!(
            !bytes(part).iter().any(|list| shown.contains(list)),
            "{what} shows bytes of {part}: {shown}"
        );
    }
}

#[test]
fn secrets_and_what_holds_them() {
    let secret = Secret::new(CANARY);
    check("Secret", &secret);
    check("Option<Secret>", &Some(secret.clone()));
    check(
        "Login",
        &Login {
            expires_at: Some(SystemTime::UNIX_EPOCH),
            refresh_token: Some(secret.clone()),
            id_token: Some(secret.clone()),
            ..Login::of_token(secret.clone())
        },
    );
    check("Edit", &Edit::new(&["claudeAiOauth", "accessToken"], CANARY));
    for authorization in [Authorization::OAuth(secret.clone()), Authorization::ApiKey(secret)] {
        check("Authorization", &authorization);
        check("PreparedAuthorization", &Claude.prepare(&authorization, None).expect("a header value"));
        check("PreparedAuthorization", &Codex.prepare(&authorization, Some(CANARY)).expect("a header value"));
    }
    check("ClientFile", &Codex.client_file("http://127.0.0.1:1", ClientToken::Value(CANARY)));
    check("ClientToken", &ClientToken::Value(CANARY));
}

#[test]
fn the_state_of_a_turn() {
    let message =
        format!(r#"{{"type":"response.create","client_metadata":{{"x-codex-turn-state":"{CANARY}"}}}}"#);
    let read = Codex.read_client(message.as_bytes());
    check("ClientMessage", &read);
    let create = match read {
        ClientMessage::Create(create) => *create,
        ClientMessage::Other | ClientMessage::Unreadable => Create::default(),
    };
    check("Create", &create);
    assert_eq!(create.turn_state, TurnState::Value(Secret::new(CANARY)));
    check("TurnState", &create.turn_state);
    let options =
        Options { limits: LimitEvents::Aggregate, idle: Duration::from_secs(1), is_other_credential: false };
    let mut turns = Turns::new(options, Instant::now());
    turns.on_upstream(UpstreamEvent::Metadata, None, Some(Secret::new(CANARY)));
    check("Turns", &turns);
}

#[test]
fn what_answers_carry() {
    let mut headers = HeaderMap::new();
    headers.insert("set-cookie", CANARY.parse().expect("a header value"));
    check("KeptHeaders", &KeptHeaders::of(&headers));
    let error = ErrorBody::default();
    let status = StatusCode::TOO_MANY_REQUESTS;
    check(
        "RefusedAnswer",
        &RefusedAnswer { status, headers: &headers, error: &error, model: None, is_api_key: false },
    );
    let text = format!("{{\"{CANARY}\":\"{CANARY}\"}}");
    let object = Object::parse(text.as_bytes()).expect("an object");
    check("Object", &object);
    check("Scalar", &object.scalar(CANARY));
}

#[test]
fn errors_that_repeat_what_was_sent() {
    let body = format!(r#"{{"error":{{"type":"authentication_error","message":"unknown token {CANARY}"}}}}"#);
    let fields = ErrorFields::from_body(body.as_bytes());
    assert!(fields.message.as_ref().is_some_and(|message| message.contains(CANARY)));
    check("ErrorFields", &fields);
}

#[test]
fn digests_do_not_show_what_a_guess_could_be_checked_against() {
    let digest = TokenDigest::of(CANARY.as_bytes());
    let table = TokenTable::new([(digest, "alice")]);
    for shown in [format!("{digest:?}"), format!("{table:?}")] {
        check_text("TokenDigest", &shown);
        assert!(!shown.contains(&digest.to_hex()[..8]), "{shown}");
    }
}

#[test]
fn what_becomes_of_a_login() {
    let formats: [(&dyn LoginFormat, String); 2] = [
        (&Claude, format!(r#"{{"claudeAiOauth":{{"accessToken":"{CANARY}","refreshToken":"{CANARY}"}}}}"#)),
        (&Codex, format!(r#"{{"tokens":{{"access_token":"{CANARY}","refresh_token":"{CANARY}"}}}}"#)),
    ];
    for (format, file) in formats {
        let login = format.read_login(file.as_bytes()).expect("a login");
        check("Login", &login);
        check("LoginIdentity", &LoginIdentity::of(&login));
        check("RefreshRequest", &format.refresh_request(&login, RefreshKind::Forced));
        check("Probe", &format.usage_poll(&login));
        check("Probe", &format.authorization_check(&Authorization::ApiKey(Secret::new(CANARY))));
        let answer = format!(
            r#"{{"access_token":"{CANARY}","refresh_token":"{CANARY}","id_token":"{CANARY}",
                "account":{{"email_address":"{CANARY}"}}}}"#
        );
        let answer = TokenAnswer { status: 200, retry_after: None, body: answer.as_bytes() };
        check("TokenAnswer", &answer);
        let read = judge(format, &login, &answer, SystemTime::UNIX_EPOCH).expect("an answer");
        check("RefreshAnswer", &read);
        check("Edits", &read.edits);
        check("AccountFacts", &read.account);
        for body in [format!("\"{CANARY}\""), format!(r#"{{"access_token":["{CANARY}"]}}"#)] {
            let error = format.read_refresh_answer(&login, body.as_bytes(), SystemTime::UNIX_EPOCH);
            check("AnswerError", &error);
        }
    }
    let profile = format!(r#"{{"account":{{"email":"{CANARY}"}}}}"#);
    check("Profile", &Claude.read_profile(profile.as_bytes()).expect("a profile"));
}

#[test]
fn why_a_login_file_is_refused() {
    for file in [
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!("[\"{CANARY}\"]"),
        format!("{{\"{CANARY}\""),
        format!("{{\"claudeAiOauth\":\"{CANARY}\"}}"),
        format!("{{\"claudeAiOauth\":[\"{CANARY}\"]}}"),
        format!("{{\"claudeAiOauth\":{{\"accessToken\":[\"{CANARY}\"]}}}}"),
        format!("{{\"claudeAiOauth\":{{\"accessToken\":{{\"{CANARY}\":1}}}}}}"),
        format!("{{\"claudeAiOauth\":{{\"accessToken\":\"{CANARY}\",\"expiresAt\":\"{CANARY}\"}}}}"),
        format!("{{\"claudeAiOauth\":{{\"accessToken\":\"{CANARY}\",\"accessToken\":\"{CANARY}\"}}}}"),
        format!("{{\"claudeAiOauth\":{{\"accessToken\":\"{CANARY}\\x\"}}}}"),
        format!("{{\"claudeAiOauth\":{{\"accessToken\":\"{CANARY}\",}}}}"),
    ] {
        match Claude.read_login(file.as_bytes()) {
            Ok(login) => check("Login", &login),
            Err(error) => {
                check("LoginError", &error);
                check_text("LoginError", &error.to_string());
            }
        }
    }
}

#[test]
fn every_public_type_is_accounted_for() {
    let mut types = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut types);
    assert!(types.contains("Secret"), "the sources were not read: {types:?}");
    let known: BTreeSet<String> = WITHOUT_SECRETS
        .iter()
        .chain(&LIMITS_WITHOUT_SECRETS)
        .chain(&LIMITS_TESTED)
        .chain(TESTED)
        .map(ToString::to_string)
        .collect();
    let unknown: Vec<_> = types.difference(&known).collect();
    assert!(unknown.is_empty(), "show that these keep secrets, or say that they have none: {unknown:?}");
    let gone: Vec<_> = known.difference(&types).collect();
    assert!(gone.is_empty(), "these are no longer there: {gone:?}");
}

fn collect(folder: &Path, types: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, types);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            types.extend(text.lines().filter_map(|line| {
                let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))?;
                let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
                rest.get(..end).map(str::to_owned)
            }));
        }
    }
}
