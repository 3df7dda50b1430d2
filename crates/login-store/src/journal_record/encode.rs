//! Records as bytes.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::{
    ANSWER, Answer, AnswerEnd, HEAD, IMAGE, LOCKS, LockMark, MAGIC, RAW_ANSWER, REQUEST, Request, WRITE_LOCK,
    checksum,
};

/// A record's bytes, and the zeros that end the journal behind it.
pub(crate) fn encode_request(request: &Request) -> Zeroizing<Vec<u8>> {
    let mut payload = Vec::new();
    put_time(&mut payload, request.at);
    payload.extend_from_slice(&request.sent.0);
    put_marks(&mut payload, &request.locks);
    frame(REQUEST, &payload)
}

/// The whole of a note of locks.
pub(crate) fn encode_locks(locks: &[LockMark]) -> Zeroizing<Vec<u8>> {
    let mut payload = Vec::new();
    put_marks(&mut payload, locks);
    frame(LOCKS, &payload)
}

fn put_marks(bytes: &mut Vec<u8>, locks: &[LockMark]) {
    let marks: Vec<_> = locks.iter().filter_map(encode_mark).collect();
    bytes.extend_from_slice(&u32_of(marks.len()).to_le_bytes());
    for mark in marks {
        bytes.extend_from_slice(&mark);
    }
}

/// See [`encode_request`].
pub(crate) fn encode_answer(answer: &Answer) -> Zeroizing<Vec<u8>> {
    let Answer { received, raw, encoding, end } = answer;
    let mut payload = Zeroizing::new(Vec::with_capacity(14 + encoding.len() + raw.len()));
    put_time(&mut payload, *received);
    if answer.is_plain() {
        payload.extend_from_slice(raw);
        return frame(ANSWER, &payload);
    }
    payload.push(match end {
        AnswerEnd::Whole => 0,
        AnswerEnd::Cut => 1,
        AnswerEnd::TooLong => 2,
    });
    // It was cut to far less when the answer was made.
    payload.push(u8::try_from(encoding.len()).unwrap_or(u8::MAX));
    payload.extend_from_slice(encoding.as_bytes());
    payload.extend_from_slice(raw);
    frame(RAW_ANSWER, &payload)
}

/// The records for a try to write the login file. See [`encode_request`].
pub(crate) fn encode_try(write_lock: Option<&LockMark>, image: Option<[&[u8]; 2]>) -> Zeroizing<Vec<u8>> {
    let lock = write_lock.and_then(encode_mark).map(|mark| frame(WRITE_LOCK, &mark));
    let image = image.map(|[old, new]| {
        let mut payload = Zeroizing::new(Vec::with_capacity(4 + old.len() + new.len()));
        payload.extend_from_slice(&u32_of(old.len()).to_le_bytes());
        payload.extend_from_slice(old);
        payload.extend_from_slice(new);
        frame(IMAGE, &payload)
    });
    let records = [lock, image].into_iter().flatten();
    let mut all =
        Zeroizing::new(Vec::with_capacity(records.clone().map(|record| record.len()).sum::<usize>() + HEAD));
    for record in records {
        all.extend_from_slice(record.get(..record.len().saturating_sub(HEAD)).unwrap_or_default());
    }
    all.extend_from_slice(&[0; HEAD]);
    all
}

fn frame(kind: u8, payload: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut record = Zeroizing::new(Vec::with_capacity(HEAD + payload.len() + HEAD));
    record.extend_from_slice(MAGIC);
    record.extend_from_slice(&[kind, 0, 0, 0]);
    record.extend_from_slice(&u32_of(payload.len()).to_le_bytes());
    let sum = checksum(&record, payload);
    record.extend_from_slice(&sum);
    record.extend_from_slice(payload);
    record.extend_from_slice(&[0; HEAD]);
    record
}

/// `None`: a path that cannot be told in bytes. Such a lock is not named; it becomes stale like any other.
fn encode_mark(mark: &LockMark) -> Option<Vec<u8>> {
    #[cfg(unix)]
    let path = std::os::unix::ffi::OsStrExt::as_bytes(mark.path.as_os_str());
    #[cfg(not(unix))]
    let path = mark.path.to_str()?.as_bytes();
    let identity = &mark.identity;
    let mut bytes = u32::try_from(path.len()).ok()?.to_le_bytes().to_vec();
    bytes.extend_from_slice(path);
    bytes.extend_from_slice(&identity.device.to_le_bytes());
    bytes.extend_from_slice(&identity.inode.to_le_bytes());
    bytes.push(u8::from(identity.birth.is_some()));
    put_time(&mut bytes, identity.birth.unwrap_or(SystemTime::UNIX_EPOCH));
    put_time(&mut bytes, identity.modified);
    Some(bytes)
}

/// Times before 1970 become 1970: no lock and no answer of ours is that old.
fn put_time(bytes: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    bytes.extend_from_slice(&since.as_secs().to_le_bytes());
    bytes.extend_from_slice(&since.subsec_nanos().to_le_bytes());
}

/// Lengths here are of things bounded far below 4 GiB; one that were not would be recognised by its checksum.
fn u32_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
