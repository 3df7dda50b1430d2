//! Who has a file locked with `flock`, without trying to lock it: a try would be in the way of whoever needs the lock.
//!
//! Linux lists the locks in `/proc/locks`, those of processes that this one can see. Elsewhere it cannot be told.

use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Most bytes of the list that are read; a line has 60.
const MAX_LIST: u64 = 1 << 20;

/// Most handles of a process that are looked at.
const MAX_HANDLES: usize = 10_000;

/// Whether somebody has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flock {
    /// This process has.
    Held(u32),
    /// Nobody has, as far as the system shows.
    Free,
    /// The system does not show it.
    Unknown,
}

/// A lock in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    process: u32,
    device: (u32, u32),
}

/// Who has the file at `path` locked. Nobody has one that is not there.
pub(super) fn of(path: &Path) -> Flock {
    let Ok(found) = fs::symlink_metadata(path) else { return Flock::Free };
    let Some(list) = list() else { return Flock::Unknown };
    let held = entries(&list, found.ino()).find(|entry| is_of(*entry, &found));
    held.map_or(Flock::Free, |entry| Flock::Held(entry.process))
}

fn list() -> Option<String> {
    let mut text = String::new();
    fs::File::open("/proc/locks").ok()?.take(MAX_LIST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The locks that are held on files with this inode:
/// `1: FLOCK  ADVISORY  WRITE 2459 fe:00:11068559 0 EOF`; one that is waited for has `->` behind its number.
fn entries(list: &str, inode: u64) -> impl Iterator<Item = Entry> {
    list.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != "FLOCK" {
            return None;
        }
        let process = fields.nth(2)?.parse().ok()?;
        let mut place = fields.next()?.split(':');
        let mut number = || u32::from_str_radix(place.next()?, 16).ok();
        let device = (number()?, number()?);
        (place.next()?.parse() == Ok(inode)).then_some(Entry { process, device })
    })
}

/// Whether a lock on a file with the same inode is on this file. File systems with subvolumes list another device than the
/// one that a file tells; there it is looked for among the files that the process has open.
fn is_of(entry: Entry, found: &Metadata) -> bool {
    let device = found.dev();
    if has_numbers(device, entry.device) {
        return true;
    }
    let Ok(handles) = fs::read_dir(format!("/proc/{}/fd", entry.process)) else { return false };
    handles
        .flatten()
        .take(MAX_HANDLES)
        .filter_map(|handle| fs::metadata(handle.path()).ok())
        .any(|open| open.dev() == device && open.ino() == found.ino())
}

/// Whether a device has these two numbers, in which Linux lists it.
fn has_numbers(device: u64, numbers: (u32, u32)) -> bool {
    #[cfg(target_os = "linux")]
    return (rustix::fs::major(device), rustix::fs::minor(device)) == numbers;
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (device, numbers);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_testkit::TempDir;

    #[test]
    fn the_list_is_read() {
        let list = "1: FLOCK  ADVISORY  WRITE 2459 fe:00:7 0 EOF\n\
                    2: POSIX  ADVISORY  WRITE 1 fe:00:7 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 3 fe:00:8 0 EOF\n\
                    3: -> FLOCK  ADVISORY  WRITE 4 fe:00:7 0 EOF\n\
                    nonsense\n4: FLOCK\n5: FLOCK ADVISORY WRITE -1 fe:00:7 0 EOF\n";
        let found: Vec<_> = entries(list, 7).collect();
        assert_eq!(found, [Entry { process: 2459, device: (0xfe, 0) }]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_lock_is_seen_while_it_is_held() {
        let directory = TempDir::new().unwrap();
        let path = directory.write("lock", "").unwrap();
        assert_eq!(of(&path), Flock::Free);
        let file = fs::File::open(&path).unwrap();
        file.lock().unwrap();
        assert_eq!(of(&path), Flock::Held(std::process::id()));
        drop(file);
        assert_eq!(of(&path), Flock::Free);
        assert_eq!(of(&directory.join("gone")), Flock::Free);
    }
}
