use super::*;

fn blanked(text: &str) -> String {
    let blanked = blank(text).unwrap();
    assert_eq!(blanked.len(), text.len(), "{text}");
    blanked
}

#[test]
fn comments_become_spaces() {
    assert_eq!(blanked("1 // x"), "1     ");
    assert_eq!(blanked("1 # x\n2"), "1    \n2");
    assert_eq!(blanked("1 /* x\n* / */2"), "1     \n      2");
    assert_eq!(blanked("/**/1/***/"), "    1     ");
    assert_eq!(blanked("// a\r\n1"), "    \r\n1");
    assert_eq!(blanked("# ä\n1"), "    \n1");
}

#[test]
fn strings_are_left_alone() {
    for text in [r#""http://x # y /* z */, ]""#, r#""\"// \\" "#, r#"{"a,]": ",}"}"#] {
        assert_eq!(blanked(text), text);
    }
}

#[test]
fn trailing_commas_become_spaces() {
    assert_eq!(blanked("[1,]"), "[1 ]");
    assert_eq!(blanked("{\"a\": [1, 2 , // x\n ], }"), "{\"a\": [1, 2       \n ]  }");
    assert_eq!(blanked("[[],{},\"\",null,]"), "[[],{},\"\",null ]");
}

#[test]
fn other_commas_stay_to_be_errors() {
    for text in ["[,]", "{,}", "[1,,]", "{\"a\":,}", ",]", ","] {
        assert!(blanked(text).contains(','), "{text}");
        assert!(crate::json::parse(&blanked(text)).is_err(), "{text}");
    }
}

#[test]
fn a_byte_order_mark_is_blanked_at_the_start_only() {
    assert_eq!(blanked("\u{feff}1"), "   1");
    assert_eq!(blanked("1\u{feff}"), "1\u{feff}");
}

#[test]
fn what_is_not_closed_is_reported_where_it_begins() {
    for (text, at) in
        [("[1, /* x", 4), ("[1, /*/", 4), ("[\"a", 1), ("[\"a\\\"", 1), ("[\"a\n\"]", 1), ("\"\\", 0)]
    {
        assert_eq!(blank(text).map_err(|error| error.at), Err(at), "{text}");
    }
}

#[test]
fn a_single_slash_is_no_comment() {
    assert_eq!(blanked("1 / 2"), "1 / 2");
}
