//! The configuration of the client: its `config.toml`.

use std::fmt::Write as _;

use super::VERSION_PREFIX;
use crate::provider::{ClientFile, ClientToken};

/// The block that makes a service the client's provider (operations.md, *Client lines*; fact sheet, 1.1). Its name must not
/// be "OpenAI", which the client treats in ways of its own (fact sheet, 1.3). The key at the top must stand before any table.
pub(super) fn file(base_url: &str, token: ClientToken<'_>) -> ClientFile {
    let base_url = quoted(&format!("{}{VERSION_PREFIX}", base_url.trim_end_matches('/')));
    let token = match token {
        ClientToken::Value(token) => format!("experimental_bearer_token = {}", quoted(token)),
        ClientToken::Variable(name) => format!("env_key = {}", quoted(name)),
    };
    let text = format!(
        "model_provider = \"trunkline\"\n\
         \n\
         [model_providers.trunkline]\n\
         name = \"Trunkline\"\n\
         base_url = {base_url}\n\
         wire_api = \"responses\"\n\
         {token}\n\
         supports_websockets = true\n"
    );
    let undo = &["model_provider = \"trunkline\"", "the table [model_providers.trunkline]"];
    ClientFile { path: "~/.codex/config.toml", text, undo }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}
