//! What a WebSocket costs while nothing happens on it. On Linux, where memory can be read.

use serde_json::json;
use trunkline_testkit::Trunkline;

use crate::support::socket::{Set, create, good_turn};

const SOCKETS: usize = 2_000;

/// The most, in KiB. It was 10 when this was written.
const MOST_PER_SOCKET: u64 = 20;

/// Resident memory of the binary, in KiB.
fn resident(trunkline: &Trunkline) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", trunkline.pid().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// `cargo test --release -p trunkline --test e2e -- --ignored --nocapture idle_sockets_cost_little`; three descriptors for
/// each socket are needed in the test (`ulimit -n 16384`).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures memory of an optimised build, and needs 6,000 file descriptors: run by the command above"]
async fn idle_sockets_cost_little() {
    let set = Set::with(&["a"], |config| {
        config["services"][0]["max_connections"] = json!(SOCKETS * 2);
        config["services"][0]["max_connections_per_address"] = json!(SOCKETS * 2);
    })
    .await;
    set.upstream.set_recording(false);
    let mut links = Vec::new();
    // What is needed once.
    for warm in 0..100 {
        let mut link = set.open(&format!("warm-{warm}")).await;
        good_turn(&mut link, &create()).await;
    }
    let before = resident(&set.trunkline);
    for number in 0..SOCKETS {
        let mut link = set.open(&format!("session-{number}")).await;
        good_turn(&mut link, &create()).await;
        links.push(link);
    }
    let idle = resident(&set.trunkline);
    let per_socket = idle.saturating_sub(before) / SOCKETS as u64;
    println!("{SOCKETS} idle sockets: {before} KiB before, {idle} KiB with them, {per_socket} KiB each");
    assert!(per_socket <= MOST_PER_SOCKET, "{per_socket} KiB each");
    // They are all still good.
    for link in links.iter_mut().step_by(97) {
        good_turn(link, &create()).await;
    }
}
