//! What decides on the answers of an upstream.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::request::{ReceivedRequest, RequestHead};
use super::script::Script;
use crate::log::lock;
use crate::signal::Signal;

/// Decides what an upstream answers. A closure `Fn(&ReceivedRequest) -> Script` is one.
pub trait Behaviour: Send + Sync + 'static {
    /// Asked when a head is in, before anything of the body is read.
    fn on_head(&self, head: &RequestHead) -> Intake {
        let _ = head;
        Intake::whole()
    }

    /// Whether polls of an account's usage are answered and recorded like other requests. Otherwise they are answered with
    /// nothing, and nobody notices: a test of something else is not to depend on when they come.
    fn takes_polls(&self) -> bool {
        false
    }

    /// Asked when the body is complete, unless [`Behaviour::on_head`] had an early answer.
    fn respond(&self, request: &ReceivedRequest) -> Script;
}

impl<F> Behaviour for F
where
    F: Fn(&ReceivedRequest) -> Script + Send + Sync + 'static,
{
    fn respond(&self, request: &ReceivedRequest) -> Script {
        self(request)
    }
}

impl<B: Behaviour + ?Sized> Behaviour for Arc<B> {
    fn on_head(&self, head: &RequestHead) -> Intake {
        (**self).on_head(head)
    }

    fn takes_polls(&self) -> bool {
        (**self).takes_polls()
    }

    fn respond(&self, request: &ReceivedRequest) -> Script {
        (**self).respond(request)
    }
}

/// A behaviour that is asked for polls too: for one that passes on to an API what it does not answer itself.
#[derive(Clone, Copy, Debug)]
pub struct TakesPolls<B>(pub B);

impl<B: Behaviour> Behaviour for TakesPolls<B> {
    fn on_head(&self, head: &RequestHead) -> Intake {
        self.0.on_head(head)
    }

    fn takes_polls(&self) -> bool {
        true
    }

    fn respond(&self, request: &ReceivedRequest) -> Script {
        self.0.respond(request)
    }
}

/// How a request's body is taken in.
#[derive(Clone, Debug)]
pub struct Intake {
    pub(super) early: Option<Script>,
    pub(super) gate: Option<Signal>,
    pub(super) hold: Option<(usize, Signal)>,
    pub(super) says_continue: bool,
}

impl Intake {
    /// The whole body is read at once, then [`Behaviour::respond`] is asked.
    pub fn whole() -> Self {
        Self { early: None, gate: None, hold: None, says_continue: true }
    }

    /// `script` starts now, while the body is being read. It sends no `100 Continue` of its own accord.
    pub fn early(script: Script) -> Self {
        Self { early: Some(script), ..Self::whole() }
    }

    /// Nothing of the body is read, and no `100 Continue` sent, until `signal` is set.
    #[must_use]
    pub fn gate(mut self, signal: &Signal) -> Self {
        self.gate = Some(signal.clone());
        self
    }

    /// When at least `count` bytes have been read, no more are until `signal` is set.
    #[must_use]
    pub fn hold_after(mut self, count: usize, signal: &Signal) -> Self {
        self.hold = Some((count, signal.clone()));
        self
    }

    /// `Expect: 100-continue` is not answered.
    #[must_use]
    pub fn without_continue(mut self) -> Self {
        self.says_continue = false;
        self
    }
}

/// Answers every request before its body has been read, by its head alone.
pub fn on_head(respond: impl Fn(&RequestHead) -> Intake + Send + Sync + 'static) -> impl Behaviour {
    OnHead(respond)
}

struct OnHead<F>(F);

impl<F: Fn(&RequestHead) -> Intake + Send + Sync + 'static> Behaviour for OnHead<F> {
    fn on_head(&self, head: &RequestHead) -> Intake {
        (self.0)(head)
    }

    fn respond(&self, _: &ReceivedRequest) -> Script {
        exhausted()
    }
}

/// Answers in the order of a queue, which can be filled while the upstream runs; clones share it.
#[derive(Clone, Default)]
pub struct Canned {
    queue: Arc<Mutex<VecDeque<Script>>>,
    otherwise: Option<Script>,
}

impl Canned {
    /// These, one a request; then 500 until more are pushed.
    pub fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self { queue: Arc::new(Mutex::new(scripts.into_iter().collect())), otherwise: None }
    }

    /// Always the same.
    pub fn always(script: Script) -> Self {
        Self::default().otherwise(script)
    }

    /// What to answer while the queue is empty.
    #[must_use]
    pub fn otherwise(mut self, script: Script) -> Self {
        self.otherwise = Some(script);
        self
    }

    /// Appends an answer.
    pub fn push(&self, script: Script) {
        lock(&self.queue).push_back(script);
    }

    /// How many answers are left.
    pub fn left(&self) -> usize {
        lock(&self.queue).len()
    }
}

impl Behaviour for Canned {
    fn respond(&self, _: &ReceivedRequest) -> Script {
        let next = lock(&self.queue).pop_front();
        next.or_else(|| self.otherwise.clone()).unwrap_or_else(exhausted)
    }
}

impl fmt::Debug for Canned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canned").field("left", &self.left()).finish_non_exhaustive()
    }
}

fn exhausted() -> Script {
    Script::text(500, "the script of this upstream has no answer for this request")
}
