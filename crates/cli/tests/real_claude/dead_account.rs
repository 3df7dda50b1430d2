//! An account that is dead, in the shapes that the provider says so: the client sees nothing of it.

use trunkline_testkit::claude::error;

use crate::conversation::claude_binary;
use crate::limits::{ACCOUNTS, Pool};

#[tokio::test]
async fn a_dead_account_is_not_seen() {
    let Some(binary) = claude_binary() else { return };
    for (status, kind, message) in [
        (401, "authentication_error", "This organization has been disabled."),
        (403, "permission_error", "OAuth authentication is currently not allowed for this organization."),
        (400, "invalid_request_error", "Your account has been disabled after a review."),
    ] {
        let pool = Pool::start(&binary).await;
        pool.api.set_reply("Hi there.");
        let first = pool.claude.run(&["-p", "say hi"]).await;
        assert_eq!(first.text(), (true, "Hi there."), "{first:?}");
        let used = usize::from(pool.served()[0] == 0);
        pool.api.next(ACCOUNTS[used], error(status, kind, message));
        let again = pool.claude.run(&["-p", "again", "--continue"]).await;
        assert_eq!((again.text(), again.stderr.as_str()), ((true, "Hi there."), ""), "{again:?}");
        assert!(pool.served()[1 - used] > 0, "{:?}", pool.served());
        pool.end().await;
    }
}
