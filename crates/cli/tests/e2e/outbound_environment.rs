//! Proxies and certificate authorities that the environment names.

use serde_json::{Value, json};
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::proxy::ProxyKind;
use trunkline_testkit::{Alpn, Authority, Proxy, TempDir, Trunkline, Upstream};

use crate::outbound::ok;
use crate::support::{body, config, connect, message, passing_refusal, service, trunkline, with};

/// A name that no resolver knows (RFC 6761).
const NAME: &str = "api.trunkline.invalid";

/// A provider that only a proxy reaches.
async fn far() -> Upstream {
    Upstream::start_tls_named(ok(), &[Alpn::H2, Alpn::Http1], NAME).await.unwrap()
}

fn service_of(upstream: &Upstream) -> Value {
    let ca_path = upstream.authority().unwrap().file().unwrap();
    with(
        service(&upstream.url()),
        json!({
            "upstream": { "api_url": upstream.url(), "ca_path": ca_path },
            "timeouts": { "connect": "5s" },
            // Its usage is not polled, so that nothing but requests goes this way.
            "credentials": [{ "tag": "main", "type": "api_key", "api_key": "sk-ant-api-x" }],
        }),
    )
}

async fn serve(service: &Value, vars: &[(&str, String)]) -> Trunkline {
    let builder = trunkline().config(&config(service));
    vars.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start().await.unwrap()
}

async fn status(trunkline: &Trunkline) -> u16 {
    connect(trunkline).await.send(&message(body())).await.unwrap().status()
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_used_and_shown() {
    for (name, scheme, kind, login) in [
        ("HTTPS_PROXY", "http", ProxyKind::Http, false),
        ("https_proxy", "http", ProxyKind::Http, true),
        ("ALL_PROXY", "socks5h", ProxyKind::Socks5, true),
        ("all_proxy", "socks4a", ProxyKind::Socks4, true),
    ] {
        let upstream = far().await;
        let proxy = Proxy::builder(kind).to(upstream.addr());
        let proxy = if login { proxy.login("m@e", "p:ss") } else { proxy };
        let proxy = proxy.start().await.unwrap();
        let user_info = if login { "m%40e:p%3Ass@" } else { "" };
        let value = format!("{scheme}://{user_info}{}", proxy.addr());
        let mut trunkline = serve(&service_of(&upstream), &[(name, value)]).await;
        assert_eq!(status(&trunkline).await, 200, "{name}: {:?}", trunkline.stderr());
        let asked = proxy.asked();
        assert_eq!(asked[0].target, format!("{NAME}:443"), "{name}");
        let password = if kind == ProxyKind::Socks4 { "" } else { "p:ss" };
        assert_eq!(asked[0].login, login.then(|| ("m@e".to_owned(), password.to_owned())));
        let output = trunkline.stop().await.unwrap();
        let masked = if login { "***:***@" } else { "" };
        let shown = format!("    through {name} ({scheme}://{masked}{})", proxy.addr());
        assert!(output.stdout.contains(&shown), "{shown}: {:?}", output.stdout);
        assert!(!output.text().contains("p%3Ass") && !output.text().contains("p:ss"), "{}", output.text());
    }
}

#[tokio::test]
async fn a_proxy_over_tls_is_checked_against_the_named_authorities() {
    let upstream = far().await;
    let authority = Authority::new().unwrap();
    let proxy = Proxy::builder(ProxyKind::Http).to(upstream.addr()).tls(&authority).start().await.unwrap();
    let url = format!("https://localhost:{}", proxy.addr().port());
    let service = service_of(&upstream);
    let file = authority.file().unwrap().display().to_string();
    let vars = [("HTTPS_PROXY", url.clone()), ("SSL_CERT_FILE", file)];
    assert_eq!(status(&serve(&service, &vars).await).await, 200);
    assert_eq!(status(&serve(&service, &[("HTTPS_PROXY", url)]).await).await, 502);
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn names_are_looked_up_here_for_socks5_and_at_the_proxy_for_socks5h() {
    // An address for documentation (RFC 5737) that nothing here can look up or reach.
    let upstream = Upstream::start_tls_named(ok(), &[Alpn::Http1], "192.0.2.1").await.unwrap();
    let proxy = Proxy::builder(ProxyKind::Socks5).to(upstream.addr()).start().await.unwrap();
    let vars = [("ALL_PROXY", format!("socks5://{}", proxy.addr()))];
    assert_eq!(status(&serve(&service_of(&upstream), &vars).await).await, 200);
    assert_eq!(proxy.asked()[0].target, "192.0.2.1:443");
    let named = far().await;
    let trunkline = serve(&service_of(&named), &vars).await;
    assert_eq!(status(&trunkline).await, 502);
    assert_eq!(proxy.asked().len(), 1, "the name was sent to the proxy");
}

#[tokio::test]
async fn loopback_exceptions_and_detours_do_without_it() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let tls = Upstream::start_tls(ok(), &[Alpn::H2]).await.unwrap();
    let proxy = Proxy::start(ProxyKind::Http).await.unwrap();
    let all = ("ALL_PROXY", format!("http://{}", proxy.addr()));
    for service in [service(&upstream.url()), service_of(&tls)] {
        let mut trunkline = serve(&service, std::slice::from_ref(&all)).await;
        assert_eq!(status(&trunkline).await, 200);
        assert!(!trunkline.stop().await.unwrap().text().contains("through"));
    }
    // Neither of these can be reached from here: that the proxy is not asked is what counts.
    let far = far().await;
    for list in [NAME, "*.invalid", "*", "other, .trunkline.invalid:443"] {
        let vars = [all.clone(), ("NO_PROXY", list.to_owned())];
        let trunkline = serve(&service_of(&far), &vars).await;
        let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
        passing_refusal(&response, 502, "api_error");
    }
    let mut direct = service_of(&far);
    direct["credentials"][0]["detour"] = json!("direct");
    let direct = with(config(&direct), json!({ "outbounds": [{ "type": "direct", "tag": "direct" }] }));
    let trunkline = trunkline().config(&direct).env(all.0, &all.1).start().await.unwrap();
    assert_eq!(status(&trunkline).await, 502);
    assert!(proxy.asked().is_empty(), "{:?}", proxy.asked());
    // And an entry that means others leaves it in use.
    let vars = [all, ("NO_PROXY", "other.invalid,10.0.0.0/8".to_owned())];
    let trunkline = serve(&service_of(&far), &vars).await;
    assert_eq!(status(&trunkline).await, 502);
    assert!(!proxy.asked().is_empty());
}

#[tokio::test]
async fn a_failure_names_the_variable() {
    let upstream = far().await;
    let proxy = Proxy::builder(ProxyKind::Http).login("me", "pass").start().await.unwrap();
    let vars = [("HTTPS_PROXY", format!("http://{}", proxy.addr()))];
    let trunkline = serve(&service_of(&upstream), &vars).await;
    assert_eq!(status(&trunkline).await, 502);
    let line = trunkline.stderr_line(|line| line.contains("trunkline::request")).await.unwrap();
    assert!(line.contains("HTTPS_PROXY: the proxy wants a user and a password (407)"), "{line}");
}

#[tokio::test]
async fn a_variable_that_cannot_be_used_is_a_configuration_error() {
    let secret = Canary::new("proxy-password");
    let token = secret.token();
    let output = trunkline()
        .config(&config(&service("http://127.0.0.1:9")))
        .env("HTTPS_PROXY", format!("quic://me:{token}@proxy.example"))
        .env("ALL_PROXY", format!("http://me:{token}@proxy.example:port"))
        .env("NO_PROXY", "10.0.0.0/99")
        .run()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let [https, all, no] = output.stderr.as_slice() else { panic!("{output:?}") };
    for (line, name) in [(https, "HTTPS_PROXY"), (all, "ALL_PROXY"), (no, "NO_PROXY")] {
        assert!(line.starts_with(&format!("trunkline: environment variable {name}: ")), "{line}");
    }
    assert!(find_leaks(output.text().as_bytes(), &[secret]).is_empty(), "{}", output.text());
}

#[tokio::test]
async fn ssl_cert_file_and_ssl_cert_dir_take_the_place_of_the_systems_authorities() {
    let upstream = Upstream::start_tls(ok(), &[Alpn::H2]).await.unwrap();
    let file = upstream.authority().unwrap().file().unwrap();
    let service = service(&upstream.url());
    assert_eq!(status(&serve(&service, &[]).await).await, 502);
    let directory = TempDir::new().unwrap();
    directory.write("some.pem", std::fs::read_to_string(&file).unwrap()).unwrap();
    for var in [
        ("SSL_CERT_FILE", file.display().to_string()),
        ("SSL_CERT_DIR", directory.path().display().to_string()),
    ] {
        assert_eq!(status(&serve(&service, &[var]).await).await, 200);
    }
    // An empty one counts as not set, alone and beside the other.
    assert_eq!(status(&serve(&service, &[("SSL_CERT_FILE", String::new())]).await).await, 502);
    let beside = [("SSL_CERT_FILE", String::new()), ("SSL_CERT_DIR", directory.path().display().to_string())];
    assert_eq!(status(&serve(&service, &beside).await).await, 200);
    let beside = [("SSL_CERT_DIR", String::new()), ("SSL_CERT_FILE", file.display().to_string())];
    assert_eq!(status(&serve(&service, &beside).await).await, 200);
    // Another authority is not this one, and ca_path is trusted beside it.
    let other_authority = Authority::new().unwrap();
    let other_file = other_authority.file().unwrap().display().to_string();
    assert_eq!(status(&serve(&service, &[("SSL_CERT_FILE", other_file.clone())]).await).await, 502);
    let both = with(service, json!({ "upstream": { "api_url": upstream.url(), "ca_path": file } }));
    assert_eq!(status(&serve(&both, &[("SSL_CERT_FILE", other_file)]).await).await, 200);
}

#[tokio::test]
async fn authorities_that_cannot_be_used_are_a_configuration_error() {
    let home = || {
        let home = TempDir::new().unwrap();
        home.write("empty.pem", "").unwrap();
        home.write("broken.pem", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n").unwrap();
        home.write("no-authority.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        home
    };
    for (file, why) in [
        ("missing.pem", "cannot be read: No such file"),
        ("empty.pem", "there is no certificate in it"),
        ("broken.pem", "not PEM"),
        ("no-authority.pem", "none of its certificates can be used as an authority"),
    ] {
        let ca = json!({ "upstream": { "ca_path": file } });
        let mut proxied = service("https://127.0.0.1:9");
        proxied["credentials"][0]["detour"] = json!("out");
        let out = json!({
            "type": "http", "tag": "out", "server": "127.0.0.1", "server_port": 9,
            "tls": { "enabled": true, "certificate_path": file },
        });
        for (config, place) in [
            (config(&with(service("https://127.0.0.1:9"), ca)), "service claude: upstream.ca_path "),
            (
                with(config(&proxied), json!({ "outbounds": [out] })),
                "service claude: outbound out: tls.certificate_path ",
            ),
        ] {
            let output = trunkline().config(&config).home(home()).run().await.unwrap();
            assert_eq!(output.status.code(), Some(78), "{output:?}");
            let [line] = output.stderr.as_slice() else { panic!("{output:?}") };
            assert!(line.starts_with(&format!("trunkline: {place}")), "{line}");
            assert!(
                line.contains(file) && line.contains(why) && line.contains("readable PEM file"),
                "{line}"
            );
        }
        let builder = trunkline().config(&config(&service("https://127.0.0.1:9"))).home(home());
        let output = builder.env("SSL_CERT_FILE", file).run().await.unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let [line] = output.stderr.as_slice() else { panic!("{output:?}") };
        assert!(line.starts_with("trunkline: SSL_CERT_FILE: no usable certificate is found there"), "{line}");
    }
}
