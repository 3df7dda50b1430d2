//! What the engine and the listener share about one connection of a client: requests under way, how to cut it, interim
//! responses to write, and the contradictions seen in its raw request heads.
//!
//! The HTTP library lets a service answer, but neither cut an answer after its last byte has left, nor send a 103. Both
//! are done at the one place that sees the bytes, the listener's I/O wrapper, and asked for here.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trunkline_core::request_head;

use crate::activity::{Activity, Counted};

/// How long a client may take nothing of what is being written to it.
pub const WRITE_STALL: Duration = Duration::from_secs(300);

/// Interim responses waiting to be written, in bytes; beyond it they are left out, which HTTP allows.
const MAX_INTERIM: usize = 16 * 1024;

/// Wake-ups that can be waited for on one HTTP/2 connection at once: a few for each of its streams.
const MAX_WRITE_WAITERS: usize = 4_096;

/// One connection of a client.
#[derive(Debug)]
pub struct ClientConnection {
    peer: SocketAddr,
    opened: Instant,
    is_http2: AtomicBool,
    in_flight: AtomicU32,
    has_served: AtomicBool,
    /// Milliseconds after `opened` at which the number of requests under way, or the read head, last changed.
    changed: AtomicU64,
    cut: AtomicBool,
    has_interim: AtomicBool,
    interim: Mutex<Vec<u8>>,
    head: Mutex<RawHead>,
    /// Whether it ends while the client may still be sending.
    ends_unread: AtomicBool,
    /// Whether the end of an answer may still lie in the HTTP library's buffer.
    tail_unflushed: AtomicBool,
    /// Whether nothing but the present request's answer can be in the HTTP library's buffer.
    interim_in_order: AtomicBool,
    /// Milliseconds after `opened` since which the client has taken nothing, plus one; 0: it is not waited for.
    write_blocked: AtomicU64,
    /// Heads and bytes of bodies given to the HTTP/2 library, and those that have been written, by all streams together
    /// (counted as [`trunkline_core::http2_frames`] does).
    given: AtomicU64,
    written: AtomicU64,
    /// Whoever waits for it to be written.
    write_waiters: Mutex<Vec<Waker>>,
    /// How what goes on over it learns that it is to end.
    ending: OnceLock<Ending>,
    /// What it is to become, once it is no HTTP/1.1 any more.
    continued: Mutex<Option<Continued>>,
}

/// What a connection is after HTTP/1.1.
pub struct Continued(pub(crate) Pin<Box<dyn Future<Output = ()> + Send>>);

impl Continued {
    /// Serves it to its end.
    pub async fn serve(self) {
        self.0.await;
    }
}

impl fmt::Debug for Continued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Continued")
    }
}

/// The two words by which something long is ended: to end at its next boundary, and to end at once.
#[derive(Debug, Clone)]
pub struct Ending {
    /// At its next boundary.
    pub stop: CancellationToken,
    /// At once.
    pub abort: CancellationToken,
}

/// What was read since the last request. It is only looked into where that can matter, which is nearly never.
#[derive(Default)]
pub struct RawHead {
    bytes: Vec<u8>,
    /// Whether there was more than is kept.
    truncated: bool,
}

impl RawHead {
    /// Whether it contradicts itself about the body's length, of a request that the HTTP library takes for a chunked one.
    /// Where there is no chunking there is nothing left to contradict, since the library refuses lengths that differ. A
    /// chunked request whose head was not seen, since it came in one piece with the end of the one before, counts as one: no
    /// client does that, except to smuggle.
    pub fn is_contradictory(&self) -> bool {
        // Of a body that came with its head, only the beginning is kept.
        let is_seen = !self.bytes.is_empty() && (!self.truncated || request_head::is_whole(&self.bytes));
        !is_seen || request_head::is_contradictory(&self.bytes)
    }

    /// The bytes, if they are the head of this request from its beginning to its end, and are not many.
    pub fn into_bytes_of(self, method: &str, target: &str) -> Option<Vec<u8>> {
        let is_kept = !self.truncated && self.bytes.len() <= MAX_KEPT_HEAD;
        (is_kept && request_head::begins_with(&self.bytes, method, target)).then_some(self.bytes)
    }
}

/// Not its bytes: there are tokens among them.
impl fmt::Debug for RawHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawHead({} bytes)", self.bytes.len())
    }
}

/// Most that is kept of what was read between two requests: a head of the largest usual size.
const MAX_RAW_HEAD: usize = 64 * 1024;

/// Most that is kept of it while its request waits for its answer's head.
const MAX_KEPT_HEAD: usize = 16 * 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // None of the sections under these locks can panic half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientConnection {
    /// A connection just accepted.
    pub fn new(peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            peer,
            opened: Instant::now(),
            is_http2: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            has_served: AtomicBool::new(false),
            changed: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            has_interim: AtomicBool::new(false),
            interim: Mutex::default(),
            head: Mutex::default(),
            ends_unread: AtomicBool::new(false),
            tail_unflushed: AtomicBool::new(false),
            interim_in_order: AtomicBool::new(true),
            write_blocked: AtomicU64::new(0),
            given: AtomicU64::new(0),
            written: AtomicU64::new(0),
            write_waiters: Mutex::default(),
            ending: OnceLock::new(),
            continued: Mutex::default(),
        })
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Requests whose answers have not ended.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Whether any request has come over it.
    pub fn has_served(&self) -> bool {
        self.has_served.load(Ordering::Relaxed)
    }

    /// How long nothing has begun or ended here.
    pub fn quiet_for(&self) -> Duration {
        let changed = Duration::from_millis(self.changed.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(changed)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn touch(&self) {
        self.changed.store(self.millis(), Ordering::Relaxed);
    }

    // --- beyond HTTP ---

    /// Says how what goes on over it learns that it is to end; only the first call counts.
    pub fn set_ending(&self, ending: Ending) {
        let _ = self.ending.set(ending);
    }

    /// How what goes on over it learns that it is to end. Where nobody has said so, it never does.
    pub(crate) fn ending(&self) -> Ending {
        let never = || Ending { stop: CancellationToken::new(), abort: CancellationToken::new() };
        self.ending.get().cloned().unwrap_or_else(never)
    }

    pub(crate) fn continue_as(&self, continued: Continued) {
        *lock(&self.continued) = Some(continued);
    }

    /// What it is to become, if HTTP/1.1 has ended by a change of protocol.
    pub fn take_continued(&self) -> Option<Continued> {
        lock(&self.continued).take()
    }

    // --- writing ---

    /// Notes whether the socket took what was to be written.
    pub fn on_write(&self, blocked: bool) {
        let was_blocked = self.write_blocked.load(Ordering::Relaxed) != 0;
        if was_blocked != blocked {
            self.write_blocked
                .store(if blocked { self.millis().saturating_add(1) } else { 0 }, Ordering::Relaxed);
        }
    }

    /// How long the client has taken nothing of what is to be written to it.
    pub fn write_blocked_for(&self) -> Option<Duration> {
        let since = self.write_blocked.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.millis().saturating_sub(since)))
    }

    /// Notes that everything written so far has left the HTTP library.
    pub fn on_flushed(&self) {
        if self.tail_unflushed.load(Ordering::Relaxed) {
            self.tail_unflushed.store(false, Ordering::Relaxed);
        }
        if !self.interim_in_order.load(Ordering::Relaxed) {
            self.interim_in_order.store(true, Ordering::Relaxed);
        }
    }

    /// Whether what is written next may belong to an answer that has ended already.
    pub fn has_unflushed_tail(&self) -> bool {
        self.tail_unflushed.load(Ordering::Relaxed)
    }

    /// Notes that a request has come in, over HTTP/2 or not. The guard's end is the answer's end.
    pub fn begin_request(self: &Arc<Self>, is_http2: bool) -> RequestGuard {
        if is_http2 && !self.is_http2.swap(true, Ordering::Relaxed) {
            *lock(&self.head) = RawHead::default();
        }
        self.interim_in_order.store(!self.tail_unflushed.load(Ordering::Relaxed), Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.has_served.store(true, Ordering::Relaxed);
        RequestGuard { connection: Arc::clone(self), of_service: None, of_credential: None }
    }

    // --- the raw heads ---

    /// Takes bytes as read from an HTTP/1.1 connection. Only what comes between requests is looked at.
    pub fn on_read(&self, bytes: &[u8]) {
        if self.in_flight() == 0 && !self.is_http2.load(Ordering::Relaxed) {
            let mut head = lock(&self.head);
            if head.bytes.is_empty() {
                self.touch();
            }
            let room = MAX_RAW_HEAD.saturating_sub(head.bytes.len());
            head.truncated |= bytes.len() > room;
            head.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// Whether a request head has begun to arrive, and no request of it has been handed on yet.
    pub fn is_mid_head(&self) -> bool {
        self.in_flight() == 0 && !self.is_http2() && !lock(&self.head).bytes.is_empty()
    }

    /// Takes what was read of the head of the request that has just come in over HTTP/1.1.
    pub fn take_head(&self) -> RawHead {
        std::mem::take(&mut *lock(&self.head))
    }

    // --- cuts ---

    /// Asks for the connection to be closed, as soon as what has been written so far has left, without the end of the
    /// answer (HTTP/1.1).
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Whether a cut was asked for.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Notes that the connection ends with the present answer, while the client may still be sending. Closing with bytes left
    /// unread would be a reset, which can take the answer away from a client that has not read it yet.
    pub(crate) fn will_end_unread(&self) {
        self.ends_unread.store(true, Ordering::Release);
    }

    /// Whether the client may still be sending when the connection ends.
    pub fn ends_unread(&self) -> bool {
        self.ends_unread.load(Ordering::Acquire)
    }

    /// Whether this is an HTTP/2 connection.
    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Notes what the HTTP library is being given: 1 for a head or trailers, a body by its bytes.
    pub fn on_given(&self, count: usize) {
        if self.is_http2() {
            self.given.fetch_add(count as u64, Ordering::AcqRel);
        }
    }

    /// Notes what has been written of it.
    pub fn on_written(&self, count: u64) {
        self.written.fetch_add(count, Ordering::AcqRel);
        lock(&self.write_waiters).drain(..).for_each(Waker::wake);
    }

    /// Waits until everything given to the HTTP/2 connection before the first call has been written: a stream may then be
    /// reset without its queued data being thrown away. Data of other streams, and of streams that the client has reset since,
    /// is waited for as well, so this needs a bound in time.
    pub fn poll_written(&self, target: &mut Option<u64>, context: &Context<'_>) -> Poll<()> {
        let target = *target.get_or_insert_with(|| self.given.load(Ordering::Acquire));
        let mut waiters = lock(&self.write_waiters);
        // Looked at under the lock, so that no write goes unnoticed in between.
        if self.written.load(Ordering::Acquire) >= target || waiters.len() >= MAX_WRITE_WAITERS {
            return Poll::Ready(());
        }
        waiters.push(context.waker().clone());
        Poll::Pending
    }

    // --- interim responses ---

    /// Queues the bytes of an interim (1xx) response, to be written before the final one.
    pub fn push_interim(&self, head: &[u8]) {
        let mut interim = lock(&self.interim);
        if interim.len() + head.len() <= MAX_INTERIM {
            interim.extend_from_slice(head);
            self.has_interim.store(true, Ordering::Release);
        }
    }

    /// What is to be written before anything else. Interim responses that would land in the middle of the answer before,
    /// since that has not left yet, are left out.
    pub fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.has_interim.load(Ordering::Acquire) {
            return None;
        }
        self.has_interim.store(false, Ordering::Release);
        let interim = std::mem::take(&mut *lock(&self.interim));
        self.interim_in_order.load(Ordering::Relaxed).then_some(interim)
    }
}

/// A request under way.
#[derive(Debug)]
pub struct RequestGuard {
    connection: Arc<ClientConnection>,
    of_service: Option<Counted>,
    of_credential: Option<Counted>,
}

impl RequestGuard {
    /// Counts it among the requests of its service, until it ends.
    pub fn count_for_service(&mut self, service: &Arc<Activity>) {
        self.of_service = Some(Counted::new(service));
    }

    /// Counts it among the requests of a credential, until it ends or goes on to another one.
    pub fn count_for_credential(&mut self, credential: &Arc<Activity>) {
        self.of_credential = Some(Counted::new(credential));
    }

    /// It is not one request any more, but many turns, which are counted one by one.
    pub(crate) fn count_no_more(&mut self) {
        self.of_service = None;
        self.of_credential = None;
    }

    /// The connection it came over.
    pub fn connection(&self) -> &Arc<ClientConnection> {
        &self.connection
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if !self.connection.is_http2() {
            *lock(&self.connection.head) = RawHead::default();
            self.connection.tail_unflushed.store(true, Ordering::Relaxed);
        }
        self.connection.touch();
        self.connection.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n";

    fn is_contradictory(read: &[&[u8]]) -> bool {
        let connection = ClientConnection::new(([127, 0, 0, 1], 1).into());
        for bytes in read {
            connection.on_read(bytes);
        }
        connection.take_head().is_contradictory()
    }

    #[test]
    fn a_head_may_come_in_one_piece_with_a_large_part_of_its_body() {
        let body = vec![b'x'; 2 * MAX_RAW_HEAD];
        let head = format!("{HEAD}\r\n").into_bytes();
        assert!(!is_contradictory(&[&head]));
        assert!(!is_contradictory(&[&[&head[..], &body].concat()]));
        assert!(!is_contradictory(&[&head[..20], &[&head[20..], &body].concat()]));
        let both = format!("{HEAD}Content-Length: 3\r\n\r\n").into_bytes();
        assert!(is_contradictory(&[&[&both[..], &body].concat()]));
    }

    #[test]
    fn bytes_of_a_head_are_given_where_they_are_all_of_it() {
        let given = |read: &[&[u8]]| {
            let connection = ClientConnection::new(([127, 0, 0, 1], 1).into());
            for bytes in read {
                connection.on_read(bytes);
            }
            connection.take_head().into_bytes_of("POST", "/")
        };
        let head = format!("{HEAD}\r\n").into_bytes();
        assert_eq!(given(&[&head]).as_ref(), Some(&head));
        assert_eq!(given(&[&head[..20], &head[20..]]).as_ref(), Some(&head));
        assert_eq!(given(&[&head[1..]]), None);
        assert_eq!(given(&[]), None);
        let long = [&head[..], &vec![b'x'; MAX_KEPT_HEAD]].concat();
        assert_eq!(given(&[&long]), None);
        assert!(given(&[&long[..MAX_KEPT_HEAD]]).is_some());
        // What was taken is not given again.
        let connection = ClientConnection::new(([127, 0, 0, 1], 1).into());
        connection.on_read(&head);
        drop(connection.take_head());
        assert_eq!(connection.take_head().into_bytes_of("POST", "/"), None);
    }

    #[test]
    fn a_chunked_request_whose_head_was_not_seen_whole_is_not_trusted() {
        assert!(is_contradictory(&[]));
        let long = format!("{HEAD}X: {}\r\n\r\n", "x".repeat(MAX_RAW_HEAD));
        assert!(is_contradictory(&[long.as_bytes()]));
    }
}
