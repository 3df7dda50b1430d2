//! The rounds: at every point, at every two points, and at any time.

use std::time::{Duration, Instant};

use crate::scene::{Layout, Scene, is_done};
use crate::tally::{Round, Tally};

/// How often it is killed at random, if the environment says so; then every pair of points is tried as well.
fn kills() -> Option<usize> {
    std::env::var("TRUNKLINE_KILLS").ok().map(|kills| kills.parse().unwrap())
}

/// The points on the way of a refresh that nothing disturbs.
async fn points(layout: Layout) -> Vec<String> {
    let scene = Scene::new(layout).await;
    assert!(!scene.dies_at(u64::MAX).await);
    let points = scene.take_points();
    let must_have: &[&str] = if layout == Layout::InPlace {
        &[
            "call.before",
            "call.sent",
            "call.body",
            "answer.synced",
            "try.synced",
            "login.half_overwritten",
            "journal.removed",
        ]
    } else {
        &[
            "journal.directory_synced",
            "call.before",
            "call.connected",
            "call.sent",
            "call.head",
            "call.body",
            "answer.synced",
            "login.half_written",
            "login.renamed",
            "journal.removed",
        ]
    };
    let order: Vec<_> =
        must_have.iter().map(|wanted| points.iter().rposition(|point| point == wanted)).collect();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{layout:?}: {points:?}");
    for told in ["renewed.telling", "renewed.told"] {
        assert!(points.iter().any(|point| point == told), "{told}: {points:?}");
    }
    points
}

/// Points between the provider's answer and the synced journal.
const BEFORE_THE_ANSWER_IS_SAFE: [&str; 5] =
    ["call.sent", "call.head", "call.body", "answer.received", "answer.half_written"];

async fn dies_once(layout: Layout, at: u64) -> Round {
    let scene = Scene::new(layout).await;
    if !scene.dies_at(at).await {
        return Round::Survived;
    }
    let points = scene.take_points();
    let round = scene.recovers(&points).await;
    if matches!(round, Round::NeverCame(_))
        && !BEFORE_THE_ANSWER_IS_SAFE.contains(&points.last().unwrap().as_str())
    {
        return Round::Lost(format!("{layout:?}: it died elsewhere: {points:?}"));
    }
    round
}

async fn dies_twice(layout: Layout, first: u64, second: u64) -> Round {
    let scene = Scene::new(layout).await;
    if !scene.dies_at(first).await {
        return Round::Survived;
    }
    let mut points = scene.take_points();
    scene.dies_at(second).await;
    points.extend(scene.take_points());
    scene.recovers(&points).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_dies_at_every_point() {
    let mut rounds = Vec::new();
    for layout in Layout::all() {
        let count = points(layout).await.len() as u64;
        rounds.extend((1..=count).map(|at| dies_once(layout, at)));
    }
    let all = rounds.len();
    let tally = Tally::of(rounds).await;
    tally.report("at every point");
    // The order in which the keeper and the refresh pass theirs is not fixed, so the last one may be passed after the end.
    assert!(tally.survived <= all / 20, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_dies_again_while_it_finishes_what_the_one_before_left() {
    let mut rounds = Vec::new();
    for layout in Layout::all() {
        let points = points(layout).await;
        let named = points.iter().position(|point| point == "journal.named").unwrap() as u64 + 1;
        let count = points.len() as u64;
        for first in named..=count {
            // One of the second deaths for each of the first is for every day.
            let every = if kills().is_some() {
                1..=count
            } else {
                let at = fastrand::u64(1..=16);
                at..=at
            };
            rounds.extend(every.map(|second| dies_twice(layout, first, second)));
        }
    }
    Tally::of(rounds).await.report("at every point and again");
}

async fn is_killed(layout: Layout, usual: Duration) -> Round {
    let scene = Scene::new(layout).await;
    let mut process = scene.spawn(None);
    if fastrand::bool() {
        std::thread::sleep(usual.mul_f64(fastrand::f64() * 1.1));
    } else {
        // Around the token call.
        scene.upstream.requests_reached(1).await.unwrap();
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..10_000)));
    }
    process.kill().await.unwrap();
    let mut points = scene.take_points();
    if fastrand::u8(0..3) == 0 {
        let mut process = scene.spawn(None);
        std::thread::sleep(usual.mul_f64(fastrand::f64()));
        process.kill().await.unwrap();
        points.extend(scene.take_points());
    }
    scene.recovers(&points).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_killed_at_any_time() {
    let layouts = Layout::all();
    let mut usual = Duration::ZERO;
    for _ in 0..3 {
        let scene = Scene::new(Layout::Plain).await;
        let begun = Instant::now();
        let mut process = scene.spawn(None);
        process.stderr_line_or_end(is_done).await.unwrap();
        usual = usual.max(begun.elapsed());
        process.kill().await.unwrap();
    }
    let rounds = (0..kills().unwrap_or(100)).map(|round| is_killed(layouts[round % layouts.len()], usual));
    Tally::of(rounds).await.report("killed at any time");
}
