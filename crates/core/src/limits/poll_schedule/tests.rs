use super::*;
use proptest::prelude::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
}

/// A schedule whose first poll was answered at 0, without jitter.
fn answered() -> PollSchedule {
    let mut polls = PollSchedule::new(INTERVAL);
    assert!(polls.begin(at(0)));
    polls.end(PollResult::Answered { is_fresh: true }, 0.5, at(0));
    polls
}

fn fail(polls: &mut PollSchedule, result: PollResult, seconds: u64) -> Followup {
    assert_eq!(polls.due(at(seconds)), Due::Now, "at {seconds}");
    assert!(polls.begin(at(seconds)));
    polls.end(result, 0.5, at(seconds))
}

#[test]
fn at_start_then_when_nothing_fresh_came() {
    let mut polls = PollSchedule::new(INTERVAL);
    assert_eq!(polls.due(at(0)), Due::Now);
    let mut polls = {
        polls.begin(at(0));
        polls.end(PollResult::Answered { is_fresh: false }, 0.0, at(0));
        polls
    };
    assert_eq!(polls.due(at(1)), Due::At(at(3240)));
    polls.on_fresh_data(1.0, at(100));
    assert_eq!(polls.due(at(3240)), Due::At(at(100 + 3960)));
    assert_eq!(polls.due(at(100 + 3960)), Due::Now);
    for hostile in [f64::NAN, f64::INFINITY, -5.0, 7.0] {
        polls.on_fresh_data(hostile, at(0));
        let Due::At(due) = polls.due(at(0)) else { panic!("due at once") };
        assert!((at(3240)..=at(3960)).contains(&due));
    }
}

#[test]
fn one_at_a_time_and_a_lost_one_is_given_up() {
    let mut polls = PollSchedule::new(INTERVAL);
    assert!(polls.begin(at(0)));
    assert!(!polls.begin(at(1)));
    polls.force();
    assert_eq!(polls.due(at(1)), Due::At(at(60)));
    assert_eq!(polls.due(at(60)), Due::Now);
    assert!(polls.begin(at(60)));
    assert_eq!(polls.begun_at(), Some(at(60)));
}

#[test]
fn at_the_reset_of_a_credential_out_of_use() {
    let mut polls = answered();
    polls.on_out_of_use(Some(at(600)), at(1));
    assert_eq!(polls.due(at(2)), Due::At(at(600)));
    // Fresh data does not take its place, and neither does being in use again by the clock.
    polls.on_fresh_data(0.5, at(500));
    polls.on_out_of_use(None, at(600));
    assert_eq!(polls.due(at(700)), Due::Now);
    polls.begin(at(700));
    polls.end(PollResult::Answered { is_fresh: true }, 0.5, at(700));
    assert_eq!(polls.due(at(701)), Due::At(at(700 + 3600)));
    // Back in use before the reset: no poll then.
    polls.on_out_of_use(Some(at(2000)), at(800));
    polls.on_out_of_use(None, at(900));
    assert_eq!(polls.due(at(2000)), Due::At(at(700 + 3600)));
}

#[test]
fn a_rate_limit_is_waited_out_and_is_no_failure() {
    let mut polls = answered();
    let limited = |retry_after: Option<u64>| PollResult::RateLimited {
        retry_after: retry_after.map(Duration::from_secs),
    };
    let said = fail(&mut polls, limited(None), 3600);
    assert_eq!(said.log, Some(PollState::RateLimited));
    assert_eq!((polls.consecutive_failures(), polls.due(at(3601))), (0, Due::At(at(3660))));
    assert_eq!(fail(&mut polls, limited(Some(3000)), 3660).log, None);
    assert_eq!(polls.due(at(3661)), Due::At(at(6660)));
    // Not even a forced poll goes before.
    polls.force();
    assert_eq!(polls.due(at(3661)), Due::At(at(6660)));
    fail(&mut polls, limited(Some(u64::MAX)), 6660);
    assert_eq!(polls.due(at(6661)), Due::At(at(6660) + MAX_RETRY_AFTER));
    // Fresh data from elsewhere makes the poll needless.
    polls.on_fresh_data(0.5, at(28_000));
    assert_eq!(polls.due(at(6660 + 6 * 3600)), Due::At(at(28_000 + 3600)));
}

#[test]
fn failures_are_retried_and_logged_once() {
    let mut polls = answered();
    let mut when = 3600;
    for (round, wait) in [60, 120, 240, 300, 300].into_iter().enumerate() {
        let said = fail(&mut polls, PollResult::Failed, when);
        assert_eq!(said.log, (round == 0).then_some(PollState::Failing));
        assert!(!said.recovers_token);
        assert_eq!(polls.due(at(when + 1)), Due::At(at(when + wait)));
        when += wait;
    }
    assert_eq!(polls.consecutive_failures(), 5);
    polls.force();
    assert_eq!(polls.due(at(when - 10)), Due::Now);
    let said = fail(&mut polls, PollResult::Answered { is_fresh: true }, when);
    assert_eq!((said.log, polls.consecutive_failures()), (Some(PollState::Fine), 0));
}

#[test]
fn a_refused_token_is_recovered_once() {
    let mut polls = answered();
    let said = fail(&mut polls, PollResult::TokenRefused, 3600);
    assert_eq!(said, Followup { log: Some(PollState::TokenRefused), recovers_token: true });
    assert_eq!(polls.consecutive_failures(), 0);
    let said = fail(&mut polls, PollResult::TokenRefused, 3660);
    assert_eq!(said, Followup { log: None, recovers_token: false });
    assert_eq!(polls.consecutive_failures(), 1);
    polls.on_login_change();
    assert!(fail(&mut polls, PollResult::TokenRefused, 3661).recovers_token);
}

#[test]
fn a_clock_set_back_polls_early() {
    let mut polls = answered();
    polls.on_fresh_data(0.5, at(1_000_000));
    assert_eq!(polls.due(at(10)), Due::Now);
    polls.begin(at(1_000_000));
    polls.end(PollResult::Failed, 0.5, at(1_000_000));
    assert_eq!(polls.due(at(10)), Due::Now);
    polls.begin(at(1_000_000));
    assert!(polls.begin(at(10)));
}

#[derive(Debug, Clone)]
enum Step {
    Begin,
    End(PollResult, f64),
    Fresh(f64),
    OutOfUse(Option<u64>),
    Force,
    Login,
}

fn step() -> impl Strategy<Value = Step> {
    let result = prop_oneof![
        any::<bool>().prop_map(|is_fresh| PollResult::Answered { is_fresh }),
        prop::option::of(any::<u64>())
            .prop_map(|seconds| PollResult::RateLimited { retry_after: seconds.map(Duration::from_secs) }),
        Just(PollResult::TokenRefused),
        Just(PollResult::Failed),
    ];
    prop_oneof![
        Just(Step::Begin),
        (result, any::<f64>()).prop_map(|(result, jitter)| Step::End(result, jitter)),
        any::<f64>().prop_map(Step::Fresh),
        prop::option::of(0_u64..100_000_000).prop_map(Step::OutOfUse),
        Just(Step::Force),
        Just(Step::Login),
    ]
}

proptest! {
    /// Whatever happens, the next poll is never farther away than the longest wait, and it can begin when due.
    #[test]
    fn there_is_always_a_way_out(steps in prop::collection::vec((step(), 0_u64..100_000), 0..30)) {
        let mut polls = PollSchedule::new(INTERVAL);
        for (step, when) in steps {
            let now = at(when);
            match step {
                Step::Begin => { polls.begin(now); }
                Step::End(result, jitter) => { polls.end(result, jitter, now); }
                Step::Fresh(jitter) => polls.on_fresh_data(jitter, now),
                Step::OutOfUse(until) => polls.on_out_of_use(until.map(at), now),
                Step::Force => polls.force(),
                Step::Login => polls.on_login_change(),
            }
            match polls.due(now) {
                Due::Now => prop_assert!(polls.clone().begin(now)),
                Due::At(due) => {
                    prop_assert!(due > now && due <= now + MAX_RETRY_AFTER);
                    prop_assert!(polls.clone().begin(due) || polls.begun_at().is_some());
                }
            }
        }
    }
}
