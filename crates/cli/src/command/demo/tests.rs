//! What is shown, and that the configuration is one.

use super::*;
use display::{Credential, Numbers, User, line, over, table};
use traffic::Counts;

fn numbers(seconds: u64) -> Numbers {
    let user = |name, asked, failed, head_after| User {
        name,
        counts: Counts { asked, answered: asked - failed, failed, head_after },
    };
    let credential = |tag, kind, served, used| Credential { tag, kind, served, used };
    Numbers {
        users: vec![
            user("alice", 12, 0, Some(Duration::from_micros(2_340))),
            user("bob", 11, 1, Some(Duration::from_millis(103))),
            user("eve", 0, 0, None),
        ],
        credentials: vec![
            credential("login", "login file", 12, Some(48.0)),
            credential("token", "OAuth token", 10, Some(100.0)),
            credential("key", "API key", 2, None),
        ],
        after: Duration::from_secs(seconds),
    }
}

#[test]
fn the_table_shows_every_client_and_credential() {
    let expected = "\
user            asked   answered   failed   head after
alice              12         12        0       2.3 ms
bob                11         10        1     103.0 ms
eve                 0          0        0            -
credential     served       used  which is
login              12       48 %  login file
token              10      100 %  OAuth token
key                 2   no limit  API key
after 61 s; \"served\" is what the simulated providers saw, yours included
";
    let table = table(&numbers(61));
    assert_eq!(table, expected);
    assert!(table.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_line_says_the_same() {
    assert_eq!(
        line(&numbers(5)),
        "after 5 s: alice 12 of 12 answered, bob 10 of 11 answered (1 failed), eve 0 of 0 answered; \
         the simulated providers saw 12 of login (48 % used), 10 of token (100 % used), 2 of key\n"
    );
}

#[test]
fn a_table_is_drawn_over_the_one_before() {
    assert_eq!(over("a\nb\n", 0), "\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h");
    assert!(over("a\n", 5).starts_with("\x1b[5A\r"));
}

#[test]
fn only_a_terminal_of_its_own_gets_a_table() {
    assert_eq!(Manner::of(true, false, Some("xterm")), Manner::Table);
    for (on_terminal, with_log, term) in [
        (false, false, Some("xterm")),
        (true, true, Some("xterm")),
        (true, false, Some("dumb")),
        (true, false, None),
    ] {
        assert_eq!(Manner::of(on_terminal, with_log, term), Manner::Lines);
    }
}

#[test]
fn an_address_of_every_kind_is_reached_from_here() {
    for (bound, reached) in
        [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("127.0.0.2:1", "127.0.0.2:1")]
    {
        assert_eq!(reachable(bound.parse().unwrap()), reached.parse().unwrap());
    }
}

#[tokio::test]
async fn the_configuration_is_valid_without_a_warning_and_goes_with_the_scene() {
    let scene = Scene::new().await.unwrap();
    let address = "127.0.0.1:8787".parse().unwrap();
    let file = scene.write_configuration(Listen { claude: address, codex: address }, false).unwrap();
    let found = configuration::find(Some(file.clone())).unwrap();
    assert!(found.warnings.is_empty() && found.exposed.is_empty());
    let counts = found.config.services.iter().map(|one| (one.credentials.len(), one.users.len()));
    assert_eq!(counts.collect::<Vec<_>>(), [(3, 3), (2, 3)]);
    drop(scene);
    assert!(!file.exists());
}

#[tokio::test]
async fn the_server_ends_after_the_last_answer_of_the_demos_own_clients() {
    let drain = Drain::default();
    let asking = drain.part();
    let (clients, answered) = (TaskTracker::new(), Arc::new(tokio::sync::Notify::new()));
    clients.spawn({
        let answered = Arc::clone(&answered);
        async move { answered.notified().await }
    });
    clients.close();
    let mut ending = std::pin::pin!(end_in_order(&asking, &clients, &drain));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    asking.stop();
    for _ in 0..3 {
        assert!(ending.as_mut().poll(&mut context).is_pending());
        assert!(!drain.is_stopping(), "a request is under way");
        tokio::task::yield_now().await;
    }
    answered.notify_one();
    ending.await;
    assert!(drain.is_stopping());
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_answers() {
    let drain = Drain::default();
    let asking = drain.part();
    let clients = TaskTracker::new();
    clients.spawn(std::future::pending::<()>());
    clients.close();
    drain.abort();
    end_in_order(&asking, &clients, &drain).await;
    assert!(drain.is_stopping());
}
