//! The examples at the root of the repository.

use std::fs;
use std::path::Path;

use crate::fake::FakeEnvironment;
use crate::load;
use crate::model::{Config, CredentialKind, PemSource, PoolId, UserId};

fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let env = FakeEnvironment::new()
        .with_var("ANTHROPIC_API_KEY", "sk-ant-api03-example")
        .with_var("OPENAI_API_KEY", "sk-example")
        .with_file("/etc/trunkline/alice.token", "token-of-alice\n")
        .with_file("/etc/trunkline/bob.token", "token-of-bob\n");
    let loaded =
        load(&fs::read_to_string(path).unwrap(), &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    loaded.config
}

#[test]
fn every_example_is_tested() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "json"))
        .collect();
    names.sort();
    assert_eq!(names, ["codex.json", "minimal.json", "pool.json", "team-api-keys.json", "two-logins.json"]);
}

#[test]
fn codex() {
    let config = example("codex.json");
    let [claude, codex] = config.services.as_slice() else { panic!("two services") };
    assert_eq!((claude.listen_port, codex.listen_port), (8787, 8787));
    assert_eq!((claude.path.as_str(), codex.path.as_str()), ("/claude", "/codex"));
    // Without users it is the first of the list.
    let pool = &codex.pools[0];
    let members: Vec<_> = pool.members.iter().map(|id| codex.credential(*id).unwrap().tag.as_str()).collect();
    assert_eq!((pool.tag.as_str(), members), ("pool", vec!["one", "two", "key"]));
}

#[test]
fn minimal() {
    let service = &example("minimal.json").services[0];
    assert_eq!((service.tag.as_str(), service.path.as_str()), ("claude", "/claude"));
    assert!(service.users.is_empty());
    let CredentialKind::LoginFile(login) = &service.credentials[0].kind else { panic!("no login") };
    assert_eq!(login.path, Path::new("/home/me/.claude/.credentials.json"));
}

#[test]
fn pool() {
    let service = &example("pool.json").services[0];
    let pool = service.pool(service.users[0].pool).unwrap();
    let members: Vec<_> =
        pool.members.iter().map(|id| service.credential(*id).unwrap().tag.as_str()).collect();
    assert_eq!((pool.tag.as_str(), members), ("pool", vec!["one", "two", "key"]));
}

#[test]
fn team_api_keys() {
    let service = &example("team-api-keys.json").services[0];
    let tls = service.tls.as_ref().unwrap();
    assert_eq!(tls.key, PemSource::Path("/etc/trunkline/privkey.pem".into()));
    assert!(service.users.iter().all(|user| user.plain_token.is_none() && user.pool == PoolId(0)));
    let CredentialKind::ApiKey(key) = &service.credentials[0].kind else { panic!("no API key") };
    assert_eq!(key.expose(), "sk-ant-api03-example");
}

#[test]
fn two_logins() {
    let service = &example("two-logins.json").services[0];
    let owners: Vec<_> = service.credentials.iter().map(|credential| credential.users.clone()).collect();
    assert_eq!(owners, [Some(vec![UserId(0)]), Some(vec![UserId(1)])]);
    assert_eq!(service.users[1].pool, PoolId(1));
    assert_eq!(service.users[1].plain_token.as_ref().unwrap().expose(), "token-of-bob");
}
