use super::*;

fn failure(text: &str) -> (usize, String) {
    let error = parse(text).unwrap_err();
    (error.at, error.message)
}

#[test]
fn values_know_where_they_are() {
    let text = r#" { "a" : [ 1 , "x" ] , "b":null} "#;
    let root = parse(text).unwrap();
    assert_eq!(root.at, 1);
    let Value::Object(members) = root.value else { panic!("no object") };
    assert_eq!((members[0].key.as_str(), members[0].key_at, members[0].node.at), ("a", 3, 9));
    let Value::List(items) = &members[0].node.value else { panic!("no list") };
    assert_eq!((items[0].at, items[1].at), (11, 15));
    assert_eq!((members[1].key_at, members[1].node.at), (23, 27));
}

#[test]
fn strings_with_escapes() {
    for (text, expected) in [
        (r#""""#, ""),
        (r#""\" \\ \/ \b \f \n \r \t""#, "\" \\ / \u{8} \u{c} \n \r \t"),
        (r#""\u00e4\u20AC""#, "ä€"),
        (r#""\ud83d\ude00""#, "😀"),
        ("\"ä😀\u{7f}\"", "ä😀\u{7f}"),
    ] {
        let Value::Text(found) = parse(text).unwrap().value else { panic!("{text}") };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn bad_strings() {
    for (text, at) in [
        (r#""\x""#, 1),
        (r#""\u12""#, 1),
        (r#""\u+123""#, 1),
        (r#""\ud83d""#, 1),
        (r#""\ud83dx""#, 1),
        (r#""\ud83d\u0041""#, 1),
        (r#""\ude00""#, 1),
        ("\"a\tb\"", 2),
        ("\"a", 0),
        ("\"\\ä\"", 1),
    ] {
        assert_eq!(failure(text).0, at, "{text}");
    }
}

#[test]
fn numbers_keep_their_text() {
    for text in ["0", "-0", "12", "1.50", "1e3", "1E+3", "-1.5e-10"] {
        let Value::Number(found) = parse(text).unwrap().value else { panic!("{text}") };
        assert_eq!(found, text);
    }
    for text in ["01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", "1_000"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn messages_say_what_was_expected_and_found() {
    for (text, at, message) in [
        ("", 0, "expected a value, found the end of the file"),
        ("{1", 1, "expected a field name in double quotes, found '1'"),
        ("{\"a\" 1}", 5, "expected ':' after the field name, found '1'"),
        ("{\"a\":1 \"b\"", 7, "expected ',' or '}' after a field, found '\"'"),
        ("[1 2]", 3, "expected ',' or ']' after a list element, found '2'"),
        ("[1,]", 3, "expected a value, found ']'"),
        ("truest", 0, "expected a value, found 't'"),
        ("True", 0, "expected a value, found 'T'"),
        ("1 2", 2, "expected the end of the file, found '2'"),
        ("\u{1b}", 0, "expected a value, found '\\u{1b}'"),
    ] {
        assert_eq!(failure(text), (at, message.to_owned()), "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH + 1)).is_ok());
    assert_eq!(failure(&nested(MAX_DEPTH + 2)), (MAX_DEPTH + 1, "nested deeper than 64 levels".to_owned()));
    assert!(parse(&"[".repeat(1_000_000)).is_err());
    assert!(parse(&"{\"a\":".repeat(1_000_000)).is_err());
}

#[test]
fn idle_values_ask_for_nothing() {
    for text in ["null", "false", "0", "0.0", "-0", "\"\"", "[]", "{}", r#"{"enabled": false, "x": 1}"#] {
        assert!(parse(text).unwrap().value.is_idle(), "{text}");
    }
    for text in ["true", "1", "\"x\"", "[0]", r#"{"enabled": true}"#, r#"{"x": 0}"#] {
        assert!(!parse(text).unwrap().value.is_idle(), "{text}");
    }
}
