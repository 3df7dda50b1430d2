//! Running a program to its end, for so long and with so much output at most.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use zeroize::Zeroizing;

/// How often it is looked whether a program has ended whose output has.
const LOOK: Duration = Duration::from_millis(2);

/// How long the end of a program that was killed is waited for.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Room for output to begin with.
const FIRST_ROOM: usize = 8 * 1024;

/// What came of a run.
pub(super) struct Ran {
    /// The exit status; of a program that was killed, -1.
    pub(super) code: i32,
    pub(super) output: Zeroizing<Vec<u8>>,
}

/// Why a program did not run to its end. It is gone.
#[derive(Debug)]
pub(super) enum RunProblem {
    TimedOut,
    TooLarge,
    Io(io::Error),
}

impl From<io::Error> for RunProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Kills what still runs when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait()
            && self.0.kill().is_ok()
        {
            let _ = ended(&mut self.0, Instant::now() + LAST_WAIT);
        }
    }
}

/// Writes `input` to the program's standard input and reads its standard output, at most `most` bytes. Standard error goes
/// nowhere.
pub(super) fn run(
    command: &mut Command,
    input: &[u8],
    most: u64,
    limit: Duration,
) -> Result<Ran, RunProblem> {
    let deadline = Instant::now() + limit;
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(command.spawn()?);
    let mut stdin = running.0.stdin.take().map(|pipe| unblocked(pipe.into())).transpose()?;
    let stdout = running.0.stdout.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
    let mut stdout = unblocked(stdout.into())?;
    let mut output = Output { bytes: Zeroizing::new(Vec::with_capacity(FIRST_ROOM)), most };
    let mut rest = input;
    loop {
        wait_for(&stdout, stdin.as_ref(), deadline)?;
        if let Some(pipe) = &mut stdin {
            match pipe.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if is_early(&error) => {}
                // It reads no further; its exit status tells why.
                Err(_) => rest = &[],
            }
            if rest.is_empty() {
                stdin = None;
            }
        }
        if output.read(&mut stdout)? {
            break;
        }
    }
    drop(stdin);
    let status = ended(&mut running.0, deadline)?.ok_or(RunProblem::TimedOut)?;
    Ok(Ran { code: status.code().unwrap_or(-1), output: output.bytes })
}

fn unblocked(pipe: OwnedFd) -> io::Result<File> {
    fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
    Ok(pipe.into())
}

fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Waits until one of the pipes has something to do.
fn wait_for(stdout: &File, stdin: Option<&File>, deadline: Instant) -> Result<(), RunProblem> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(RunProblem::TimedOut);
    }
    // No longer than the limit of a run, which fits.
    let left = Timespec::try_from(left).map_err(|_| RunProblem::TimedOut)?;
    let mut pipes = vec![PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
    pipes.extend(stdin.map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT)));
    match poll(&mut pipes, Some(&left)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(RunProblem::Io(error.into())),
    }
}

struct Output {
    bytes: Zeroizing<Vec<u8>>,
    most: u64,
}

impl Output {
    /// Takes in what is there. Says whether that was all.
    fn read(&mut self, pipe: &mut File) -> Result<bool, RunProblem> {
        let mut buffer = Zeroizing::new([0; 4096]);
        loop {
            let length = match pipe.read(buffer.as_mut_slice()) {
                Ok(0) => return Ok(true),
                Ok(length) => length,
                Err(error) if is_early(&error) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let read = buffer.get(..length).unwrap_or_default();
            if (self.bytes.len() + length) as u64 > self.most {
                return Err(RunProblem::TooLarge);
            }
            if self.bytes.len() + length > self.bytes.capacity() {
                // Moved by hand, so that what it leaves is wiped.
                let mut larger = Zeroizing::new(Vec::with_capacity(self.bytes.capacity() * 2 + length));
                larger.extend_from_slice(&self.bytes);
                self.bytes = larger;
            }
            self.bytes.extend_from_slice(read);
        }
    }
}

/// Waits for the end of a program; `None`: it has not ended.
fn ended(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        thread::sleep(LOOK);
    }
}
