//! Tests of whole configurations.

mod corpus;
mod examples;
mod properties;
mod secrets;
mod values;

use crate::fake::FakeEnvironment;

/// The machine that the configurations under `tests/` are written for.
fn machine() -> FakeEnvironment {
    FakeEnvironment::new()
        .with_var("TOKEN", "token-from-the-environment")
        .with_var("EMPTY", "")
        .with_var("MULTILINE", "one\ntwo")
        .with_var("LEVEL", "loud")
        .with_file("/run/secrets/token", "token-from-a-file\n")
        .with_link("/shared/link", "/home/me/.claude/.credentials.json")
        .with_link("/srv/linked", "/srv/real")
}
