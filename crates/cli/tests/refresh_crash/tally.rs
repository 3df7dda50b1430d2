//! What the rounds came to, and running many of them at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Rounds at a time. They wait for the disk more than for a processor.
const AT_ONCE: usize = 4;

/// How a round went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Round {
    /// The process came to the end of the refresh before it was to die.
    Survived,
    /// It died, and the login is good.
    Kept,
    /// It died between the provider's answer and the journal: what was issued then is lost to anybody. What the journal held.
    NeverCame(&'static str),
    /// A login was lost, or something was left behind.
    Lost(String),
}

/// All rounds of a story.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) survived: usize,
    pub(crate) kept: usize,
    /// By what the journal held.
    never_came: BTreeMap<&'static str, usize>,
    lost: Vec<String>,
}

impl Tally {
    /// Runs the rounds, a few at a time.
    pub(crate) async fn of<F>(rounds: impl IntoIterator<Item = F>) -> Self
    where
        F: Future<Output = Round> + Send + 'static,
    {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = JoinSet::new();
        for round in rounds {
            let permits = Arc::clone(&permits);
            running.spawn(async move {
                let _permit = permits.acquire_owned().await.unwrap();
                round.await
            });
        }
        let mut tally = Self::default();
        while let Some(round) = running.join_next().await {
            match round.unwrap() {
                Round::Survived => tally.survived += 1,
                Round::Kept => tally.kept += 1,
                Round::NeverCame(held) => *tally.never_came.entry(held).or_default() += 1,
                Round::Lost(why) => tally.lost.push(why),
            }
        }
        tally
    }

    /// Tells them, and fails if one was lost.
    pub(crate) fn report(&self, what: &str) {
        let never_came: usize = self.never_came.values().sum();
        let deaths = self.kept + never_came + self.lost.len();
        println!(
            "{what}: {deaths} deaths, {} logins lost ({never_came} died before the answer was safe, their journals holding {:?}; {} did not die)",
            self.lost.len(),
            self.never_came,
            self.survived
        );
        assert!(self.lost.is_empty(), "{what}: {:#?}", self.lost);
    }
}
