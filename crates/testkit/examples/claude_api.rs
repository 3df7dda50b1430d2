//! Serves the scripted Claude API on a loopback port until interrupted, for trying a real client by hand:
//!
//! ```text
//! cargo run -p trunkline-testkit --example claude_api
//! ANTHROPIC_BASE_URL=http://127.0.0.1:PORT ANTHROPIC_AUTH_TOKEN=demo claude -p 'run: echo hi'
//! ```

use std::io::{self, Write as _};

use trunkline_testkit::claude::{Account, ClaudeApi};
use trunkline_testkit::upstream::Upstream;

#[tokio::main]
async fn main() -> io::Result<()> {
    let upstream = Upstream::start(ClaudeApi::new([Account::new("demo").gateway_token("demo")])).await?;
    writeln!(io::stdout(), "{}", upstream.url())?;
    tokio::signal::ctrl_c().await?;
    for request in upstream.requests() {
        let (method, target, length) = (&request.method, &request.target, request.body().len());
        writeln!(io::stdout(), "{method} {target} ({length} bytes, connection {})", request.connection)?;
    }
    Ok(())
}
