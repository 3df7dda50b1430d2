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
    answer: Option<(SystemTime, Vec<u8>)>,
    attempt: Option<Try>,
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn journals() -> impl Strategy<Value = Journal> {
    let images = proptest::option::of((bytes(200), bytes(200)));
    let attempt = proptest::option::of((proptest::option::of(marks()), images));
    (requests(), proptest::option::of((times(), bytes(2_000))), attempt)
        .prop_map(|(request, answer, attempt)| Journal { request, answer, attempt })
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
        if let Some((received, raw)) = &self.answer {
            end = put(end, &encode_answer(*received, raw));
            if let Some((lock, image)) = &self.attempt {
                let image = image.as_ref().map(|(old, new)| [old.as_slice(), new.as_slice()]);
                put(end, &encode_try(lock.as_ref(), image));
            }
        }
        file
    }

    /// Whether what was read is right: what matters is there, and what belongs to a try is right or missing.
    fn agrees(&self, read: &Contents) -> bool {
        let answer = self
            .answer
            .as_ref()
            .map(|(received, raw)| Answer { received: *received, raw: raw.clone().into() });
        let (lock, image) = match (&self.answer, &self.attempt) {
            (Some(_), Some((lock, image))) => (lock.clone(), image.clone()),
            _ => (None, None),
        };
        let image = image.map(|(old, new)| Image { old: old.into(), new: new.into() });
        read.request == self.request
            && read.answer == answer
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
        let attempt = journal.answer.and(journal.attempt).unwrap_or_default();
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
        answer: Some((SystemTime::UNIX_EPOCH, b"{\"access_token\":\"a\"}".to_vec())),
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
fn debug_shows_no_token() {
    let journal = Journal {
        request: Request { at: SystemTime::UNIX_EPOCH, sent: TokenHash([7; 32]), locks: Vec::new() },
        answer: Some((SystemTime::UNIX_EPOCH, b"canary".to_vec())),
        attempt: Some((None, Some((b"canary".to_vec(), b"canary".to_vec())))),
    };
    let shown = format!("{:?}", parse(&journal.write()).unwrap());
    assert!(!shown.contains("canary") && !shown.contains("99, 97") && !shown.contains("7, 7"), "{shown}");
}
