//! `GOAWAY`, as a server says it that is about to end a connection (RFC 9113, 6.8).

use bytes::Bytes;

/// Up to which stream of its connection a server says, by `GOAWAY`, that it has looked at requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAway {
    /// This one: `NO_ERROR`, as a server says it that shuts down. The answer is to be expected still.
    Included,
    /// This one too, for an error: `INTERNAL_ERROR`. Nothing is known of what became of the request.
    Failed,
    /// The one before: `NO_ERROR`. The request of this stream has not been looked at, and may be sent again elsewhere.
    LeftOut,
}

/// The type of the frame.
const GOAWAY: u8 = 7;

/// Its last stream, and its error code.
const PAYLOAD: u8 = 8;

impl GoAway {
    /// The frame, said on the stream of the `nth` request of its connection.
    ///
    /// Clients number their streams 1, 3, 5 and so on; one that skips a number (by opening a stream without a request) is not
    /// foreseen.
    pub(super) fn frame(self, nth: u64) -> Bytes {
        let this = u32::try_from(nth).unwrap_or(u32::MAX).saturating_mul(2).saturating_sub(1);
        let (last, reason) = match self {
            Self::Included => (this, h2::Reason::NO_ERROR),
            Self::Failed => (this, h2::Reason::INTERNAL_ERROR),
            // There is no stream before the first: 0 says so.
            Self::LeftOut => (this.saturating_sub(2), h2::Reason::NO_ERROR),
        };
        let mut frame = vec![0, 0, PAYLOAD, GOAWAY, 0, 0, 0, 0, 0];
        frame.extend(last.to_be_bytes());
        frame.extend(u32::from(reason).to_be_bytes());
        frame.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_names_the_last_stream_and_the_reason() {
        let payload = |go_away: GoAway, nth| go_away.frame(nth).slice(9..);
        assert_eq!(&payload(GoAway::Included, 1)[..], [0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(&payload(GoAway::Included, 3)[..], [0, 0, 0, 5, 0, 0, 0, 0]);
        assert_eq!(&payload(GoAway::Failed, 200)[..], [0, 0, 1, 143, 0, 0, 0, 2]);
        assert_eq!(&payload(GoAway::LeftOut, 1)[..], [0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&payload(GoAway::LeftOut, 3)[..], [0, 0, 0, 3, 0, 0, 0, 0]);
        assert_eq!(&GoAway::Included.frame(1)[..9], [0, 0, 8, 7, 0, 0, 0, 0, 0]);
    }
}
