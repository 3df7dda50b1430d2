//! The name under which the client keeps its login in the keychain of macOS (credentials.md, *Login file: Claude*; fact
//! sheet, section 3). The account is the user's name, the data the same JSON as in the file.

use sha2::{Digest as _, Sha256};

const SERVICE: &str = "Claude Code-credentials";

/// The service name. `config_dir`: the value of `CLAUDE_CONFIG_DIR`, letter by letter, if it is set; `default_dir`: the
/// directory that the client uses without it (`~/.claude`, written out).
pub fn keychain_service(config_dir: Option<&str>, default_dir: &str) -> String {
    match config_dir.filter(|dir| !dir.is_empty() && *dir != default_dir) {
        None => SERVICE.to_owned(),
        Some(dir) => {
            let digest = Sha256::digest(dir.as_bytes());
            let prefix = digest.iter().take(4).fold(0_u32, |prefix, byte| prefix << 8 | u32::from(*byte));
            format!("{SERVICE}-{prefix:08x}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_directory_gives_another_name() {
        let name = |dir| keychain_service(dir, "/Users/alice/.claude");
        for default in [None, Some(""), Some("/Users/alice/.claude")] {
            assert_eq!(name(default), "Claude Code-credentials");
        }
        // SHA-256 of "abc" begins with ba7816bf, of "a" with ca978112 (FIPS 180-2 and its companions).
        assert_eq!(name(Some("abc")), "Claude Code-credentials-ba7816bf");
        assert_eq!(name(Some("a")), "Claude Code-credentials-ca978112");
        assert_ne!(name(Some("/Users/alice/.claude/")), "Claude Code-credentials", "letter by letter");
    }
}
