//! Properties of arbitrary texts.

use proptest::prelude::*;

use super::machine;
use crate::{json, jsonc, load};

/// JSON of any shape, written out with arbitrary comments, spaces and trailing commas between its tokens.
fn commented() -> impl Strategy<Value = (serde_json::Value, String)> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        "[/#*,\\]}\"\\\\ ]{0,8}".prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z/#\"]{0,4}", inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    });
    (value, prop::collection::vec(gap(), 1..16)).prop_map(|(value, gaps)| {
        let mut gaps = gaps.into_iter().cycle();
        let mut text = String::new();
        write(&value, &mut gaps, &mut text);
        (value, text)
    })
}

fn gap() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[ \t\r\n]{1,3}",
        "[^\r\n]{0,6}".prop_map(|text| format!("//{text}\n")),
        "[^\r\n]{0,6}".prop_map(|text| format!("#{text}\n")),
        "[^*/]{0,6}".prop_map(|text| format!("/*{text}*/")),
    ]
}

fn write(value: &serde_json::Value, gaps: &mut impl Iterator<Item = String>, out: &mut String) {
    let mut gap = |out: &mut String| out.push_str(&gaps.next().unwrap_or_default());
    gap(out);
    match value {
        serde_json::Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, gaps, out);
                out.push(',');
            }
            out.push_str(&gaps.next().unwrap_or_default());
            out.push(']');
        }
        serde_json::Value::Object(members) => {
            out.push('{');
            for (key, member) in members {
                out.push_str(&gaps.next().unwrap_or_default());
                out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                out.push_str(&gaps.next().unwrap_or_default());
                out.push(':');
                write(member, gaps, out);
                out.push(',');
            }
            out.push_str(&gaps.next().unwrap_or_default());
            out.push('}');
        }
        leaf => out.push_str(&leaf.to_string()),
    }
    out.push_str(&gaps.next().unwrap_or_default());
}

/// The tree as the well-known parser would have read it.
fn plain(node: &json::Node<'_>) -> serde_json::Value {
    match &node.value {
        json::Value::Null => serde_json::Value::Null,
        json::Value::Bool(value) => (*value).into(),
        json::Value::Number(text) => serde_json::from_str(text).unwrap(),
        json::Value::Text(text) => text.as_str().into(),
        json::Value::List(items) => items.iter().map(plain).collect(),
        json::Value::Object(members) => {
            members.iter().map(|member| (member.key.clone(), plain(&member.node))).collect()
        }
    }
}

/// Texts with many of the characters that mean something.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\[\\]{}:,\"\\\\/*#a\n0-9. u\u{feff}ä$-]{0,64}"]
}

/// Texts that get further than the parser: fields that exist, with values that need not fit.
fn near_configuration() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        Just("type"),
        Just("tag"),
        Just("credentials"),
        Just("users"),
        Just("name"),
        Just("token"),
        Just("upstream"),
        Just("api_url"),
        Just("detour"),
        Just("tls"),
        Just("enabled"),
        Just("key"),
        Just("certificate"),
        Just("listen"),
        Just("listen_port"),
        Just("path"),
        Just("models"),
        Just("credential"),
        Just("strategy"),
        Just("limits"),
        Just("per"),
        Just("services"),
        Just("outbounds"),
        Just("log"),
        Just("admin"),
        Just("headers"),
        Just("url"),
        Just("reverse"),
        Just("netns"),
        Just("sniff"),
        Just("oauth_token"),
        Just("token_sha256"),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()), Just("true".to_owned()), any::<i32>().prop_map(|number| number.to_string()),
        "(claude|codex|default|api_key|balancer|external|fallback|direct|http|socks|a|b|::|/x|1s|\\$\\{TOKEN\\}|)"
            .prop_map(|word| format!("\"{word}\"")),
    ];
    let value = leaf.prop_recursive(6, 64, 6, move |inner| {
        let member = (names.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\": {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(", "))),
        ]
    });
    prop::collection::vec(value, 1..4).prop_map(|services| {
        format!(r#"{{"services": [{}], "outbounds": [{}]}}"#, services.join(", "), services.join(", "))
    })
}

proptest! {
    #[test]
    fn blanking_keeps_length_and_newlines(text in text()) {
        if let Ok(blanked) = jsonc::blank(&text) {
            prop_assert_eq!(blanked.len(), text.len());
            let newlines = |text: &str| text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect::<Vec<_>>();
            prop_assert_eq!(newlines(&blanked), newlines(&text));
            let again = jsonc::blank(&blanked);
            prop_assert_eq!(again.as_deref(), Ok(blanked.as_str()));
        }
    }

    #[test]
    fn json_survives_comments_and_trailing_commas((value, text) in commented()) {
        let blanked = jsonc::blank(&text).unwrap();
        let node = json::parse(&blanked).unwrap();
        prop_assert_eq!(plain(&node), value);
    }

    #[test]
    fn the_parser_takes_what_serde_json_takes(text in text()) {
        let ours = json::parse(&text).map(|node| plain(&node)).ok();
        // Of two members with the same key the last one wins there, as it does in `plain`.
        if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&text) {
            prop_assert_eq!(ours, Some(theirs));
        } else {
            prop_assert!(ours.is_none());
        }
    }

    #[test]
    fn any_text_is_judged(text in text()) {
        if let Err(problems) = load(&text, &machine()) {
            prop_assert!(!problems.errors.is_empty());
            let lines = text.lines().count().max(1) + 1;
            prop_assert!(problems.errors.iter().all(|error| (1..=lines).contains(&error.line) && error.column >= 1));
        }
    }

    #[test]
    fn anything_like_a_configuration_is_judged(text in near_configuration()) {
        match load(&text, &machine()) {
            Ok(loaded) => prop_assert!(loaded.config.services.iter().all(|service| !service.credentials.is_empty())),
            Err(problems) => {
                prop_assert!(!problems.errors.is_empty());
                prop_assert!(problems.errors.iter().all(|error| error.message != "this configuration cannot be used"), "{}", problems);
            }
        }
    }
}

/// `value` with the part at each place replaced in turn, and with each member of an object left out.
fn mutations(
    value: &serde_json::Value,
    found: &mut Vec<serde_json::Value>,
    whole: &dyn Fn(serde_json::Value) -> serde_json::Value,
) {
    let others = [
        serde_json::json!(null),
        serde_json::json!(true),
        serde_json::json!(7),
        serde_json::json!("x"),
        serde_json::json!(""),
        serde_json::json!([]),
        serde_json::json!(["x"]),
        serde_json::json!({}),
        serde_json::json!([{}]),
    ];
    found.extend(others.into_iter().map(whole));
    match value {
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let put = |new: serde_json::Value| {
                    let mut items = items.clone();
                    items[index] = new;
                    whole(items.into())
                };
                mutations(item, found, &put);
                // Twice the same: two of whatever must be unique.
                let mut twice = items.clone();
                twice.push(item.clone());
                found.push(whole(twice.into()));
            }
        }
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                let put = |new: serde_json::Value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), new);
                    whole(members.into())
                };
                mutations(member, found, &put);
                let mut without = members.clone();
                without.remove(name);
                found.push(whole(without.into()));
            }
        }
        _ => {}
    }
}

#[test]
fn every_small_change_of_a_good_file_is_judged() {
    let mut accepted = 0;
    let mut refused = 0;
    for path in super::corpus::files("valid").into_iter().chain(super::corpus::files("later")) {
        let blanked = jsonc::blank(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let mut changed = Vec::new();
        mutations(&plain(&json::parse(&blanked).unwrap()), &mut changed, &|value| value);
        for value in changed {
            match load(&value.to_string(), &machine()) {
                Ok(_) => accepted += 1,
                Err(problems) => {
                    refused += 1;
                    let fallback = problems
                        .errors
                        .iter()
                        .any(|error| error.message == "this configuration cannot be used");
                    assert!(!problems.errors.is_empty() && !fallback, "{value}: {problems}");
                }
            }
        }
    }
    assert!(accepted > 100 && refused > 1_000, "{accepted} accepted, {refused} refused");
}
