//! Bombs: few bytes that become many.

use std::io::Write as _;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::support::{ALICE, Bystander, RawH2, Target, frame, head, kind, scale};

const MIB: u64 = 1024;

/// What one body decodes to.
const DECODED: usize = 15 << 20;

/// The beginning of a body that decodes to [`DECODED`] bytes so far, and whose model has not come.
fn bombs() -> [(&'static str, Vec<u8>); 3] {
    let text = [&b"{\"messages\":[\""[..], &vec![b' '; DECODED]].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&text).unwrap();
    gzip.flush().unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&text).unwrap();
    zlib.flush().unwrap();
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    zstd.write_all(&text).unwrap();
    zstd.flush().unwrap();
    [("gzip", gzip.get_ref().clone()), ("deflate", zlib.get_ref().clone()), ("zstd", zstd.get_ref().clone())]
}

/// A hundred streams of one connection, each with the beginning of a compressed body that is large when it is decoded, and
/// then nothing.
#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_that_stall_hold_little() {
    let streams = 20 * u32::try_from(scale().min(5)).unwrap();
    for (name, bomb) in bombs() {
        // The model decides what alice may ask for, so that her bodies are read before they are sent.
        let users = json!([
            { "name": "alice", "token": ALICE, "models": ["claude-*"] },
            { "name": "bob", "token": crate::support::BOB },
        ]);
        let target = Target::answering(json!({ "users": users })).await;
        let bystander = Bystander::start(target.addr());
        let mut client = RawH2::connect(target.addr(), 65_535).await;
        client.settle().await;
        let mut bytes = 0;
        let mut write = Vec::new();
        for stream in (1..).step_by(2).take(streams as usize) {
            write.extend(head(stream, ALICE, &[("content-encoding", name)], 0));
            for piece in bomb.chunks(16 * 1024) {
                write.extend(frame(kind::DATA, 0, stream, piece));
            }
            bytes += bomb.len();
        }
        let (mut sends, reads) = client.keep_reading();
        sends.write_all(&write).await.unwrap();
        let peak = target.peak().await;
        println!("{name}: {streams} streams, {} KiB sent, memory + {peak} KiB", bytes / 1024);
        println!("{}", bystander.figures().await);
        // A user has half of the memory for bodies at most, however many streams there are.
        assert!(peak < 160 * MIB, "{name}: {peak} KiB");
        target.serves_bob().await;
        drop(sends);
        reads.abort();
    }
}
