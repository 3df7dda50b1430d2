//! An account that is dead, in the shapes that the provider says so: the client sees nothing of it, and no token is asked for.

use serde_json::json;
use trunkline_testkit::Script;
use trunkline_testkit::codex::error;

use crate::client::Codex;
use crate::setup::Setup;

#[tokio::test]
async fn a_dead_account_is_not_seen_and_costs_no_refresh() {
    let deactivated = "Your OpenAI account has been deactivated.";
    for refusal in [
        Script::json(402, &json!({ "detail": { "code": "deactivated_workspace" } })),
        error(401, "invalid_request_error", Some("account_deactivated"), deactivated),
    ] {
        let setup = Setup::with_logins("fallback").await;
        let instance = setup.start().await;
        let Some(codex) = Codex::new(&setup.client_lines(&instance).await, false) else { return };
        setup.api.set_reply("Hi there.");
        setup.api.next("a", refusal);
        let first = codex.run(&["say hi"]).await;
        first.assert_says("Hi there.");
        assert_eq!(setup.served(), [1, 1]);
        let second = codex.run(&["say hi"]).await;
        second.assert_says("Hi there.");
        assert_eq!(setup.served(), [1, 2], "it is not asked again");
        assert_eq!((setup.api.refreshes("a"), setup.api.refreshes("b")), (0, 0));
        setup.finish(instance, &[&first.all, &second.all]).await;
    }
}
