use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn edited(text: &str, edits: &[Edit]) -> String {
    String::from_utf8(apply(text.as_bytes(), edits).unwrap()).unwrap()
}

#[test]
fn a_claude_login_keeps_everything_else() {
    let text = r#"{"mcpOAuth":{"x":1e3,"x":12345678901234567890},"claudeAiOauth":{"accessToken":"old","\u0072efreshToken":"r1","expiresAt":1,"scopes":["a","b"],"zz":-0.0},"é":"\/"} "#;
    let edits = [
        Edit::new(&["claudeAiOauth", "accessToken"], "new"),
        Edit::new(&["claudeAiOauth", "refreshToken"], "r2"),
        Edit::new(&["claudeAiOauth", "expiresAt"], 1_700_000_000_000_u64),
        Edit::new(&["claudeAiOauth", "scopes"], json!(["a", "b"])),
    ];
    assert_eq!(
        edited(text, &edits),
        r#"{"mcpOAuth":{"x":1e3,"x":12345678901234567890},"claudeAiOauth":{"accessToken":"new","\u0072efreshToken":"r2","expiresAt":1700000000000,"scopes":["a","b"],"zz":-0.0},"é":"\/"} "#
    );
}

#[test]
fn additions_look_like_what_is_there() {
    let b = |value: Value| [Edit::new(&["b"], value)];
    assert_eq!(edited(r#"{"a":1}"#, &b(json!(2))), r#"{"a":1,"b":2}"#);
    assert_eq!(edited(r#"{"a": 1}"#, &b(json!(2))), r#"{"a": 1, "b": 2}"#);
    assert_eq!(edited(r#"{ "a":1 }"#, &b(json!(2))), r#"{ "a":1, "b":2 }"#);
    assert_eq!(edited("{}", &b(json!([1, {"c": 2}]))), r#"{"b":[1,{"c":2}]}"#);
    assert_eq!(edited(" { } ", &b(json!(2))), r#" {"b":2 } "#);
    assert_eq!(
        edited("{\n  \"a\": 1\n}\n", &b(json!([1, {"c": []}]))),
        "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    {\n      \"c\": []\n    }\n  ]\n}\n"
    );
    assert_eq!(edited("{\r\n\t\"a\":1\r\n}", &b(json!(2))), "{\r\n\t\"a\":1,\r\n\t\"b\":2\r\n}");
    let nested = [Edit::new(&["t", "x"], "y"), Edit::new(&["t", "z"], 1)];
    assert_eq!(edited(r#"{"a":1}"#, &nested), r#"{"a":1,"t":{"x":"y","z":1}}"#);
    assert_eq!(
        edited("{\n  \"t\": {}\n}", &nested),
        "{\n  \"t\": {\n    \"x\": \"y\",\n    \"z\": 1\n  }\n}"
    );
}

#[test]
fn replaced_lists_keep_their_layout() {
    let edit = [Edit::new(&["s"], json!(["x", "y"]))];
    assert_eq!(edited("{\n  \"s\": [\"a\"]\n}", &edit), "{\n  \"s\": [\"x\", \"y\"]\n}");
    assert_eq!(
        edited("{\n  \"s\": [\n    \"a\"\n  ]\n}", &edit),
        "{\n  \"s\": [\n    \"x\",\n    \"y\"\n  ]\n}"
    );
}

#[test]
fn the_last_of_several_is_set() {
    assert_eq!(
        edited(r#"{"a":{"b":1},"a":{"b":2,"b":3}}"#, &[Edit::new(&["a", "b"], 9)]),
        r#"{"a":{"b":1},"a":{"b":2,"b":9}}"#
    );
}

#[test]
fn what_cannot_be_edited() {
    let edit = [Edit::new(&["a", "b"], 1)];
    for text in [&b"[]"[..], b"1", b"\"x\"", br#"{"a":null}"#, br#"{"a":[]}"#, br#"{"a":"{}"}"#] {
        assert_eq!(apply(text, &edit), Err(EditError::NotAnObject), "{}", text.escape_ascii());
    }
    for text in [&b""[..], b"{", b"{}{}", b"{\"a\":\"\xff\"}", b"{,}", b"{\"a\" 1}", b"\xef\xbb\xbf{}"] {
        assert_eq!(apply(text, &edit), Err(EditError::Invalid), "{}", text.escape_ascii());
    }
    assert_eq!(apply(b"{}", &[Edit::new(&[], 1)]), Err(EditError::NoPath));
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!("{{\"x\":{}{},\"a\":1}}", "[".repeat(200_000), "]".repeat(200_000));
    let result = edited(&deep, &[Edit::new(&["a"], 2)]);
    assert!(result.ends_with("],\"a\":2}"));
}

/// JSON texts with odd spacing, numbers, escapes and duplicate names.
fn documents() -> impl Strategy<Value = String> {
    let space = "[ \t\r\n]{0,3}";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-0.0".to_owned()),
        Just("1e3".to_owned()),
        Just("1E+400".to_owned()),
        Just("12345678901234567890123".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        Just(r#""\/\u00e9\"\\""#.to_owned()),
        "\"[ -!#-\\[\\]-~é😀]{0,8}\"",
        "-?[1-9][0-9]{0,20}(\\.[0-9]{1,20})?",
    ];
    let name = prop_oneof![
        Just("\"a\"".to_owned()),
        Just("\"b\"".to_owned()),
        Just(r#""\u0061""#.to_owned()),
        Just(r#""\ud800""#.to_owned()),
        "\"[a-c{}:,]{0,3}\"",
    ];
    let value = leaf.prop_recursive(4, 40, 5, move |inner| {
        let member = (space, name.clone(), space, space, inner.clone(), space)
            .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
        let item = (space, inner, space).prop_map(|(a, item, b)| format!("{a}{item}{b}"));
        prop_oneof![
            3 => proptest::collection::vec(member, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
            1 => proptest::collection::vec(item, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            1 => space.prop_map(|space| format!("{{{space}}}")),
        ]
    });
    (space, value, space).prop_map(|(a, value, b)| format!("{a}{value}{b}"))
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        proptest::collection::vec("[a-z:\"]{0,4}", 0..3).prop_map(Value::from),
        Just(json!({"x": [1, {"y": "z"}], "w": null})),
        Just(json!({})),
    ]
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[abc]", 1..4)
}

/// What a plain model does: sets the member of the parsed document.
fn model(document: &mut Value, path: &[String], value: &Value) -> bool {
    let mut at = document;
    for name in path {
        let Value::Object(members) = at else { return false };
        at = members.entry(name.clone()).or_insert_with(|| json!({}));
    }
    *at = value.clone();
    true
}

/// The bytes of a number are kept only by the text; a value that was printed is compared as it is read.
fn as_read(value: &Value) -> Value {
    serde_json::from_str(&value.to_string()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn only_the_edited_span_changes(text in documents(), path in paths(), value in values()) {
        let edit = Edit { path, value };
        let Ok(after) = apply(text.as_bytes(), std::slice::from_ref(&edit)) else {
            // Only texts that are no objects where one is needed.
            let mut parsed: Value = match serde_json::from_str(&text) { Ok(value) => value, Err(_) => return Ok(()) };
            prop_assert!(!model(&mut parsed, &edit.path, &edit.value), "{text}");
            return Ok(());
        };
        prop_assert_eq!(&apply(&after, std::slice::from_ref(&edit)).unwrap(), &after, "again");
        let after = String::from_utf8(after).unwrap();
        // By bytes: a common beginning and a common end, and what is between was one value, or nothing.
        let same = |a: &mut dyn Iterator<Item = (u8, u8)>| a.take_while(|(a, b)| a == b).count();
        let front = same(&mut text.bytes().zip(after.bytes()));
        let back = same(&mut text.bytes().rev().zip(after.bytes().rev())).min(text.len().min(after.len()) - front);
        let old = &text.as_bytes()[front..text.len() - back];
        let root = Object::root(text.as_bytes()).unwrap();
        let mut span = None;
        let mut object = root;
        for (at, name) in edit.path.iter().enumerate() {
            match object.last_named(text.as_bytes(), name) {
                None => { span = Some(None); break; }
                Some(member) if at + 1 == edit.path.len() => { span = Some(Some(member.value.clone())); break; }
                Some(member) => object = Object::at(text.as_bytes(), member.value.start).unwrap(),
            }
        }
        match span.unwrap() {
            Some(value) => {
                prop_assert!(front >= value.start || front == text.len(), "{text} {after}");
                prop_assert!(text.len() - back <= value.end || front == text.len(), "{text} {after}");
            }
            None => prop_assert!(old.is_empty(), "nothing is taken away: {text} {after}"),
        }
        // By meaning, where a parser reads the text at all.
        if let Ok(mut parsed) = serde_json::from_str::<Value>(&text) {
            prop_assert!(model(&mut parsed, &edit.path, &as_read(&edit.value)));
            prop_assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), parsed);
        }
    }

    #[test]
    fn several_edits_are_a_no_op_the_second_time(
        text in documents(),
        edits in proptest::collection::vec((paths(), values()), 0..5),
    ) {
        let edits: Vec<Edit> = edits.into_iter().map(|(path, value)| Edit { path, value }).collect();
        // An edit of a parent undoes what lies in it: only edits that do not meet can all hold in the end.
        let meet = |a: &Edit, b: &Edit| a.path.starts_with(&b.path) || b.path.starts_with(&a.path);
        prop_assume!(edits.iter().enumerate().all(|(at, a)| edits[..at].iter().all(|b| !meet(a, b))));
        if let Ok(after) = apply(text.as_bytes(), &edits) {
            prop_assert_eq!(apply(&after, &edits).unwrap(), after);
        }
    }

    #[test]
    fn any_bytes_do_not_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = apply(&text, &[Edit::new(&["a", "b"], 1)]);
    }
}

#[test]
fn debug_shows_no_value() {
    assert!(!format!("{:?}", Edit::new(&["a"], "canary")).contains("canary"));
}

#[test]
fn members_are_removed_with_what_held_them_apart() {
    let removed = |text: &str| {
        remove(text.as_bytes(), &["o"], "x").unwrap().map(|text| String::from_utf8(text).unwrap())
    };
    for (text, expected) in [
        (r#"{"o":{"x":1,"a":2.0}}"#, r#"{"o":{"a":2.0}}"#),
        (r#"{"o":{"a":2.0,"x":[1,{"x":2}]}}"#, r#"{"o":{"a":2.0}}"#),
        (r#"{"o":{"a":1, "x":{} , "b":2}}"#, r#"{"o":{"a":1, "b":2}}"#),
        (r#"{"o":{ "x":1 }}"#, r#"{"o":{ }}"#),
        (r#"{"o":{"\u0078":1,"a":2,"x":3}}"#, r#"{"o":{"a":2}}"#),
        ("{\"o\":{\n  \"x\": 1,\n  \"a\": 2\n}}", "{\"o\":{\n  \"a\": 2\n}}"),
        ("{\"o\":{\n  \"a\": 1,\n  \"x\": 2\n}}", "{\"o\":{\n  \"a\": 1\n}}"),
        (r#"{"o":{"x":0},"o":{"x":1}} "#, r#"{"o":{"x":0},"o":{}} "#),
    ] {
        assert_eq!(removed(text).as_deref(), Some(expected), "{text}");
    }
    for text in [r#"{"x":1}"#, r#"{"o":7}"#, r#"{"o":{"y":{"x":1}}}"#, r#"{"o":[{"x":1}]}"#] {
        assert_eq!(removed(text), None, "{text}");
    }
    assert_eq!(remove(b"{", &[], "x"), Err(EditError::Invalid));
    assert_eq!(remove(b"[]", &[], "x"), Err(EditError::NotAnObject));
    assert_eq!(remove(br#"{"x":1}"#, &[], "x").unwrap().unwrap(), b"{}");
}

proptest! {
    #[test]
    fn what_is_removed_is_all_that_goes(members in prop::collection::vec(("[a-dx]", any::<i32>()), 0..8), pretty: bool) {
        // Names may stand twice, so the text is made by hand.
        let (open, lead, colon) = if pretty { ("{\n", "  ", ": ") } else { ("{", "", ":") };
        let write = |members: &[(String, i32)]| {
            let lines: Vec<String> = members.iter().map(|(name, value)| format!("{lead}\"{name}\"{colon}{value}")).collect();
            format!("{open}{}{}}}", lines.join(if pretty { ",\n" } else { "," }), if pretty { "\n" } else { "" })
        };
        let kept: Vec<(String, i32)> = members.iter().filter(|(name, _)| name != "x").cloned().collect();
        let removed = remove(write(&members).as_bytes(), &[], "x").unwrap();
        prop_assert_eq!(removed.is_some(), kept.len() < members.len());
        if let Some(removed) = removed {
            let removed = String::from_utf8(removed).unwrap();
            if kept.is_empty() {
                prop_assert_eq!(removed.split_whitespace().collect::<String>(), "{}");
            } else {
                prop_assert_eq!(removed, write(&kept));
            }
        }
    }
}
