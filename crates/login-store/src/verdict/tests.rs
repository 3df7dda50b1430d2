use std::time::SystemTime;

use proptest::prelude::*;
use serde_json::Value;
use trunkline_core::json_edit::Edit;
use trunkline_core::secret::Secret;

use super::*;
use crate::format::{NotALogin, Reason};

/// Logins `{"r":…}`; answers `TOKEN`, or `-` for one that keeps the refresh token, or nothing usable.
struct Format;

impl StoreFormat for Format {
    fn stored(&self, login: &[u8]) -> Result<Stored, NotALogin> {
        let login: Value = serde_json::from_slice(login).map_err(|_| NotALogin)?;
        Ok(match login["r"].as_str() {
            Some("key") => Stored::OtherKind,
            Some(token) if !token.is_empty() => Stored::RefreshToken(Secret::new(token)),
            _ => Stored::LoggedOut,
        })
    }

    fn is_fresh(&self, _: &[u8], _: &Reason, _: SystemTime) -> bool {
        false
    }

    fn answer(&self, answer: &Answer) -> Result<AnswerEdits, Unread> {
        let raw = std::str::from_utf8(answer.raw()).map_err(|_| Unread::NoToken)?;
        let mut edits = vec![Edit::new(&["a"], "access")];
        if raw.is_empty() {
            return Err(Unread::NoToken);
        }
        let refresh_token = (raw != "-").then(|| Secret::new(raw));
        if refresh_token.is_some() {
            edits.push(Edit::new(&["r"], raw));
        }
        Ok(AnswerEdits { edits, refresh_token })
    }
}

fn verdict(found: Result<&str, ReadError>, answer: &str, image: Option<[&str; 2]>) -> Verdict {
    let answers = [Answer::whole(SystemTime::UNIX_EPOCH, answer.as_bytes())];
    let image = image
        .map(|[old, new]| Image { old: old.as_bytes().to_vec().into(), new: new.as_bytes().to_vec().into() });
    decide(&Format, found.map(text), TokenHash::of(&Secret::new("sent")), &answers, image.as_ref())
}

fn text(text: &str) -> LoginText {
    LoginText::new(text.as_bytes().to_vec())
}

fn write(old: &str, new: &str) -> Verdict {
    Verdict::Write { old: text(old), new: text(new) }
}

#[test]
fn as_the_specification_has_it() {
    let written = r#"{"r":"new","a":"access"}"#;
    assert_eq!(
        verdict(Ok(r#"{"r":"sent","a":"x"}"#), "new", None),
        write(r#"{"r":"sent","a":"x"}"#, written)
    );
    for empty in [r#"{"r":"","a":""}"#, r#"{"r":null,"a":""}"#] {
        assert_eq!(verdict(Ok(empty), "new", None), write(empty, written));
    }
    assert_eq!(verdict(Ok("{}"), "new", None), write("{}", r#"{"a":"access","r":"new"}"#));
    assert_eq!(
        verdict(Ok(r#"{"r":"new","a":"later"}"#), "new", None),
        Verdict::Written(text(r#"{"r":"new","a":"later"}"#))
    );
    let aside = Verdict::SetAside;
    assert_eq!(verdict(Ok(r#"{"r":"other"}"#), "new", None), aside(SetAsideReason::OtherLogin));
    assert_eq!(verdict(Ok(r#"{"r":"other"}"#), "-", None), aside(SetAsideReason::OtherLogin));
    assert_eq!(verdict(Ok(r#"{"r":"key"}"#), "key", None), aside(SetAsideReason::OtherLogin));
    assert_eq!(verdict(Err(ReadError::Missing), "new", None), aside(SetAsideReason::NoLogin));
    assert_eq!(verdict(Ok(r#"{"r":"sent"}"#), "", None), aside(SetAsideReason::Unread(Unread::NoToken)));
    assert_eq!(verdict(Ok("[]"), "new", None), aside(SetAsideReason::OtherLogin));
    for error in [ReadError::NoPermission, ReadError::Empty, ReadError::NotText, ReadError::TooLarge] {
        assert_eq!(verdict(Err(error), "new", None), Verdict::Wait(Unclear::Read(error)));
    }
    assert_eq!(verdict(Ok("{"), "new", None), Verdict::Wait(Unclear::NotALogin));
}

#[test]
fn an_answer_that_keeps_the_refresh_token() {
    let old = r#"{"r":"sent","a":"x"}"#;
    let new = r#"{"r":"sent","a":"access"}"#;
    for answer in ["-", "sent"] {
        assert_eq!(verdict(Ok(old), answer, None), write(old, new));
        assert_eq!(verdict(Ok(new), answer, None), Verdict::Written(text(new)));
    }
}

#[test]
fn a_torn_file_is_mended_and_no_other() {
    let (old, new) = (r#"{"r":"sent","a":"x"}"#, r#"{"r":"new","a":"access"}"#);
    let image = Some([old, new]);
    assert_eq!(verdict(Ok(old), "new", image), write(old, new));
    assert_eq!(verdict(Ok(new), "new", image), Verdict::Written(text(new)));
    let torn = r#"{"r":"new""a":"x"}"#;
    assert_eq!(verdict(Ok(torn), "new", image), Verdict::Wait(Unclear::NotALogin), "too short for one");
    // This parses, and holds a token that nobody issued.
    let mixed = r#"{"r":"newt","a":"x"}"#;
    assert_eq!(
        verdict(Ok(mixed), "new", Some([r#"{"r":"sent","a":"x"}"#, r#"{"r":"newx","a":"x"}"#])),
        write(mixed, r#"{"r":"newx","a":"x"}"#)
    );
    assert_eq!(verdict(Ok(r#"{"r":"other"}"#), "new", image), Verdict::SetAside(SetAsideReason::OtherLogin));
    assert_eq!(verdict(Err(ReadError::Missing), "new", image), Verdict::SetAside(SetAsideReason::NoLogin));
}

proptest! {
    /// Whatever pages of a rewrite were on the disk, and wherever its length had come to.
    #[test]
    fn every_mixture_is_mended(old in "[a-z]{1,30}", new in "[a-z]{1,30}", pages in any::<u64>(), cut in 0..31_usize) {
        let old = format!(r#"{{"r":"sent","a":"{old}"}}"#);
        let new = format!(r#"{{"r":"new","a":"{new}"}}"#);
        let (least, most) = (old.len().min(new.len()), old.len().max(new.len()));
        let length = (least + cut).min(most);
        let mixed: Vec<u8> = (0..length).map(|at| {
            let (first, second) = if pages >> (at / 4) & 1 == 0 { (&old, &new) } else { (&new, &old) };
            first.as_bytes().get(at).or(second.as_bytes().get(at)).copied().unwrap()
        }).collect();
        let mixed = String::from_utf8(mixed).unwrap();
        match verdict(Ok(&mixed), "new", Some([&old, &new])) {
            Verdict::Write { old: was, new: becomes } => {
                prop_assert_eq!(was, text(&mixed));
                if mixed != old { prop_assert_eq!(becomes, text(&new)); }
            }
            Verdict::Written(found) => prop_assert_eq!(found, text(&new)),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
