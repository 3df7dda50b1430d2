//! Recorded answers in other forms that a provider may give them: without a content type, or compressed.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use trunkline_testkit::fixtures::RecordedResponse;
use trunkline_testkit::sse;

/// A content coding that clients offer, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    /// Under the name of `deflate`, without the zlib format around it.
    BareDeflate,
    Zstd,
    Brotli,
}

impl Coding {
    pub(crate) const ALL: [Self; 5] =
        [Self::Gzip, Self::Deflate, Self::BareDeflate, Self::Zstd, Self::Brotli];

    /// Its name in `content-encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate | Self::BareDeflate => "deflate",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }

    /// What comes out for each write, flushed; the end of the body comes last.
    pub(crate) fn each<W: AsRef<[u8]>>(self, writes: impl IntoIterator<Item = W>) -> Vec<Bytes> {
        match self {
            Self::Gzip => {
                let (encoder, out) =
                    flushed(GzEncoder::new(Vec::new(), Compression::default()), writes, |encoder| {
                        std::mem::take(encoder.get_mut())
                    });
                with_end(out, encoder.finish().unwrap())
            }
            Self::Deflate => {
                let (encoder, out) =
                    flushed(ZlibEncoder::new(Vec::new(), Compression::default()), writes, |encoder| {
                        std::mem::take(encoder.get_mut())
                    });
                with_end(out, encoder.finish().unwrap())
            }
            Self::BareDeflate => {
                let (encoder, out) =
                    flushed(DeflateEncoder::new(Vec::new(), Compression::default()), writes, |encoder| {
                        std::mem::take(encoder.get_mut())
                    });
                with_end(out, encoder.finish().unwrap())
            }
            Self::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
                let (encoder, out) = flushed(encoder, writes, |encoder| std::mem::take(encoder.get_mut()));
                with_end(out, encoder.finish().unwrap())
            }
            Self::Brotli => {
                let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                let (encoder, out) = flushed(encoder, writes, |encoder| std::mem::take(encoder.get_mut()));
                with_end(out, encoder.into_inner())
            }
        }
    }

    /// The whole body, compressed.
    pub(crate) fn whole(self, body: &[u8]) -> Bytes {
        self.each([body]).concat().into()
    }
}

fn flushed<E: Write, W: AsRef<[u8]>>(
    mut encoder: E,
    writes: impl IntoIterator<Item = W>,
    mut taken: impl FnMut(&mut E) -> Vec<u8>,
) -> (E, Vec<Bytes>) {
    let mut out = Vec::new();
    for write in writes {
        encoder.write_all(write.as_ref()).unwrap();
        encoder.flush().unwrap();
        out.push(taken(&mut encoder).into());
    }
    (encoder, out)
}

fn with_end(mut out: Vec<Bytes>, end: Vec<u8>) -> Vec<Bytes> {
    out.push(end.into());
    out
}

/// How a recorded answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dress {
    AsRecorded,
    WithoutType,
    In(Coding),
}

impl Dress {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::AsRecorded, Self::WithoutType];
        all.extend(Coding::ALL.map(Self::In));
        all
    }

    /// The answer in this form. A compressed stream is flushed at each event.
    pub(crate) fn put_on(self, recorded: &RecordedResponse) -> RecordedResponse {
        let mut given = recorded.clone();
        let without = |name: &str| {
            let lines = recorded.headers.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(name));
            lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        match self {
            Self::AsRecorded => {}
            Self::WithoutType => given.headers = without("content-type"),
            Self::In(_) if recorded.body.is_empty() => {}
            Self::In(coding) => {
                let is_complete = recorded.headers.get("content-length").is_some();
                given.headers = without("content-length");
                given.headers.push("content-encoding", coding.name());
                given.body = if is_complete {
                    let body = coding.whole(&recorded.body);
                    given.headers.push("content-length", body.len().to_string());
                    body
                } else {
                    let mut each = coding.each(sse::split(&recorded.body));
                    if recorded.end != trunkline_testkit::fixtures::End::Complete {
                        // What is cut has no end.
                        each.pop();
                    }
                    each.concat().into()
                };
            }
        }
        given
    }
}
