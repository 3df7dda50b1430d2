//! Which changes of a credential's state interrupt which of its requests. Spec: routing.md, *Interrupts*, and codex.md,
//! *WebSocket*.

use crate::selection::{Fact, Scope};

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No head of an answer is in: connecting, sending, waiting.
    AwaitingHead,
    /// The head is in, whether it has been passed on or not.
    Answering,
    /// A WebSocket between turns.
    IdleSocket,
    /// A WebSocket in a turn.
    Turn,
}

/// What a change of state does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// Nothing.
    Nothing,
    /// It is cancelled and tried elsewhere: [`crate::failure::after_interrupt`].
    TryElsewhere,
    /// The socket is closed now, with 1012.
    CloseSocket,
    /// The same at the end of the turn.
    CloseAfterTurn,
}

/// What a fact that has begun to hold does to a request in `phase`.
pub fn interrupt(fact: &Fact, phase: Phase) -> Interrupt {
    let is_for_all = match fact {
        Fact::Unavailable { .. } => true,
        // The provider is serving these requests, and a refresh ends soon.
        Fact::Refreshing | Fact::Throttled { .. } => false,
        Fact::Blocked { reason, .. } => !reason.spares_bound_sessions(),
        Fact::RateLimited { scope, .. } | Fact::Capped { scope, .. } => *scope == Scope::All,
    };
    let would_be_refused = matches!(fact, Fact::Unavailable { .. } | Fact::RateLimited { .. });
    match phase {
        Phase::AwaitingHead if is_for_all && would_be_refused => Interrupt::TryElsewhere,
        Phase::IdleSocket if is_for_all => Interrupt::CloseSocket,
        Phase::Turn if is_for_all => Interrupt::CloseAfterTurn,
        _ => Interrupt::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::availability::BlockReason;
    use crate::selection::{ModelFamily, Window};

    #[test]
    fn who_is_interrupted_by_what() {
        use Interrupt::{CloseAfterTurn, CloseSocket, Nothing, TryElsewhere};
        let family =
            Scope::ModelFamily(ModelFamily { name: "opus".to_owned(), models: vec!["*opus*".to_owned()] });
        let limited =
            |scope: &Scope| Fact::RateLimited { window: Window::Weekly, scope: scope.clone(), until: None };
        let capped =
            |scope: &Scope| Fact::Capped { window: Window::Weekly, scope: scope.clone(), until: None };
        let blocked = |reason| Fact::Blocked { reason, until: None };
        let sockets_end = [Nothing, Nothing, CloseSocket, CloseAfterTurn];
        let all_end = [TryElsewhere, Nothing, CloseSocket, CloseAfterTurn];
        for (fact, expected) in [
            (Fact::Unavailable { why: String::new() }, all_end),
            (limited(&Scope::All), all_end),
            (limited(&family), [Nothing; 4]),
            (capped(&Scope::All), sockets_end),
            (capped(&family), [Nothing; 4]),
            (Fact::Refreshing, [Nothing; 4]),
            (blocked(BlockReason::Connection), sockets_end),
            (blocked(BlockReason::UpstreamRejected), sockets_end),
            (blocked(BlockReason::Burst), [Nothing; 4]),
            (blocked(BlockReason::Overloaded), [Nothing; 4]),
        ] {
            let phases = [Phase::AwaitingHead, Phase::Answering, Phase::IdleSocket, Phase::Turn];
            assert_eq!(phases.map(|phase| interrupt(&fact, phase)), expected, "{fact}");
        }
    }
}
