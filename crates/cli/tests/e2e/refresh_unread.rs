//! Answers of the token endpoint that are compressed, cut or unreadable: the token in them is used or kept, never thrown away.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use trunkline_testkit::Script;
use trunkline_testkit::claude::Limits;
use trunkline_testkit::tmp::{ClaudeLogin, read_claude_tokens};

use crate::refresh::{Scene, TOKEN_PATH, call};
use crate::support::{Protocol, body, final_refusal};

fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(body, 3).unwrap(),
        "br" => {
            // A stored block and the empty last one (RFC 7932, 9): window bits 16, not the last, 4 nibbles of length.
            let head = (u32::try_from(body.len()).unwrap() - 1) << 4 | 1 << 20;
            [&head.to_le_bytes()[..3], body, &[3]].concat()
        }
        _ => body.to_vec(),
    }
}

fn json_answer() -> Script {
    Script::status(200).header("content-type", "application/json")
}

fn unread(scene: &Scene) -> PathBuf {
    scene.home.join(".claude/.credentials.json.trunkline-refresh.unread")
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    for (coding, header) in
        [("gzip", "gzip"), ("deflate", "deflate"), ("br", "br"), ("zstd", "zstd"), ("gzip", ""), ("", "gzip")]
    {
        let scene = Scene::new(-60).await;
        scene.api.shape_refresh(move |tokens| {
            let body = encoded(coding, tokens);
            let answer = json_answer();
            if header.is_empty() {
                answer.body(body)
            } else {
                answer.header("content-encoding", header).body(body)
            }
        });
        let mut trunkline = scene.start().await;
        let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
        assert_eq!(response.status(), 200, "{coding} as {header}: {}", response.text());
        trunkline.stop().await.unwrap();
        assert_eq!(scene.token_calls(), 1);
        scene.assert_written();
        scene.assert_clean();
    }
}

#[tokio::test]
async fn every_request_of_our_own_asks_for_no_compression() {
    let scene = Scene::new(-60).await;
    let mut trunkline = scene.start_polled().await;
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await.status(), 200);
    // Refused, which is checked by a poll.
    scene.api.revoke_access("a");
    Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    trunkline.stop().await.unwrap();
    let own: Vec<_> =
        scene.upstream.requests().into_iter().filter(|request| request.path() != "/v1/messages").collect();
    assert!(own.iter().any(|request| request.target == TOKEN_PATH), "{own:?}");
    assert!(own.iter().any(|request| request.path() == "/api/oauth/usage"), "{own:?}");
    for request in own {
        assert_eq!(request.headers.get("accept-encoding"), Some("identity"), "{}", request.target);
    }
}

#[tokio::test]
async fn a_compressed_poll_is_read() {
    let scene = Scene::new(8 * 3_600).await;
    let usage = Limits::five_hour_rejected().usage();
    let answer = json_answer().header("content-encoding", "gzip");
    scene.api.next_on("/api/oauth/usage", answer.body(encoded("gzip", usage.to_string().as_bytes())));
    let trunkline = scene.start().await;
    trunkline.stderr_line(|line| line.contains("(5h)")).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_cut_behind_its_tokens_is_used() {
    let scene = Scene::new(-60).await;
    scene.api.shape_refresh(|tokens| {
        let tokens: Value = serde_json::from_slice(tokens).unwrap();
        let text = format!(
            r#"{{"access_token":{},"refresh_token":{},"expires_in":28800,"sco"#,
            tokens["access_token"], tokens["refresh_token"]
        );
        json_answer().header("content-length", "4000").body(text).close()
    });
    let mut trunkline = scene.start().await;
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    trunkline.stop().await.unwrap();
    assert_eq!(scene.token_calls(), 1, "the token that was sent is spent, so it is not sent again");
    scene.assert_written();
    scene.assert_clean();
}

#[tokio::test]
async fn an_answer_that_is_cut_before_its_refresh_token_serves_as_long_as_it_can() {
    let scene = Scene::new(-60).await;
    scene.api.shape_refresh(|tokens| {
        let tokens: Value = serde_json::from_slice(tokens).unwrap();
        let text = format!(r#"{{"access_token":{},"refresh_tok"#, tokens["access_token"]);
        json_answer().header("content-length", "4000").body(text).close()
    });
    let trunkline = scene.start().await;
    // The call is repeated, and refused, since the token is spent.
    trunkline.stderr_line(|line| line.contains("login refreshed")).await.unwrap();
    assert_eq!(scene.token_calls(), 2);
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(Some(read_claude_tokens(&scene.login).unwrap().0), scene.api.tokens("a").0);
}

#[tokio::test]
async fn an_unreadable_answer_is_kept_told_and_read_by_whoever_can() {
    let scene = Scene::new(-60).await;
    // As if by a coding that only a later version knows: here one that the header hides, and that shows no mark.
    scene.api.shape_refresh(|tokens| {
        json_answer().header("content-encoding", "x-new").body(encoded("br", tokens))
    });
    let before = std::fs::read(&scene.login).unwrap();
    let mut trunkline = scene.start().await;
    trunkline.stderr_line(|line| line.contains("no token can be read from its answer")).await.unwrap();
    trunkline
        .stderr_line(|line| line.contains("could not be refreshed") && line.contains("unread"))
        .await
        .unwrap();
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    let text = final_refusal(&response, 503, "api_error");
    assert!(text.contains("no token could be read from the provider's answer: it is compressed"), "{text}");
    trunkline.stop().await.unwrap();
    assert_eq!(std::fs::read(&scene.login).unwrap(), before, "the login is left as it is");
    assert!(unread(&scene).exists());

    // Doctor says where it is, and how the token is taken out by hand.
    let file = scene.home.write("trunkline.json", scene.config().to_string()).unwrap().display().to_string();
    let output =
        crate::support::trunkline().args(["doctor", "--offline", "--json", "-c", &file]).run().await.unwrap();
    let output = output.stdout.join("\n");
    let (access, refresh) = scene.api.tokens("a");
    let (access, refresh) = (access.unwrap(), refresh.unwrap());
    let command =
        output.lines().find_map(|line| line.split_once("tail -c +")).unwrap_or_else(|| panic!("{output}")).1;
    let [from, rest] = command.splitn(2, ' ').collect::<Vec<_>>()[..] else { panic!("{command}") };
    let length = rest.split("head -c ").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let file = std::fs::read(unread(&scene)).unwrap();
    let (from, length): (usize, usize) = (from.parse().unwrap(), length.parse().unwrap());
    let taken = &file[from - 1..from - 1 + length];
    let text = String::from_utf8_lossy(taken);
    assert!(text.contains(&access) && text.contains(&refresh), "the raw bytes are there");
    assert!(!output.contains(&access) && !output.contains(&refresh));

    // The next start tells again; then the owner logs in, and it is of no use any more.
    let mut trunkline = scene.start().await;
    trunkline.stderr_line(|line| line.contains("still kept")).await.unwrap();
    trunkline.stderr_line(|line| line.contains("unavailable: login expired")).await.unwrap();
    ClaudeLogin::new(access, refresh).expires_in(8 * 3_600).write_to(&scene.home.join(".claude")).unwrap();
    trunkline.stderr_line(|line| line.contains("unavailable \u{2192} usable")).await.unwrap();
    trunkline.stop().await.unwrap();
    let mut trunkline = scene.start().await;
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await.status(), 200);
    trunkline.stop().await.unwrap();
    assert!(!unread(&scene).exists());
    assert!(unread(&scene).with_extension("superseded").exists());
}

#[tokio::test]
async fn an_answer_from_somebody_on_the_way_is_waited_out() {
    for (answer, why) in [
        (Script::text(200, "<html>please log in to the network</html>"), "it is not a JSON object"),
        (Script::json(200, &json!({ "token": "none" })), "it holds no usable token"),
        (Script::status(200).body(vec![b' '; 2 << 20]), "it is longer than 1 MiB"),
    ] {
        let scene = Scene::new(-60).await;
        scene.api.next_on(TOKEN_PATH, answer);
        let mut trunkline = scene.start().await;
        trunkline.stderr_line(|line| line.contains("blocked (refresh_cooldown), until")).await.unwrap();
        trunkline.stderr_line(|line| line.contains(why)).await.unwrap();
        trunkline.stop().await.unwrap();
        assert!(unread(&scene).exists());
        // The token that was sent is good, and is sent again.
        let mut trunkline = scene.start().await;
        assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await.status(), 200);
        trunkline.stop().await.unwrap();
        scene.assert_written();
    }
}
