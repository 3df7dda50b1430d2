//! The format of a journal, version 1: what keeps a provider's answer until it is in the login file.
//!
//! A journal is a sequence of records, each 44 bytes of head and then its payload:
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | `TLJ1`: the format and its version |
//! | 4 | the kind of the record |
//! | 5-7 | zero |
//! | 8-11 | the length of the payload, little endian |
//! | 12-43 | SHA-256 of bytes 0-11 and the payload |
//!
//! 1. `1`, the request: when, SHA-256 of the refresh token sent, the locks held. Never overwritten.
//! 2. `2`, an answer: when, and the provider's raw answer, which is whole and not encoded; or `5`, any other answer: when, a
//!    byte that says how it ended (0 whole, 1 cut, 2 too long), a byte with the length of the value of `content-encoding`,
//!    that value, and the body as it came. Never overwritten. A call that is repeated may leave two answers.
//! 3. `3`, the lock around the write, once it is held; and `4`, the login file's text before and after, where it is
//!    rewritten in place. These are written anew for each try to write the login file.
//!
//! Behind the last record are 44 zero bytes at least. The file is made with 64 KiB of zeros in it, so that the answer
//! needs no room that the disk may not have. Numbers are little endian; times are seconds and nanoseconds since 1970.
//!
//! What is read is right or known to be unreadable: a request that is damaged, or anything behind it that is neither zeros
//! nor an answer that is whole, makes the journal [`Unreadable`]. Damage behind the answer costs only what it hits,
//! since nothing there may take the answer away.

mod encode;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::digest::TokenHash;
use crate::identity::Identity;

pub(crate) use self::encode::{encode_answer, encode_locks, encode_request, encode_try};

/// Length of a record's head.
pub(crate) const HEAD: usize = 44;

/// What a journal is made with, in bytes.
pub const RESERVED: usize = 64 * 1024;

/// Longest answer that is kept, in bytes. Real ones have a few kilobytes.
pub const MAX_ANSWER: usize = 1024 * 1024;

/// Longest value of `content-encoding` that is kept, in bytes. A longer one names no coding that anybody knows.
const MAX_ENCODING: usize = 64;

/// Most answers in a journal: a call is repeated once.
const MAX_ANSWERS: usize = 2;

/// Longest journal that is read: two answers, and a login file twice.
pub(crate) const MAX_JOURNAL: u64 = 5 * 1024 * 1024;

const MAGIC: &[u8; 4] = b"TLJ1";
const REQUEST: u8 = 1;
const ANSWER: u8 = 2;
const WRITE_LOCK: u8 = 3;
const IMAGE: u8 = 4;
const RAW_ANSWER: u8 = 5;
const LOCKS: u8 = 6;

/// A journal that says nothing that could be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal of a refresh is damaged")]
pub struct Unreadable;

/// A lock by its place and identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockMark {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
}

/// The first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) at: SystemTime,
    pub(crate) sent: TokenHash,
    pub(crate) locks: Vec<LockMark>,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerEnd {
    /// It is all there.
    Whole,
    /// The connection ended, or the time was over, before the answer was.
    Cut,
    /// It is longer than [`MAX_ANSWER`], and only its beginning is there.
    TooLong,
}

/// An answer of the token endpoint as it came, encoded as it was.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub(crate) received: SystemTime,
    pub(crate) raw: Zeroizing<Vec<u8>>,
    pub(crate) encoding: String,
    pub(crate) end: AnswerEnd,
}

impl Answer {
    /// An answer whose body is `raw`, of which no more than [`MAX_ANSWER`] bytes are kept. `encoding`: its `content-encoding`,
    /// empty if it has none.
    pub fn new(received: SystemTime, raw: &[u8], encoding: &str, end: AnswerEnd) -> Self {
        let (kept, end) = match raw.get(..MAX_ANSWER) {
            Some(kept) if raw.len() > MAX_ANSWER => (kept, AnswerEnd::TooLong),
            _ => (raw, end),
        };
        let is_kept = |c: &char| c.is_ascii_graphic() || *c == ' ';
        let encoding = encoding.trim().chars().filter(is_kept).take(MAX_ENCODING).collect();
        Self { received, raw: Zeroizing::new(kept.to_vec()), encoding, end }
    }

    /// A whole answer that is not encoded.
    pub fn whole(received: SystemTime, raw: &[u8]) -> Self {
        Self::new(received, raw, "", AnswerEnd::Whole)
    }

    /// When it came, from which the life of its token counts.
    pub fn received(&self) -> SystemTime {
        self.received
    }

    /// Its body as it came.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The value of its `content-encoding`; empty: none.
    pub fn encoding(&self) -> &str {
        &self.encoding
    }

    /// How it ended.
    pub fn end(&self) -> AnswerEnd {
        self.end
    }

    fn is_plain(&self) -> bool {
        self.encoding.is_empty() && self.end == AnswerEnd::Whole
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Answer({} bytes {:?}, {:?} at {:?})",
            self.raw.len(),
            self.encoding,
            self.end,
            self.received
        )
    }
}

/// A login file before and after it is rewritten in place, so that one that is torn is known and can be mended.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) old: Zeroizing<Vec<u8>>,
    pub(crate) new: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} and {} bytes)", self.old.len(), self.new.len())
    }
}

/// What a journal holds. `Debug` shows no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub(crate) request: Request,
    /// In the order in which they came, at most [`MAX_ANSWERS`].
    pub(crate) answers: Vec<Answer>,
    pub(crate) write_lock: Option<LockMark>,
    pub(crate) image: Option<Image>,
    /// Where the record that is never overwritten ends: the next one goes here.
    pub(crate) end: usize,
}

impl Contents {
    /// The answers that were received, in order.
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }
}

/// Reads a journal. Never panics, whatever the bytes are.
pub fn parse(bytes: &[u8]) -> Result<Contents, Unreadable> {
    let (kind, payload, mut end) = record_at(bytes, 0).ok_or(Unreadable)?;
    let request = (kind == REQUEST).then(|| read_request(payload)).flatten().ok_or(Unreadable)?;
    let mut contents = Contents { request, answers: Vec::new(), write_lock: None, image: None, end };
    if is_blank(bytes, end)? {
        return Ok(contents);
    }
    let (kind, payload, next) = record_at(bytes, end).ok_or(Unreadable)?;
    contents.answers.push(read_answer(kind, payload).ok_or(Unreadable)?);
    end = next;
    while contents.answers.len() < MAX_ANSWERS
        && let Some((kind, payload, next)) = record_at(bytes, end)
        && let Some(answer) = read_answer(kind, payload)
    {
        contents.answers.push(answer);
        end = next;
    }
    contents.end = end;
    while let Some((kind, payload, next)) = record_at(bytes, end) {
        match kind {
            WRITE_LOCK if contents.write_lock.is_none() => contents.write_lock = read_write_lock(payload),
            IMAGE if contents.image.is_none() => contents.image = read_image(payload),
            _ => break,
        }
        end = next;
    }
    Ok(contents)
}

/// The locks that a journal names of which not everything can be read: its first record, which is never overwritten, may be
/// whole.
pub(crate) fn locks_of_damaged(bytes: &[u8]) -> Vec<LockMark> {
    match record_at(bytes, 0) {
        Some((REQUEST, payload, _)) => read_request(payload).map(|request| request.locks).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Reads a note of locks, which is one record of kind `6`: their number and marks.
pub(crate) fn read_locks(bytes: &[u8]) -> Option<Vec<LockMark>> {
    let (kind, payload, _) = record_at(bytes, 0)?;
    let mut reader = Reader((kind == LOCKS).then_some(payload)?);
    reader.marks().filter(|_| reader.0.is_empty())
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(head).chain_update(payload).finalize().into()
}

/// The kind and payload of the record that begins at `at`, if it is whole, and where it ends.
fn record_at(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let (head, sum) = (rest.get(..12)?, rest.get(12..HEAD)?);
    let (magic, kind) = (head.get(..4)?, *head.get(4)?);
    let length = usize::try_from(u32::from_le_bytes(head.get(8..)?.try_into().ok()?)).ok()?;
    let payload = rest.get(HEAD..)?.get(..length)?;
    (magic == MAGIC && checksum(head, payload) == sum).then_some((kind, payload, at + HEAD + length))
}

/// Whether the zeros that end a journal stand at `at`. A file that ends before them has lost something.
fn is_blank(bytes: &[u8], at: usize) -> Result<bool, Unreadable> {
    let head = bytes.get(at..).and_then(|rest| rest.get(..HEAD)).ok_or(Unreadable)?;
    Ok(head.iter().all(|&byte| byte == 0))
}

fn read_request(payload: &[u8]) -> Option<Request> {
    let mut reader = Reader(payload);
    let at = reader.time()?;
    let sent = TokenHash(reader.array()?);
    let locks = reader.marks()?;
    reader.0.is_empty().then_some(Request { at, sent, locks })
}

fn read_answer(kind: u8, payload: &[u8]) -> Option<Answer> {
    let mut reader = Reader(payload);
    let received = reader.time()?;
    let (encoding, end) = match kind {
        ANSWER => ("", AnswerEnd::Whole),
        RAW_ANSWER => {
            let end = match reader.array()? {
                [0] => AnswerEnd::Whole,
                [1] => AnswerEnd::Cut,
                [2] => AnswerEnd::TooLong,
                _ => return None,
            };
            let [length] = reader.array()?;
            (std::str::from_utf8(reader.take(usize::from(length))?).ok()?, end)
        }
        _ => return None,
    };
    let encoding = encoding.to_owned();
    Some(Answer { received, raw: Zeroizing::new(reader.0.to_vec()), encoding, end })
}

/// Where the bytes of the first answer lie in a journal that was read: how many bytes are before them, and their number. For a
/// person who takes them out.
pub(crate) fn place_of_answer(bytes: &[u8]) -> Option<(usize, usize)> {
    let (_, _, answer_at) = record_at(bytes, 0)?;
    let (kind, payload, end) = record_at(bytes, answer_at)?;
    let length = read_answer(kind, payload)?.raw.len();
    Some((end.checked_sub(length)?, length))
}

fn read_write_lock(payload: &[u8]) -> Option<LockMark> {
    let mut reader = Reader(payload);
    let mark = reader.mark()?;
    reader.0.is_empty().then_some(mark)
}

fn read_image(payload: &[u8]) -> Option<Image> {
    let mut reader = Reader(payload);
    let length = usize::try_from(reader.u32()?).ok()?;
    let (old, new) = reader.0.split_at_checked(length)?;
    Some(Image { old: Zeroizing::new(old.to_vec()), new: Zeroizing::new(new.to_vec()) })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<SystemTime> {
        let (seconds, nanos) = (self.u64()?, self.u32()?);
        (nanos < 1_000_000_000)
            .then(|| SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)))
            .flatten()
    }

    fn marks(&mut self) -> Option<Vec<LockMark>> {
        let count = self.u32()?;
        let mut locks = Vec::new();
        for _ in 0..count {
            locks.push(self.mark()?);
        }
        Some(locks)
    }

    fn mark(&mut self) -> Option<LockMark> {
        let length = usize::try_from(self.u32()?).ok()?;
        let path = self.take(length)?;
        #[cfg(unix)]
        let path = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path));
        #[cfg(not(unix))]
        let path = PathBuf::from(std::str::from_utf8(path).ok()?);
        let (device, inode) = (self.u64()?, self.u64()?);
        let has_birth = self.take(1)? != [0];
        let (birth, modified) = (self.time()?, self.time()?);
        Some(LockMark {
            path,
            identity: Identity { device, inode, birth: has_birth.then_some(birth), modified },
        })
    }
}
