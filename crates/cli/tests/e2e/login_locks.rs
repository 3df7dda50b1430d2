//! Several programs with one login: they make one token call, and nobody is left with a token that is spent.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use trunkline_testkit::tmp::read_claude_tokens;
use trunkline_testkit::{Signal, Trunkline};

use crate::real_client_locks::ClaudeClient;
use crate::refresh::{Scene, call};
use crate::support::{Protocol, body, passing_refusal};

/// Lets the token endpoint answer after a while.
fn answers_after(scene: &Scene, delay: Duration) {
    if !delay.is_zero() {
        let go_on = Signal::new();
        scene.api.hold_refresh(&go_on);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            go_on.set();
        });
    }
}

async fn assert_serves(trunkline: &Trunkline) {
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    assert_eq!(response.status(), 200, "{}: {:#?}", response.text(), trunkline.stderr());
}

async fn instances_at_once(count: usize, delay: Duration) {
    let scene = Scene::new(-60).await;
    answers_after(&scene, delay);
    // Each has a home of its own, and with it a data directory.
    let mut starting = JoinSet::new();
    for _ in 0..count {
        let builder = crate::support::trunkline().config(&scene.config());
        starting.spawn(async move { builder.start().await.unwrap() });
    }
    let instances = starting.join_all().await;
    for trunkline in &instances {
        assert_serves(trunkline).await;
    }
    let (access, _) = scene.api.tokens("a");
    let used: Vec<_> = scene
        .upstream
        .requests()
        .iter()
        .filter(|request| request.path() == "/v1/messages")
        .map(|request| request.headers.get("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(used, vec![format!("Bearer {}", access.unwrap()); count]);
    for mut trunkline in instances {
        trunkline.stop().await.unwrap();
    }
    assert_eq!((scene.token_calls(), scene.api.refreshes("a")), (1, 1), "{count} instances, {delay:?}");
    scene.assert_written();
    scene.assert_clean();
}

#[tokio::test]
async fn instances_at_once_make_one_call() {
    let mut all = JoinSet::new();
    for count in [2, 4] {
        for delay in [0, 300, 4_000] {
            all.spawn(instances_at_once(count, Duration::from_millis(delay)));
        }
    }
    all.join_all().await;
}

async fn with_a_client(stale_after: Duration, delay: Duration, is_client_first: bool) {
    let scene = Scene::new(-60).await;
    answers_after(&scene, delay);
    let client = ClaudeClient::new(&scene.home.join(".claude"), scene.upstream.addr(), stale_after);
    let builder = crate::support::trunkline().config(&scene.config());
    let (mut trunkline, clients) = if is_client_first {
        let refreshing = tokio::spawn(async move { client.refreshed().await });
        (builder.start().await.unwrap(), refreshing)
    } else {
        let trunkline = builder.start().await.unwrap();
        (trunkline, tokio::spawn(async move { client.refreshed().await }))
    };
    assert_serves(&trunkline).await;
    let clients = clients.await.unwrap();
    trunkline.stop().await.unwrap();
    let (access, refresh) = scene.api.tokens("a");
    assert_eq!(Some(&clients), access.as_ref(), "the client has a good token");
    assert_eq!(read_claude_tokens(&scene.login).unwrap(), (access.unwrap(), refresh.unwrap()));
    assert_eq!(scene.token_calls(), 1, "{stale_after:?}, {delay:?}, {is_client_first}");
    scene.assert_clean();
}

#[tokio::test]
async fn the_providers_client_and_trunkline_make_one_call() {
    let mut all = JoinSet::new();
    for stale_after in [10, 60] {
        for delay in [0, 300, 4_000] {
            for is_client_first in [true, false] {
                all.spawn(with_a_client(
                    Duration::from_secs(stale_after),
                    Duration::from_millis(delay),
                    is_client_first,
                ));
            }
        }
    }
    all.join_all().await;
}

/// The locks of a refresh.
fn locks(scene: &Scene) -> [PathBuf; 2] {
    [scene.home.join(".claude/.oauth_refresh.lock"), scene.home.join(".claude.lock")]
}

#[tokio::test]
async fn locks_of_a_dead_program_are_taken_over() {
    let scene = Scene::new(-60).await;
    let long_ago = SystemTime::now() - Duration::from_secs(120);
    for lock in locks(&scene).into_iter().chain([scene.home.join(".claude/.storage-write.lock")]) {
        fs::create_dir(&lock).unwrap();
        fs::File::open(lock).unwrap().set_modified(long_ago).unwrap();
    }
    let mut trunkline = scene.start().await;
    assert_serves(&trunkline).await;
    trunkline.stop().await.unwrap();
    assert_eq!(scene.token_calls(), 1);
    scene.assert_written();
    scene.assert_clean();
}

#[tokio::test]
async fn locks_that_come_and_go_are_waited_for() {
    let scene = Scene::new(-60).await;
    let [lock, _] = locks(&scene);
    let busy = tokio::spawn(async move {
        for _ in 0..100 {
            if fs::create_dir(&lock).is_ok() {
                tokio::time::sleep(Duration::from_millis(15)).await;
                fs::remove_dir(&lock).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut trunkline = scene.start().await;
    assert_serves(&trunkline).await;
    busy.await.unwrap();
    trunkline.stop().await.unwrap();
    assert_eq!(scene.token_calls(), 1);
    scene.assert_written();
    scene.assert_clean();
}

#[tokio::test]
async fn a_lock_that_is_never_let_go_is_told_and_the_old_token_used_while_it_lasts() {
    // Each waits for real locks to be given up, so both at once.
    tokio::join!(a_lock_is_never_let_go(true), a_lock_is_never_let_go(false));
}

async fn a_lock_is_never_let_go(is_good: bool) {
    let scene = Scene::new(if is_good { 240 } else { -60 }).await;
    let [lock, _] = locks(&scene);
    fs::create_dir(&lock).unwrap();
    let kept = lock.clone();
    let keeping = tokio::spawn(async move {
        loop {
            fs::File::open(&kept).unwrap().set_modified(SystemTime::now()).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let trunkline = scene.start().await;
    let addr = trunkline.addr().unwrap();
    if is_good {
        assert_serves(&trunkline).await;
    }
    trunkline
        .stderr_line(|line| line.contains("refreshed later") && line.contains(".oauth_refresh.lock"))
        .await
        .unwrap();
    if is_good {
        assert_serves(&trunkline).await;
    } else {
        let text = passing_refusal(&Protocol::Http1.send(addr, &call(body())).await, 503, "api_error");
        assert!(text.contains("another program holds .oauth_refresh.lock"), "{text}");
    }
    assert_eq!(scene.token_calls(), 0);
    keeping.abort();
    let _ = keeping.await;
    fs::remove_dir(&lock).unwrap();
    // By itself, 10 s after it gave up.
    trunkline.stderr_line(|line| line.contains("login refreshed")).await.unwrap();
    assert_serves(&trunkline).await;
    scene.assert_written();
    scene.assert_clean();
}
