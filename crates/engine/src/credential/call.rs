//! The tries of one token call (credentials.md, *Refreshing*, step 5): core says what follows from each, and this waits.

#[cfg(test)]
mod tests;

use trunkline_core::refresh::{NextTry, TokenCall};

use crate::own_request::OwnError;

/// What is called. Each try ends by itself, and is not abandoned.
pub(super) trait Calls {
    /// An answer, whatever it says.
    type Answer;

    /// Makes the call once.
    fn try_once(&mut self) -> impl Future<Output = Result<Self::Answer, OwnError>> + Send;

    /// Asked before each repetition. An error, which is for the log, means that it must not be made.
    fn may_repeat(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Calls until there is an answer, or nothing is left to try (`None`).
pub(super) async fn call<C: Calls + Send>(calls: &mut C) -> Result<Option<C::Answer>, String> {
    let mut call = TokenCall::new();
    loop {
        let next = match calls.try_once().await {
            Ok(answer) => return Ok(Some(answer)),
            Err(OwnError::NotSent(_)) => call.on_not_sent(),
            Err(OwnError::NoAnswer(_)) => call.on_no_answer(),
        };
        let NextTry::After(wait) = next else { return Ok(None) };
        tokio::time::sleep(wait).await;
        calls.may_repeat().await?;
    }
}
