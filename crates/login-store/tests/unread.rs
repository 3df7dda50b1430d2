//! A token endpoint that answers with success has spent the token that was sent, so no such answer is thrown away, whatever it
//! looks like: it is kept until a version reads it, or until the login is another.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::time::SystemTime;

use common::{Format, READS_REVERSED, Scene, Virtual, answer, begin, pending};
use trunkline_core::refresh::Unread;
use trunkline_login_store::{
    Answer, AnswerEnd, Begun, Committed, Finished, JournalState, Sent, SetAsideReason,
};

const UNREAD: &str = ".credentials.json.trunkline-refresh.unread";
const SUPERSEDED: &str = ".credentials.json.trunkline-refresh.superseded";

fn sent(scene: &Scene) -> Sent {
    pending(&scene.claude(), &Virtual::new()).sending().unwrap()
}

/// The provider's answer to `r0`, in a coding that this version does not know.
fn reversed(scene: &Scene) -> Answer {
    let raw: Vec<u8> = scene.call("r0").unwrap().into_iter().rev().collect();
    Answer::new(SystemTime::now(), &raw, "reversed", AnswerEnd::Whole)
}

fn cut(text: &str) -> Answer {
    Answer::new(SystemTime::now(), text.as_bytes(), "", AnswerEnd::Cut)
}

fn unread(scene: &Scene, answer: Answer) {
    let mut sent = sent(scene);
    sent.keep(answer).unwrap();
    assert!(sent.give_up(&Format).is_some());
}

fn finish(scene: &Scene) -> Vec<Finished> {
    scene.claude().finish(&Format, &Virtual::new())
}

#[test]
fn what_cannot_be_read_is_kept_and_told_at_every_start() {
    for (answer, why) in [
        (Answer::whole(SystemTime::now(), b"<html>"), Unread::NotAnObject),
        (Answer::whole(SystemTime::now(), b"{\"access_token\":7}"), Unread::NoToken),
        (cut("{\"acc"), Unread::Cut),
        (Answer::new(SystemTime::now(), b"\x1f\x8b", "gzip", AnswerEnd::Whole), Unread::Encoded),
        (Answer::new(SystemTime::now(), &vec![b' '; 2 << 20], "", AnswerEnd::Whole), Unread::Cut),
    ] {
        let scene = Scene::new();
        let mut sent = sent(&scene);
        sent.keep(answer.clone()).unwrap();
        assert_eq!(sent.give_up(&Format), Some(why));
        assert_eq!(scene.leftovers(), [UNREAD], "no lock and no journal is in anybody's way");
        for _ in 0..2 {
            assert!(matches!(finish(&scene).as_slice(), [Finished::Unread(told)] if *told == why));
        }
        // The bytes are there as they came, and can be taken out by hand.
        let inspection = scene.claude().inspect();
        let [found] = inspection.unread.as_slice() else { panic!("{inspection:?}") };
        let (_, [before, length]) = found.answer.unwrap();
        let file = fs::read(&found.path).unwrap();
        assert_eq!((&file[before..before + length], &*found.encoding), (answer.raw(), answer.encoding()));
        assert!(inspection.journals.is_empty() && inspection.set_aside.is_empty());
        // The login is refreshed again: an answer that came from somebody on the way has spent nothing.
        let mut told = Vec::new();
        let store = scene.claude();
        let reason = trunkline_login_store::Reason::Proactive;
        let report = &mut |finished: &Finished| told.push(matches!(finished, Finished::Unread(_)));
        assert!(matches!(store.begin(&Format, &reason, &Virtual::new(), report).unwrap(), Begun::Pending(_)));
        assert_eq!(told, [true]);
    }
}

#[test]
fn a_later_version_reads_it() {
    let scene = Scene::new();
    unread(&scene, reversed(&scene));
    assert_eq!(scene.tokens().0, "r0");
    assert!(matches!(finish(&scene).as_slice(), [Finished::Unread(Unread::Encoded)]));
    READS_REVERSED.set(true);
    assert!(matches!(finish(&scene).as_slice(), [Finished::Written(_)]));
    READS_REVERSED.set(false);
    assert_eq!((scene.tokens().0, scene.leftovers()), ("r1".to_owned(), Vec::new()));
}

#[test]
fn the_next_refresh_reads_it_first() {
    let scene = Scene::new();
    unread(&scene, reversed(&scene));
    READS_REVERSED.set(true);
    scene.log_in("r0", "a0");
    let begun = begin(&scene.claude(), &Virtual::new()).unwrap();
    READS_REVERSED.set(false);
    assert!(matches!(begun, Begun::Fresh(_)), "no spent token is sent: {begun:?}");
    assert_eq!(scene.tokens().0, "r1");
}

#[test]
fn a_process_that_dies_with_it_leaves_it_to_the_next() {
    let scene = Scene::new();
    let mut sent = sent(&scene);
    sent.keep(reversed(&scene)).unwrap();
    drop(sent);
    assert_eq!(scene.claude().inspect().journals[0].state, JournalState::Answered);
    assert!(matches!(finish(&scene).as_slice(), [Finished::Unread(Unread::Encoded)]));
    assert_eq!(scene.leftovers(), [UNREAD]);
}

#[test]
fn it_is_not_for_another_login() {
    for is_readable in [false, true] {
        let scene = Scene::new();
        unread(&scene, reversed(&scene));
        scene.log_in("r7", "a7");
        READS_REVERSED.set(is_readable);
        let finished = finish(&scene);
        READS_REVERSED.set(false);
        match finished.as_slice() {
            [] => assert!(!is_readable),
            [Finished::SetAside(SetAsideReason::OtherLogin)] => assert!(is_readable),
            other => panic!("{other:?}"),
        }
        assert_eq!((scene.tokens().0, scene.leftovers()), ("r7".to_owned(), vec![SUPERSEDED.to_owned()]));
        assert!(finish(&scene).is_empty(), "nothing more is told of it");
    }
}

#[test]
fn of_two_answers_the_last_that_can_be_read_counts() {
    let whole = |refresh, access| Answer::whole(SystemTime::now(), &answer(refresh, access));
    let torn = || Answer::whole(SystemTime::now(), b"<html>");
    for (first, second, expected) in [
        (cut("{\"acc"), whole("r2", "a2"), ("r2", "a2")),
        (cut("{\"access_token\":\"a1\",\"refresh_token\":\"r1\",\"exp"), torn(), ("r1", "a1")),
        // The old refresh token is all there is; the access token serves.
        (cut("{\"access_token\":\"a1\",\"refresh_tok"), torn(), ("r0", "a1")),
    ] {
        for dies in [false, true] {
            let scene = Scene::new();
            let mut sent = sent(&scene);
            sent.keep(first.clone()).unwrap();
            sent.keep(second.clone()).unwrap();
            let answered = sent.answered(&Format);
            if dies {
                drop(answered);
                assert!(matches!(finish(&scene).as_slice(), [Finished::Written(_)]));
            } else {
                let committed = answered.commit(&Format, &Virtual::new()).unwrap();
                assert!(matches!(committed, Committed::Written(_)));
            }
            let (refresh, access) = scene.tokens();
            assert_eq!((&*refresh, &*access), expected);
            assert!(scene.leftovers().is_empty(), "{:?}", scene.leftovers());
        }
    }
}

#[test]
fn as_many_are_kept_as_there_are_places() {
    let scene = Scene::new();
    for n in 0..11 {
        unread(&scene, Answer::whole(SystemTime::now(), format!("<html>{n}").as_bytes()));
    }
    let inspection = scene.claude().inspect();
    let texts: Vec<_> = inspection
        .unread
        .iter()
        .map(|found| {
            let (_, [before, length]) = found.answer.unwrap();
            let file = fs::read(&found.path).unwrap();
            String::from_utf8(file[before..before + length].to_vec()).unwrap()
        })
        .collect();
    // The first is the one that is likeliest to hold a token, so it stays.
    let expected: Vec<_> = (0..8).chain([10]).map(|n| format!("<html>{n}")).collect();
    assert_eq!(texts, expected);
}
