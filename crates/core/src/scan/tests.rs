use super::*;
use proptest::prelude::*;

const WANTED: [Wanted; 2] = [Wanted::Top("model"), Wanted::Nested("metadata", "user_id")];

fn scan(body: &str) -> (Progress, Found, Found) {
    let read = |size: usize| {
        let mut scan = BodyScan::new(WANTED);
        body.as_bytes().chunks(size).for_each(|piece| scan.push(piece));
        (scan.progress(), scan.found(0).clone(), scan.found(1).clone())
    };
    let whole = read(body.len().max(1));
    for size in [1, 2, 5] {
        assert_eq!(read(size), whole, "in pieces of {size}: {body}");
    }
    whole
}

fn text(value: &str) -> Found {
    Found::Text(value.to_owned())
}

#[test]
fn finds_members_wherever_they_stand() {
    let body = r#" {"messages":[{"role":"user","content":"say \"model\": \\"},{"model":"inner"}],"max_tokens":1.5e3,
        "metadata":{"a":[1,{"user_id":"no"}],"user_id":"{\"session_id\":\"s\"}"},"stream":true,"model":"claude-x","x":null} "#;
    assert_eq!(scan(body), (Progress::Ended, text("claude-x"), text(r#"{"session_id":"s"}"#)));
}

#[test]
fn keys_and_values_may_be_escaped() {
    let body = r#"{"mod\u0065l":"cl\u0061ude\n\ud83d\ude00\ud800x\/","metadata":{"user\u005fid":"é"}}"#;
    assert_eq!(scan(body), (Progress::Ended, text("claude\n😀\u{fffd}x/"), text("é")));
}

#[test]
fn what_is_no_string_or_stands_twice_is_unclear() {
    assert_eq!(scan(r#"{"model":1}"#).1, Found::Unclear);
    assert_eq!(scan(r#"{"model":{"a":"b"}}"#).1, Found::Unclear);
    assert_eq!(scan(r#"{"model":null}"#).1, Found::Unclear);
    assert_eq!(scan(r#"{"model":"a","model":"a"}"#).1, Found::Unclear);
    assert_eq!(scan(r#"{"model":"a","m\u006fdel":"b"}"#).1, Found::Unclear);
    assert_eq!(scan(&format!(r#"{{"model":"{}"}}"#, "x".repeat(MAX_VALUE + 1))).1, Found::Unclear);
    assert_eq!(scan(r#"{"metadata":{"user_id":"a"},"metadata":{"user_id":"b"}}"#).2, Found::Unclear);
}

#[test]
fn nothing_is_found_where_nothing_is() {
    assert_eq!(scan("{}"), (Progress::Ended, Found::Nothing, Found::Nothing));
    assert_eq!(
        scan(r#"{"metadata":"user_id","x":{"model":"a"}}"#),
        (Progress::Ended, Found::Nothing, Found::Nothing)
    );
    assert_eq!(scan(""), (Progress::Reading, Found::Nothing, Found::Nothing));
}

#[test]
fn other_things_are_no_json() {
    for body in [
        "[1]",
        "x",
        "\"model\"",
        "{model:1}",
        "{\"a\" 1}",
        "{,}",
        "{\"a\":}",
        r#"{"a":1,}"#,
        r#"{"model":"a"} {"model":"b"}"#,
        "{} x",
        r#"{"\x":1}"#,
        "{]",
    ] {
        assert_eq!(scan(body).0, Progress::NotJson, "{body}");
    }
    let deep = format!(r#"{{"a":{}"#, "[".repeat(MAX_DEPTH as usize + 1));
    let mut scan = BodyScan::new(WANTED);
    scan.push(deep.as_bytes());
    assert_eq!(scan.progress(), Progress::NotJson);
}

#[test]
fn satisfied_as_soon_as_everything_is_in() {
    let mut scan = BodyScan::new([Wanted::Top("model")]);
    scan.push(br#"{"model":"claude-x","mess"#);
    assert!(scan.is_satisfied());
    assert_eq!(scan.progress(), Progress::Reading);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::hash_map("(model|metadata|user_id|.{0,6})", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_a_real_parser(value in json(), size in 1_usize..40, pretty: bool) {
        let body = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let mut scan = BodyScan::new(WANTED);
        body.chunks(size).for_each(|piece| scan.push(piece));
        if let serde_json::Value::Object(map) = &value {
            prop_assert_eq!(scan.progress(), Progress::Ended);
            let expect = |value: Option<&serde_json::Value>| match value {
                None => Found::Nothing,
                Some(serde_json::Value::String(text)) => Found::Text(text.clone()),
                Some(_) => Found::Unclear,
            };
            prop_assert_eq!(scan.found(0), &expect(map.get("model")));
            let nested = map.get("metadata").and_then(|metadata| metadata.as_object()).and_then(|map| map.get("user_id"));
            prop_assert_eq!(scan.found(1), &expect(nested));
        } else {
            prop_assert_eq!(scan.progress(), Progress::NotJson);
        }
    }

    #[test]
    fn what_is_left_unread_would_not_have_mattered(value in json(), size in 1_usize..40) {
        let body = serde_json::to_vec(&value).unwrap();
        let (mut whole, mut part) = (BodyScan::new(WANTED), BodyScan::new(WANTED));
        for piece in body.chunks(size) {
            whole.push(piece);
            if !part.is_satisfied() {
                part.push_until_satisfied(piece);
            }
        }
        prop_assert_eq!((whole.found(0), whole.found(1)), (part.found(0), part.found(1)));
        prop_assert_eq!(whole.is_satisfied(), part.is_satisfied());
    }

    #[test]
    fn any_bytes_in_any_pieces_are_survived_alike(body: Vec<u8>, size in 1_usize..9) {
        let mut whole = BodyScan::new(WANTED);
        whole.push(&body);
        let mut pieces = BodyScan::new(WANTED);
        body.chunks(size).for_each(|piece| pieces.push(piece));
        prop_assert_eq!(whole.progress(), pieces.progress());
        prop_assert_eq!(whole.found(0), pieces.found(0));
    }
}

#[test]
fn values_are_kept_as_they_are_written_where_they_are_wanted() {
    let value = |text: &str| {
        let mut scan = BodyScan::new([Wanted::Value("v"), Wanted::Nothing]);
        text.as_bytes().chunks(1).for_each(|piece| scan.push(piece));
        assert!(
            !scan.is_satisfied() || *scan.found(0) != Found::Nothing || scan.progress() != Progress::Reading
        );
        assert_eq!(*scan.found(1), Found::Nothing);
        scan.found(0).clone()
    };
    let scalar = |text: &str| Found::Scalar(text.to_owned());
    assert_eq!(value(r#"{"v":false}"#), scalar("false"));
    assert_eq!(value(r#"{"a":true,"v" : -1.5e3 ,"b":null}"#), scalar("-1.5e3"));
    assert_eq!(value(r#"{"v":"x"}"#), text("x"));
    assert_eq!(value(r#"{"v":null,"v":null}"#), Found::Unclear);
    assert_eq!(value(r#"{"v":[false]}"#), Found::Unclear);
    assert_eq!(value(&format!(r#"{{"v":{}}}"#, "1".repeat(MAX_SCALAR))), scalar(&"1".repeat(MAX_SCALAR)));
    assert_eq!(value(&format!(r#"{{"v":{}}}"#, "1".repeat(MAX_SCALAR + 1))), Found::Unclear);
    assert_eq!(value(r#"{"a":{"v":1}}"#), Found::Nothing);
}

#[test]
fn a_member_is_found_whatever_its_value_is() {
    for value in ["1", "null", "\"x\"", "[1,{}]", "{\"delta\":2}"] {
        let body = format!("{{\"a\":{value},\"delta\":{value},\"model\":\"m\"}}");
        for size in [1, body.len()] {
            let mut scan =
                BodyScan::new([Wanted::Member("delta"), Wanted::Top("model"), Wanted::Member("item")]);
            body.as_bytes().chunks(size).for_each(|piece| scan.push(piece));
            assert_eq!(scan.progress(), Progress::Ended);
            assert_eq!(
                [scan.found(0), scan.found(1), scan.found(2)],
                [&Found::Unclear, &Found::Text("m".to_owned()), &Found::Nothing],
                "{value}"
            );
        }
    }
}
