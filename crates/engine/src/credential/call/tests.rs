use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use trunkline_core::refresh::CALL_LASTS;

use super::*;

/// How a try ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The connection could not be made, after so many milliseconds.
    NotSent(u64),
    /// It was lost after the request was sent.
    Lost(u64),
    /// Nothing came for as long as it is waited for.
    Silence,
    Answer(u64),
}

/// When a try began and ended, and how.
type Try = (Duration, Duration, Ending);

/// A token endpoint that does as it is told, and notes when it was called.
struct Scripted {
    endings: std::vec::IntoIter<Ending>,
    begun: Instant,
    tries: Vec<Try>,
    /// After how many tries the locks are lost.
    locks_last: usize,
}

impl Calls for Scripted {
    type Answer = ();

    async fn try_once(&mut self) -> Result<(), OwnError> {
        let ending = self.endings.next().expect("no more tries than there can be");
        let from = self.begun.elapsed();
        let (wait, result) = match ending {
            Ending::NotSent(wait) => (Duration::from_millis(wait), Err(OwnError::NotSent("refused".into()))),
            Ending::Lost(wait) => (Duration::from_millis(wait), Err(OwnError::NoAnswer("reset".into()))),
            Ending::Silence => (CALL_LASTS, Err(OwnError::NoAnswer("silence".into()))),
            Ending::Answer(wait) => (Duration::from_millis(wait), Ok(())),
        };
        tokio::time::sleep(wait).await;
        self.tries.push((from, self.begun.elapsed(), ending));
        result
    }

    async fn may_repeat(&mut self) -> Result<(), String> {
        if self.tries.len() < self.locks_last { Ok(()) } else { Err("taken over".to_owned()) }
    }
}

fn run(endings: Vec<Ending>, locks_last: usize) -> (Result<Option<()>, String>, Vec<Try>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut scripted =
            Scripted { endings: endings.into_iter(), begun: Instant::now(), tries: Vec::new(), locks_last };
        let called = call(&mut scripted).await;
        (called, scripted.tries)
    })
}

#[test]
fn what_was_not_sent_is_tried_three_times() {
    let (called, tries) = run(vec![Ending::NotSent(0); 3], usize::MAX);
    assert_eq!(called, Ok(None));
    let begun: Vec<_> = tries.iter().map(|(from, ..)| from.as_millis()).collect();
    assert_eq!(begun, [0, 200, 600]);
}

#[test]
fn what_was_sent_is_waited_for_and_repeated_once_after_ten_seconds() {
    let (called, tries) = run(vec![Ending::Silence, Ending::Answer(1)], usize::MAX);
    assert_eq!(called, Ok(Some(())));
    assert_eq!(tries[1].0, Duration::from_secs(70));
    let (called, tries) = run(vec![Ending::Lost(5), Ending::Silence], usize::MAX);
    assert_eq!((called, tries.len()), (Ok(None), 2));
}

#[test]
fn it_is_not_repeated_when_the_locks_are_lost() {
    let (called, tries) = run(vec![Ending::Lost(5), Ending::Answer(1)], 1);
    assert_eq!((called, tries.len()), (Err("taken over".to_owned()), 1));
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        4 => (0_u64..12_000).prop_map(Ending::NotSent),
        2 => (0_u64..60_000).prop_map(Ending::Lost),
        1 => Just(Ending::Silence),
        1 => (0_u64..60_000).prop_map(Ending::Answer),
    ]
}

proptest! {
    #[test]
    fn tries_are_bounded_and_spaced(endings in proptest::collection::vec(ending(), 8), locks_last in 1_usize..10) {
        let (called, tries) = run(endings, locks_last);
        let is_sent = |ending: &Ending| matches!(ending, Ending::Lost(_) | Ending::Silence);
        prop_assert!(tries.len() <= 6, "two before a byte, the call, and the repetition with its three: {tries:?}");
        prop_assert!(tries.iter().filter(|(.., ending)| is_sent(ending)).count() <= 2);
        for ((_, ended, ending), (begun, ..)) in tries.iter().zip(tries.iter().skip(1)) {
            let pause = begun.saturating_sub(*ended);
            if is_sent(ending) {
                prop_assert_eq!(pause, Duration::from_secs(10));
            } else {
                prop_assert!(matches!(pause.as_millis(), 200 | 400), "{:?}", pause);
            }
        }
        let last = tries.last().unwrap().2;
        match called {
            Ok(Some(())) => prop_assert!(matches!(last, Ending::Answer(_))),
            Ok(None) => prop_assert!(!matches!(last, Ending::Answer(_))),
            Err(_) => prop_assert_eq!(tries.len(), locks_last),
        }
    }
}
