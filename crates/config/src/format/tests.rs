use super::*;
use crate::fake::FakeEnvironment;

fn accepts(format: &Format, text: &str) -> bool {
    (format.read)(text, &FakeEnvironment::new()).is_ok()
}

#[test]
fn url_prefixes_lose_their_trailing_slash() {
    for (text, expected) in
        [("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a/b-c_d.e~f", "/a/b-c_d.e~f"), ("/...", "/...")]
    {
        match (URL_PREFIX.read)(text, &FakeEnvironment::new()) {
            Ok(Scalar::Text(prefix)) => assert_eq!(prefix, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    for text in
        ["a", "//", "/a//", "/a//b", "/.", "/a/..", "/%61", "/a?", "/a#", "/a b", "/a\\b", "/ä", "/a\0"]
    {
        assert!(!accepts(&URL_PREFIX, text), "{text}");
    }
}

#[test]
fn timestamps_are_rfc_3339_and_exist() {
    for text in [
        "2027-01-31T23:59:59Z",
        "2027-01-31t23:59:59z",
        "2027-01-31T23:59:59.123456Z",
        "2027-01-31T23:59:59+05:30",
        "2027-01-31T23:59:59-00:00",
        "2028-02-29T00:00:00Z",
    ] {
        assert!(accepts(&TIMESTAMP, text), "{text}");
    }
    for text in [
        "",
        "2027-01-31",
        "2027-01-31T23:59Z",
        "2027-01-31T23:59:59",
        "2027-01-31 23:59:59Z",
        "2027-01-31T23:59:59.Z",
        "2027-01-31T23:59:59+0530",
        "2027-01-31T23:59:59Z[Europe/Berlin]",
        "2027-13-31T23:59:59Z",
        "2027-02-29T23:59:59Z",
        "+002027-01-31T23:59:59Z",
        "20270131T235959Z",
        "2027-01-31T23:59:5€Z",
    ] {
        assert!(!accepts(&TIMESTAMP, text), "{text}");
    }
}

#[test]
fn networks_and_windows() {
    for text in ["10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "fd00::/8", "::/0"] {
        assert!(accepts(&NETWORK, text), "{text}");
    }
    for text in ["", "/", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0/8", "host/8"] {
        assert!(!accepts(&NETWORK, text), "{text}");
    }
    for text in ["5h", "day", "week", "month", "90m", "30d"] {
        assert!(accepts(&LIMIT_WINDOW, text), "{text}");
    }
    for text in ["", "0s", "Day", "year", "5"] {
        assert!(!accepts(&LIMIT_WINDOW, text), "{text}");
    }
}

#[test]
fn tokens_can_be_sent_in_a_header() {
    for text in ["a", "with space", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"] {
        assert!(accepts(&TOKEN, text), "{text}");
        assert!(HeaderValue::from_str(text).is_ok(), "{text}");
    }
    for text in ["", " ", " a", "a ", "a\nb", "a\tb", "ä", "a\u{7f}", "a\0"] {
        assert!(!accepts(&TOKEN, text), "{text:?}");
    }
}

#[test]
fn standard_streams_are_no_files() {
    let env = FakeEnvironment::new();
    assert!(matches!((LOG_OUTPUT.read)("stderr", &env), Ok(Scalar::Text(_))));
    match (LOG_OUTPUT.read)("stderr.log", &env) {
        Ok(Scalar::Path(path)) => assert_eq!(path, std::path::Path::new("/here/stderr.log")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_may_be_secret_is_not_shown() {
    for format in [&TOKEN, &SECRET, &PEM, &SHA256, &URL, &HEADER_VALUE] {
        assert!(!format.shown, "{}", format.expected);
    }
}
