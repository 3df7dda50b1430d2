//! The keychain of macOS, by way of its program `security`.
//!
//! The Claude client uses the same program. That matters: an item tells programs apart, and one that was written by another
//! program through the system's library is no longer given to the client without a dialogue each time. It also can be ended
//! when it waits for somebody, which a call into the library cannot.
//!
//! A secret is never an argument, where other programs and their logs would see it: it is a line on standard input. What
//! the program says on standard error is not read, since that may repeat the line.

mod line;
mod process;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use self::line::{MAX_LINE, add_line, grows_by, text_of};
use self::process::{RunProblem, run};
use super::{Keychain, KeychainItem, KeychainProblem};
use crate::read::MAX_LOGIN_FILE;
use crate::text::LoginText;

/// How long one call may take: a moment, unless a dialogue waits for somebody. No longer than a lock is waited for.
const LIMIT: Duration = Duration::from_secs(10);

/// Longest output that is taken in: a login in hexadecimal digits, `0x` and the end of its line.
const MAX_OUTPUT: u64 = 2 * MAX_LOGIN_FILE + 3;

/// `errSecItemNotFound`, -25300. Exit statuses are the low byte of an `OSStatus`.
const NOT_FOUND: i32 = 44;
/// `errSecNoSuchKeychain`, -25294, and `errSecNoDefaultKeychain`, -25307: a user without any keychain.
const NO_KEYCHAIN: [i32; 2] = [50, 37];
/// `errSecInteractionNotAllowed`, -25308: locked, and there is no screen to ask on.
const NO_INTERACTION: i32 = 36;
/// `errSecAuthFailed`, -25293, and `errSecUserCanceled`, -128.
const REFUSED: [i32; 2] = [51, 128];

/// The keychain of macOS.
#[derive(Debug, Clone)]
pub struct SecurityTool {
    program: PathBuf,
    limit: Duration,
}

impl SecurityTool {
    /// The system's own: the user's keychain.
    #[cfg(target_os = "macos")]
    pub fn system() -> Self {
        Self::at(PathBuf::from("/usr/bin/security"), LIMIT)
    }

    /// A program at another place that takes the same arguments, with another limit for one call: for tests.
    #[doc(hidden)]
    pub fn at(program: PathBuf, limit: Duration) -> Self {
        Self { program, limit: limit.min(LIMIT) }
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<process::Ran, KeychainProblem> {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        run(&mut command, input, MAX_OUTPUT, self.limit).map_err(|problem| match problem {
            RunProblem::TimedOut => KeychainProblem::TimedOut,
            RunProblem::TooLarge => KeychainProblem::TooLarge,
            RunProblem::Io(error) => KeychainProblem::Unreachable(error.kind()),
        })
    }
}

impl Keychain for SecurityTool {
    fn read(&self, item: &KeychainItem) -> Result<Option<LoginText>, KeychainProblem> {
        let arguments = ["find-generic-password", "-a", item.account(), "-s", item.service(), "-w"];
        let ran = self.run(&arguments, b"")?;
        match ran.code {
            0 => Ok(Some(text_of(&ran.output))),
            NOT_FOUND => Ok(None),
            code if NO_KEYCHAIN.contains(&code) => Ok(None),
            code => Err(problem_of(code)),
        }
    }

    fn write(&self, item: &KeychainItem, text: &LoginText) -> Result<(), KeychainProblem> {
        let line = add_line(item, text.as_bytes());
        if line.len() > MAX_LINE {
            return Err(KeychainProblem::NoRoom);
        }
        match self.run(&["-i"], &line)?.code {
            0 => Ok(()),
            code => Err(problem_of(code)),
        }
    }

    fn has_room(&self, item: &KeychainItem, text: &LoginText, spare: usize) -> bool {
        let more = spare.saturating_mul(grows_by(text.as_bytes()));
        add_line(item, text.as_bytes()).len().saturating_add(more) <= MAX_LINE
    }
}

fn problem_of(code: i32) -> KeychainProblem {
    match code {
        NO_INTERACTION => KeychainProblem::Locked,
        code if REFUSED.contains(&code) => KeychainProblem::Denied,
        code => KeychainProblem::Failed(code),
    }
}
