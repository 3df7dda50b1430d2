//! Changes while it runs: of the configuration, by signal and by themselves, and of certificates.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use trunkline_testkit::client::{Connection, Ended, H2Client, send};
use trunkline_testkit::ports::free_port;
use trunkline_testkit::{Authority, Script, Signal, Trunkline, Upstream};

use crate::support::{
    Current, body, config, connect, final_refusal, message, read_bytes, refusal, service, trunkline, with,
};

fn ok() -> Current {
    Current::new(Script::json(200, &json!({ "ok": true })))
}

/// An instance that changes on SIGHUP alone.
async fn start(config: &Value) -> Trunkline {
    trunkline().config(config).arg("--no-watch").start().await.unwrap()
}

fn write(trunkline: &Trunkline, config: &Value) {
    trunkline.home().write("trunkline.json", config.to_string()).unwrap();
}

/// Changes the configuration, for the `nth` time.
async fn reload(trunkline: &Trunkline, nth: usize, config: &Value) -> String {
    write(trunkline, config);
    trunkline.signal("HUP").await.unwrap();
    trunkline.nth_stderr_line(nth, |line| line.contains("reloaded:")).await.unwrap()
}

#[tokio::test]
async fn users_credentials_and_headers_change_and_a_stream_goes_on() {
    let go_on = Signal::new();
    let answers = Current::new(Script::status(200).chunk("one").wait(&go_on).chunk("two"));
    let upstream = Upstream::start(answers.clone()).await.unwrap();
    let before = service(&upstream.url());
    let trunkline = start(&config(&before)).await;
    let mut streaming = connect(&trunkline).await;
    streaming.write_request(&message(body())).await.unwrap();
    streaming.head().await.unwrap();
    assert_eq!(read_bytes(&mut streaming, 3).await, "one");
    let mut kept_alive = connect(&trunkline).await;

    answers.set(Script::json(200, &json!({ "ok": true })));
    let after = with(
        before,
        json!({
            "users": [{ "name": "ben", "token": "token-of-ben" }],
            "credentials": [{ "tag": "main", "oauth_token": "another-token" }],
            "headers": { "x-team": "blue" },
        }),
    );
    reload(&trunkline, 1, &config(&after)).await;
    for change in ["user alice removed", "user ben added", "credential main changed", "headers changed"] {
        trunkline.stderr_line(|line| line.contains(change)).await.unwrap();
    }
    // On a connection of before as well.
    let refused = kept_alive.send(&message(body())).await.unwrap();
    final_refusal(&refused, 401, "authentication_error");
    let accepted = kept_alive
        .send(
            &trunkline_testkit::client::Request::post(crate::support::MESSAGES, body())
                .bearer("token-of-ben"),
        )
        .await
        .unwrap();
    assert_eq!(accepted.status(), 200);
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.headers.get("authorization"), Some("Bearer another-token"));
    assert_eq!(received.headers.get("x-team"), Some("blue"));

    go_on.set();
    assert_eq!(read_bytes(&mut streaming, 3).await, "two");
    assert_eq!(streaming.frame().await.unwrap(), trunkline_testkit::client::Frame::End(Ended::Complete));
}

#[tokio::test]
async fn an_invalid_configuration_changes_nothing_and_every_problem_is_told() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let before = service(&upstream.url());
    let trunkline = start(&config(&before)).await;
    for (nth, (broken, problems)) in [
        (
            json!({ "services": [with(before.clone(), json!({ "listen_prot": 1, "max_body": "many" }))] }),
            vec!["listen_prot", "max_body"],
        ),
        (json!([]), vec!["expected an object"]),
    ]
    .into_iter()
    .enumerate()
    {
        write(&trunkline, &broken);
        trunkline.signal("HUP").await.unwrap();
        trunkline.nth_stderr_line(nth + 1, |line| line.contains("configuration not reloaded")).await.unwrap();
        for problem in problems {
            trunkline.stderr_line(|line| line.contains(problem)).await.unwrap();
        }
        assert_eq!(connect(&trunkline).await.send(&message(body())).await.unwrap().status(), 200);
    }
    // A port that somebody else holds is found before anything has changed.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere =
        json!({ "listen_port": held.local_addr().unwrap().port(), "users": [{ "name": "b", "token": "b" }] });
    write(&trunkline, &config(&with(before, elsewhere)));
    trunkline.signal("HUP").await.unwrap();
    trunkline.nth_stderr_line(3, |line| line.contains("configuration not reloaded")).await.unwrap();
    trunkline.stderr_line(|line| line.contains("the port is in use")).await.unwrap();
    assert_eq!(connect(&trunkline).await.send(&message(body())).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_listener_moves_and_the_streams_of_the_old_one_finish() {
    let go_on = Signal::new();
    let upstream = Upstream::start(Current::new(Script::status(200).chunk("one").wait(&go_on).chunk("two")))
        .await
        .unwrap();
    let before = service(&upstream.url());
    let trunkline = start(&config(&before)).await;
    let old = trunkline.addr().unwrap();
    let mut streaming = connect(&trunkline).await;
    streaming.write_request(&message(body())).await.unwrap();
    streaming.head().await.unwrap();
    assert_eq!(read_bytes(&mut streaming, 3).await, "one");
    let mut idle = connect(&trunkline).await;

    let port = free_port().unwrap();
    reload(&trunkline, 1, &config(&with(before, json!({ "listen_port": port })))).await;
    assert!(idle.is_closed_next().await.unwrap());
    assert!(TcpStream::connect(old).await.is_err(), "the old address is closed");
    go_on.set();
    let new = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(send(new, &message(body())).await.unwrap().text(), "onetwo");
    assert_eq!(read_bytes(&mut streaming, 3).await, "two");
    assert_eq!(streaming.frame().await.unwrap(), trunkline_testkit::client::Frame::End(Ended::Complete));
}

#[tokio::test]
async fn an_address_that_overlaps_the_old_one_is_moved_to_and_back() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let port = free_port().unwrap();
    let at = |address: &str| {
        config(&with(service(&upstream.url()), json!({ "listen": address, "listen_port": port })))
    };
    let trunkline = start(&at("127.0.0.1")).await;
    for (nth, address) in ["0.0.0.0", "::", "127.0.0.1"].into_iter().enumerate() {
        reload(&trunkline, nth + 1, &at(address)).await;
        let response = send(SocketAddr::from(([127, 0, 0, 1], port)), &message(body())).await.unwrap();
        assert_eq!(response.status(), 200, "{address}");
    }
}

#[tokio::test]
async fn services_come_and_go() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let one = with(
        service(&upstream.url()),
        json!({ "tag": "one", "path": "/one", "listen_port": free_port().unwrap() }),
    );
    let two = with(one.clone(), json!({ "tag": "two", "path": "/two" }));
    let trunkline = start(&config(&one)).await;
    let mut connection = connect(&trunkline).await;
    let to = |path: &str| {
        trunkline_testkit::client::Request::post(&format!("/{path}/v1/messages"), body())
            .bearer(crate::support::USER_TOKEN)
    };
    assert_eq!(connection.send(&to("two")).await.unwrap().status(), 404);
    reload(&trunkline, 1, &json!({ "services": [one.clone(), two.clone()] })).await;
    assert_eq!(connection.send(&to("two")).await.unwrap().status(), 200);
    reload(&trunkline, 2, &config(&two)).await;
    let gone = connection.send(&to("one")).await.unwrap();
    refusal(&gone, 404, "not_found_error");
    assert_eq!(connection.send(&to("two")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_changed_file_is_noticed_by_itself() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let before = service(&upstream.url());
    let trunkline = trunkline().config(&config(&before)).start().await.unwrap();
    let after = with(before, json!({ "users": [{ "name": "ben", "token": "token-of-ben" }] }));
    // As editors do it.
    let fresh = trunkline.home().write("fresh.json", config(&after).to_string()).unwrap();
    std::fs::rename(fresh, trunkline.home().path().join("trunkline.json")).unwrap();
    trunkline.stderr_line(|line| line.contains("reloaded: 2 changes")).await.unwrap();
    let refused = connect(&trunkline).await.send(&message(body())).await.unwrap();
    final_refusal(&refused, 401, "authentication_error");
}

#[tokio::test]
async fn what_the_command_line_says_stays() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let before = service(&upstream.url());
    let port = free_port().unwrap();
    let trunkline = trunkline()
        .config(&config(&before))
        .args(["serve", "--no-watch", "--listen", &port.to_string()])
        .start()
        .await
        .unwrap();
    assert_eq!(trunkline.addr().unwrap().port(), port);
    let said = reload(&trunkline, 1, &config(&with(before, json!({ "max_body": "1MiB" })))).await;
    assert!(said.contains("1 change"), "{said}");
    assert_eq!(connect(&trunkline).await.send(&message(body())).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_log_changes_its_level_shape_and_file() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let before = service(&upstream.url());
    let logging = |log: Value| with(config(&before), json!({ "log": log }));
    let trunkline = start(&logging(json!({ "level": "info", "format": "json" }))).await;
    let file = trunkline.home().path().join("out.log");
    write(&trunkline, &logging(json!({ "level": "debug", "format": "pretty", "output": file })));
    trunkline.signal("HUP").await.unwrap();
    // What is said of this reload is in the new file already.
    let mut connection = connect(&trunkline).await;
    let text = loop {
        assert_eq!(connection.send(&message(body())).await.unwrap().status(), 200);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if text.contains("configuration reloaded: 1 change") && text.contains("request") {
            break text;
        }
    };
    assert!(!text.contains('{') || !text.contains("\"level\""), "{text}");
    // The file may be moved away.
    std::fs::rename(&file, file.with_extension("old")).unwrap();
    trunkline.signal("HUP").await.unwrap();
    while !std::fs::read_to_string(&file).unwrap_or_default().contains("log file opened again") {
        assert_eq!(connection.send(&message(body())).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn certificates_are_swapped_and_connections_stay() {
    let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (certificate, key) = old.issue_files().unwrap();
    let upstream = Upstream::start(ok()).await.unwrap();
    let tls = json!({ "enabled": true, "certificate_path": certificate, "key_path": key });
    let trunkline = trunkline()
        .config(&config(&with(service(&upstream.url()), json!({ "tls": tls }))))
        .start()
        .await
        .unwrap();
    let addr = trunkline.addr().unwrap();
    let mut http1 = Connection::connect_tls(addr, &old).await.unwrap();
    let mut http2 = H2Client::connect_tls(addr, &old).await.unwrap();
    assert_eq!(http1.send(&message(body())).await.unwrap().status(), 200);

    // Half of the change is no reason to stop.
    let (other_certificate, other_key) = new.issue_files().unwrap();
    std::fs::copy(&other_key, &key).unwrap();
    trunkline
        .stderr_line(|line| line.contains("does not belong to") && line.contains("stay in use"))
        .await
        .unwrap();
    Connection::connect_tls(addr, &old).await.unwrap();
    std::fs::copy(&other_certificate, &certificate).unwrap();
    trunkline.stderr_line(|line| line.contains("certificates reloaded")).await.unwrap();
    let mut fresh = Connection::connect_tls(addr, &new).await.unwrap();
    assert!(Connection::connect_tls(addr, &old).await.is_err());
    for connection in [&mut http1, &mut fresh] {
        assert_eq!(connection.send(&message(body())).await.unwrap().status(), 200);
    }
    assert_eq!(http2.send(&message(body())).await.unwrap().status(), 200);
}

#[tokio::test]
async fn whoever_came_in_clear_does_not_stay_when_tls_is_asked_for() {
    let authority = Authority::new().unwrap();
    let (certificate, key) = authority.issue_files().unwrap();
    let upstream = Upstream::start(ok()).await.unwrap();
    let before = service(&upstream.url());
    let trunkline = start(&config(&before)).await;
    let mut plain = connect(&trunkline).await;
    assert_eq!(plain.send(&message(body())).await.unwrap().status(), 200);
    let tls = json!({ "enabled": true, "certificate_path": certificate, "key_path": key });
    reload(&trunkline, 1, &config(&with(before, json!({ "tls": tls })))).await;
    assert!(plain.is_closed_next().await.unwrap());
    let mut secret = Connection::connect_tls(trunkline.addr().unwrap(), &authority).await.unwrap();
    assert_eq!(secret.send(&message(body())).await.unwrap().status(), 200);
}
