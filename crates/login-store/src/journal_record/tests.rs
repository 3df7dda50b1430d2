use proptest::prelude::*;

use super::*;

fn times() -> impl Strategy<Value = SystemTime> {
    (0..4_000_000_000_u64, 0..1_000_000_000_u32)
        .prop_map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}

fn marks() -> impl Strategy<Value = LockMark> {
    ("[a-zé./]{0,40}", any::<u64>(), any::<u64>(), proptest::option::of(times()), times()).prop_map(
        |(path, device, inode, birth, modified)| LockMark {
            path: path.into(),
            identity: Identity { device, inode, birth, modified },
        },
    )
}

fn requests() -> impl Strategy<Value = Request> {
    (times(), any::<[u8; 32]>(), proptest::collection::vec(marks(), 0..5))
        .prop_map(|(at, sent, locks)| Request { at, sent: TokenHash(sent), locks })
}

type Try = (Option<LockMark>, Option<(Vec<u8>, Vec<u8>)>);

#[derive(Debug, Clone)]
struct Journal {
    request: Request,
    answers: Vec<Answer>,
    attempt: Option<Try>,
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn answers() -> impl Strategy<Value = Answer> {
    let ends = prop::sample::select(vec![AnswerEnd::Whole, AnswerEnd::Cut, AnswerEnd::TooLong]);
    (times(), bytes(1_500), "[a-z, ]{0,8}", ends)
        .prop_map(|(received, raw, encoding, end)| Answer::new(received, &raw, &encoding, end))
}

fn journals() -> impl Strategy<Value = Journal> {
    let images = proptest::option::of((bytes(200), bytes(200)));
    let attempt = proptest::option::of((proptest::option::of(marks()), images));
    (requests(), proptest::collection::vec(answers(), 0..=MAX_ANSWERS), attempt)
        .prop_map(|(request, answers, attempt)| Journal { request, answers, attempt })
}

impl Journal {
    /// As the journal writes it: into a file of zeros, each record with its zeros behind it.
    fn write(&self) -> Vec<u8> {
        let mut file = vec![0; 8_192];
        let mut put = |at: usize, record: &[u8]| {
            file[at..at + record.len()].copy_from_slice(record);
            at + record.len() - HEAD
        };
        let mut end = put(0, &encode_request(&self.request));
        for answer in &self.answers {
            end = put(end, &encode_answer(answer));
        }
        if let (Some((lock, image)), false) = (&self.attempt, self.answers.is_empty()) {
            let image = image.as_ref().map(|(old, new)| [old.as_slice(), new.as_slice()]);
            put(end, &encode_try(lock.as_ref(), image));
        }
        file
    }

    /// Whether what was read is right: what matters is there, and what belongs to a try is right or missing.
    fn agrees(&self, read: &Contents) -> bool {
        let (lock, image) = match (self.answers.is_empty(), &self.attempt) {
            (false, Some((lock, image))) => (lock.clone(), image.clone()),
            _ => (None, None),
        };
        let image = image.map(|(old, new)| Image { old: old.into(), new: new.into() });
        read.request == self.request
            // Damage to the second costs that alone.
            && self.answers.starts_with(&read.answers)
            && (!read.answers.is_empty() || self.answers.is_empty())
            && (read.write_lock.is_none() || read.write_lock == lock)
            && (read.image.is_none() || read.image == image)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_written_is_read(journal in journals()) {
        let read = parse(&journal.write()).unwrap();
        prop_assert!(journal.agrees(&read));
        prop_assert_eq!(&read.answers, &journal.answers);
        let attempt = journal.attempt.filter(|_| !journal.answers.is_empty()).unwrap_or_default();
        prop_assert_eq!(read.write_lock.is_some(), attempt.0.is_some());
        prop_assert_eq!(read.image.is_some(), attempt.1.is_some());
    }

    #[test]
    fn one_that_is_cut_is_right_or_unreadable(journal in journals(), cut in any::<prop::sample::Index>()) {
        let whole = journal.write();
        // Most cuts fall where there is something.
        for end in [cut.index(whole.len()), cut.index(600)] {
            if let Ok(read) = parse(&whole[..end]) {
                prop_assert!(journal.agrees(&read), "cut at {end}");
            }
        }
    }

    #[test]
    fn one_with_flipped_bits_is_right_or_unreadable(
        journal in journals(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
    ) {
        let mut file = journal.write();
        let used = file.len() - file.iter().rev().take_while(|&&byte| byte == 0).count() + 2 * HEAD;
        for (at, bit) in flips {
            file[at.index(used.min(8_192))] ^= 1 << bit;
        }
        if let Ok(read) = parse(&file) {
            prop_assert!(journal.agrees(&read));
        }
    }

    #[test]
    fn a_record_cut_by_a_crash_takes_nothing_else_away(journal in journals(), kept in any::<prop::sample::Index>()) {
        let before = Journal { attempt: None, ..journal.clone() }.write();
        let after = journal.write();
        let kept = kept.index(after.len());
        let torn = [&after[..kept], &before[kept..]].concat();
        prop_assert!(journal.agrees(&parse(&torn).unwrap()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in bytes(300)) {
        prop_assert!(parse(&bytes).is_err());
    }
}

#[test]
fn every_single_cut_and_flip_of_one() {
    let journal = Journal {
        request: Request { at: SystemTime::UNIX_EPOCH, sent: TokenHash([7; 32]), locks: Vec::new() },
        answers: vec![Answer::whole(SystemTime::UNIX_EPOCH, b"{\"access_token\":\"a\"}")],
        attempt: None,
    };
    let file = journal.write();
    for end in 0..file.len() {
        assert!(parse(&file[..end]).map_or(true, |read| journal.agrees(&read)), "{end}");
    }
    for at in 0..400 * 8 {
        let mut file = file.clone();
        file[at / 8] ^= 1 << (at % 8);
        assert!(parse(&file).map_or(true, |read| journal.agrees(&read)), "{at}");
    }
}

#[test]
fn an_answer_is_kept_up_to_its_bound_and_found_again() {
    let at = SystemTime::UNIX_EPOCH;
    let long = Answer::new(at, &vec![7; MAX_ANSWER + 1], " br ", AnswerEnd::Whole);
    assert_eq!((long.raw().len(), long.encoding(), long.end()), (MAX_ANSWER, "br", AnswerEnd::TooLong));
    let odd = Answer::new(at, b"x", &"gz\nip".repeat(100), AnswerEnd::Cut);
    assert_eq!((odd.encoding().len(), odd.encoding().contains('\n')), (MAX_ENCODING, false));
    for answer in [Answer::whole(at, b"plain"), Answer::new(at, b"other", "gzip", AnswerEnd::Cut)] {
        let request = Request { at, sent: TokenHash([7; 32]), locks: Vec::new() };
        let file = Journal { request, answers: vec![answer.clone()], attempt: None }.write();
        let (before, length) = place_of_answer(&file).unwrap();
        assert_eq!(&file[before..before + length], answer.raw());
    }
}

#[test]
fn debug_shows_no_token() {
    let journal = Journal {
        request: Request { at: SystemTime::UNIX_EPOCH, sent: TokenHash([7; 32]), locks: Vec::new() },
        answers: vec![Answer::new(SystemTime::UNIX_EPOCH, b"canary", "gzip", AnswerEnd::Cut)],
        attempt: Some((None, Some((b"canary".to_vec(), b"canary".to_vec())))),
    };
    let shown = format!("{:?}", parse(&journal.write()).unwrap());
    assert!(!shown.contains("canary") && !shown.contains("99, 97") && !shown.contains("7, 7"), "{shown}");
}
