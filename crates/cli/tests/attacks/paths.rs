//! Paths that mean more than one place: nothing leaves `/v1/`, reaches a path that is not the user's, or arrives as another path
//! than it was let in as.

use trunkline_testkit::client::{H2Client, Request};

use crate::target::{TOKEN, Target, statuses};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
}

/// Spellings of places outside of what the user may ask for.
const TRICKS: [&str; 40] = [
    "/v1/../api/oauth/usage",
    "/v1/..",
    "/v1/.",
    "/v1/./models",
    "/v1/models/..",
    "/v1/models/../../api/oauth/usage",
    "/v1//models",
    "//v1/models",
    "//evil.example/v1/models",
    "///v1/models",
    "/v1/%2e%2e/api",
    "/v1/%2E%2E/api",
    "/v1/.%2e/api",
    "/v1/%2e./api",
    "/v1%2fmodels",
    "/v1%2Fmodels",
    "/v1/models%2f..%2f..",
    "/v1/%5c..%5capi",
    "/v1\\..\\api",
    "/v1/models\\",
    "/v1/%6dodels",
    "/%76%31/models",
    "/v1/%252e%252e/api",
    "/v1/models%00",
    "/v1/models%0d%0aX:%20y",
    "/v1/models%",
    "/v1/models%2",
    "/v1/models%zz",
    "/v1/models%c0%ae",
    "/v1/models%ff",
    "/v1/models/%2e",
    "/V1/models",
    "/v1x/models",
    "/api/oauth/usage/..",
    "/api/../v1/models",
    "/v1/../v1/models",
    "*",
    "v1/models",
    "evil.example:443",
    "http:",
];

#[tokio::test]
async fn no_spelling_leaves_the_api() {
    let target = Target::new().await;
    for path in TRICKS {
        let answer = target.send(get(path).as_bytes(), 1).await;
        assert!(matches!(statuses(&answer)[..], [400 | 404]), "{path}: {answer}");
        assert!(!answer.contains("evil.example") || answer.contains("does not serve"), "{path}: {answer}");
        assert!(target.reached().is_empty(), "{path}: {:?}", target.reached());
    }
    target.is_well().await;
    let reached = target.reached().len();
    let mut client = H2Client::connect(target.addr()).await.unwrap();
    for path in TRICKS.into_iter().filter(|path| path.starts_with('/')) {
        // What the library cannot write is not sent.
        if let Ok(response) = client.send(&Request::get(path).bearer(TOKEN)).await {
            assert!(matches!(response.status(), 400 | 404), "{path}: {response:?}");
        }
        assert_eq!(target.reached().len(), reached, "{path}");
    }
}

/// What is let in arrives letter by letter: nothing is decoded, sorted or put in order on the way.
#[tokio::test]
async fn what_is_let_in_arrives_as_it_was_sent() {
    let target = Target::new().await;
    for path in [
        "/v1/models?x=/../y",
        "/v1/models?a=%2e%2e&b=%2F&&=",
        "/v1/models/a%20b",
        "/v1/models/a:b@c",
        "/v1/models?",
        "/v1/models/...",
        "/v1/models/%e2%82%ac",
    ] {
        let answer = target.send(get(path).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), [200], "{path}: {answer}");
        assert_eq!(target.reached().pop().unwrap().target, path);
    }
}

/// The host of an absolute target is not where it goes.
#[tokio::test]
async fn no_target_chooses_the_provider() {
    let target = Target::new().await;
    for host in ["evil.example", "127.0.0.1:1", "user@evil.example", "[::1]:1"] {
        let answer = target.send(get(&format!("http://{host}/v1/models")).as_bytes(), 1).await;
        assert!(matches!(statuses(&answer)[..], [200 | 400]), "{host}: {answer}");
        for received in target.reached() {
            assert_eq!(received.target, "/v1/models", "{host}");
            assert_eq!(
                received.headers.get("host"),
                Some(target.upstream.addr().to_string().as_str()),
                "{host}"
            );
        }
        let answer = target.send(get(&format!("http://{host}/v1/../api")).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), [400], "{host}: {answer}");
    }
    for connect in ["evil.example:443", "127.0.0.1:1", "/v1/models"] {
        let bytes =
            format!("CONNECT {connect} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        let answer = target.send(bytes.as_bytes(), 1).await;
        assert!(matches!(statuses(&answer)[..], [400 | 404]), "{connect}: {answer}");
    }
}
