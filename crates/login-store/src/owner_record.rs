//! The record that the Claude client keeps beside its refresh lock (observed of 2.1.332): who holds it, so that another can
//! take it over at once when that process is provably gone, instead of waiting until the lock is stale.
//!
//! It stands at `.oauth_refresh.lock.owner` from the moment that both locks are held until just before they are let go, and is a
//! JSON object: `pid`; `procStart`, the start of the process in clock ticks since boot, as a text; `pidDomain`, which is
//! `linux:`, the machine's id, `:` and the process namespace; `pidSpace`, the host's name, `#` and that namespace;
//! `lockBirthtimeMs` and `legacyLockBirthtimeMs`, the births of the lock and of its sibling in milliseconds with a fraction.
//!
//! What is written there on other systems was not observed, so nothing is written or believed there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::identity::Identity;
use crate::place::suffixed;

/// Longest record that the client reads, in bytes.
const MAX_RECORD: usize = 4096;

/// How far two births may be apart that are one: they are numbers with a fraction, of which the last digits are rounded.
const SAME_BIRTH_MS: f64 = 0.001;

/// Fewer processes than this in `/proc` mean that most are hidden, so that one that is not seen may live. The client's number.
const MIN_PROCESSES: usize = 16;

/// Where the record of a lock stands.
pub(crate) fn beside(lock: &Path) -> PathBuf {
    suffixed(lock, ".owner")
}

/// A record, read or to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnerRecord {
    pid: u32,
    started: Option<String>,
    domain: String,
    space: String,
    lock_birth: f64,
    sibling_birth: Option<f64>,
}

impl OwnerRecord {
    /// That of this process for locks that it holds. `None`: not everything in it is known here.
    pub(crate) fn of_this_process(lock: &Identity, sibling: Option<&Identity>) -> Option<Self> {
        let (domain, space) = names()?;
        let pid = std::process::id();
        Some(Self {
            pid,
            started: Some(process(pid)?.1),
            domain,
            space,
            lock_birth: millis(lock.birth?)?,
            sibling_birth: sibling.and_then(|sibling| millis(sibling.birth?)),
        })
    }

    /// What stands beside a lock, if it is a record.
    pub(crate) fn read(lock: &Path) -> Option<Self> {
        let file = crate::read::open_at_once(fs::OpenOptions::new().read(true), &beside(lock)).ok()?;
        let mut text = String::new();
        let limit = u64::try_from(MAX_RECORD).ok()?.checked_add(1)?;
        io::Read::read_to_string(&mut io::Read::take(file, limit), &mut text).ok()?;
        if text.len() > MAX_RECORD {
            return None;
        }
        let record: Value = serde_json::from_str(&text).ok()?;
        let string = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        let birth = |name: &str| record.get(name).and_then(Value::as_f64).filter(|birth| *birth > 0.0);
        Some(Self {
            pid: u32::try_from(record.get("pid")?.as_u64()?).ok()?,
            started: string("procStart"),
            domain: string("pidDomain")?,
            space: string("pidSpace")?,
            lock_birth: birth("lockBirthtimeMs")?,
            sibling_birth: birth("legacyLockBirthtimeMs"),
        })
    }

    /// Puts it beside the lock, which is held. The mode is that of everything else that is private.
    pub(crate) fn write(&self, lock: &Path) -> io::Result<()> {
        let record = beside(lock);
        let new = suffixed(&record, ".trunkline-new");
        let _ = fs::remove_file(&new);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options
            .open(&new)
            .and_then(|mut file| io::Write::write_all(&mut file, self.to_json().to_string().as_bytes()))
            .and_then(|()| fs::rename(&new, &record));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn to_json(&self) -> Value {
        let mut record = serde_json::json!({
            "pid": self.pid,
            "procStart": self.started,
            "pidDomain": self.domain,
            "pidSpace": self.space,
            "lockBirthtimeMs": self.lock_birth,
        });
        if let (Some(birth), Some(members)) = (self.sibling_birth, record.as_object_mut()) {
            members.insert("legacyLockBirthtimeMs".to_owned(), birth.into());
        }
        record
    }

    /// Whether it is about this lock, and not about one that stood there before.
    fn is_of(&self, lock: &Identity) -> bool {
        is_birth(lock, Some(self.lock_birth))
    }

    /// Whether its process is provably gone. Never, if it lived where this process cannot see it.
    fn is_dead(&self) -> bool {
        if names().is_none_or(|names| names != (self.domain.clone(), self.space.clone())) || !sees_processes()
        {
            return false;
        }
        // 1 and below are no process that a record would be of; one that does not fit is none.
        let Some(pid) = i32::try_from(self.pid).ok().filter(|pid| *pid > 1) else { return false };
        match process(self.pid) {
            Some((state, started)) => {
                matches!(state, 'Z' | 'X') || self.started.as_ref().is_some_and(|said| *said != started)
            }
            None => is_gone(pid),
        }
    }
}

/// Removes the locks and the record of a process that is provably gone. Says whether the lock is free.
pub(crate) fn take_over(lock: &Path, sibling: Option<&Path>) -> bool {
    let about = || match Identity::at(lock) {
        Ok(Some(found)) => {
            OwnerRecord::read(lock).filter(|record| record.is_of(&found)).map(|record| (record, found))
        }
        _ => None,
    };
    let Some((record, found)) = about() else { return false };
    if !record.is_dead() {
        return false;
    }
    if let Some(sibling) = sibling
        && let Ok(Some(beside)) = Identity::at(sibling)
    {
        // A client of before knows that one alone.
        if !is_birth(&beside, record.sibling_birth) {
            return false;
        }
        crate::directory_lock::remove_if_same(sibling, &beside);
    }
    crate::directory_lock::remove_if_same(lock, &found);
    let is_free = matches!(Identity::at(lock), Ok(None));
    if OwnerRecord::read(lock).as_ref() == Some(&record) {
        let _ = fs::remove_file(beside(lock));
    }
    is_free
}

/// Removes the record of a lock that is ours, or was.
pub(crate) fn remove(lock: &Path, identity: &Identity) {
    if OwnerRecord::read(lock).is_some_and(|record| record.is_of(identity)) {
        let _ = fs::remove_file(beside(lock));
    }
    let _ = fs::remove_file(suffixed(&beside(lock), ".trunkline-new"));
}

fn is_birth(found: &Identity, birth: Option<f64>) -> bool {
    found
        .birth
        .and_then(millis)
        .zip(birth)
        .is_some_and(|(found, birth)| (found - birth).abs() < SAME_BIRTH_MS)
}

/// As the client's runtime has it: the seconds in milliseconds, and the nanoseconds as their fraction.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds since 1970 are exact for as long as there are clocks"
)]
fn millis(at: SystemTime) -> Option<f64> {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since.as_secs() as f64 * 1e3 + f64::from(since.subsec_nanos()) / 1e6).filter(|millis| *millis > 0.0)
}

/// `pidDomain` and `pidSpace` of this process.
#[cfg(target_os = "linux")]
fn names() -> Option<(String, String)> {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?.into_os_string().into_string().ok()?;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some((format!("linux:{}:{namespace}", machine.trim()), format!("{}#{namespace}", host.trim())))
}

#[cfg(not(target_os = "linux"))]
fn names() -> Option<(String, String)> {
    None
}

/// The state of a process and when it started, in clock ticks since boot (proc(5): fields 3 and 22).
fn process(pid: u32) -> Option<(char, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name, which is in brackets, may hold anything.
    let mut fields = stat.get(stat.rfind(')')?..)?.get(2..)?.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.to_owned()))
}

/// Whether `/proc` shows this process as itself, and others beside it.
fn sees_processes() -> bool {
    let is_self =
        fs::read_link("/proc/self").is_ok_and(|me| me.to_str() == Some(&std::process::id().to_string()));
    let is_number = |name: &std::ffi::OsStr| {
        name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    is_self
        && fs::read_dir("/proc").is_ok_and(|entries| {
            entries.flatten().filter(|entry| is_number(&entry.file_name())).take(MIN_PROCESSES).count()
                == MIN_PROCESSES
        })
}

/// Whether the kernel knows no such process. One of another user's is known, but may not be shown in `/proc`.
#[cfg(unix)]
fn is_gone(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn is_gone(_: i32) -> bool {
    false
}
