//! Private temporary directories, and login files in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::clock;

/// A directory of mode 0700 that is removed, with all that is in it, when the value is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one under the system's temporary directory.
    pub fn new() -> io::Result<Self> {
        Self::named("trunkline-testkit")
    }

    /// Makes one whose name begins with `name`.
    pub fn named(name: &str) -> io::Result<Self> {
        Self::within(&std::env::temp_dir(), name)
    }

    /// Makes one in memory where the system has such a place, else as [`Self::named`]: for tests that sync often, where a
    /// process dies and not the machine.
    pub fn in_memory(name: &str) -> io::Result<Self> {
        Self::within(Path::new("/dev/shm"), name).or_else(|_| Self::named(name))
    }

    fn within(root: &Path, name: &str) -> io::Result<Self> {
        loop {
            let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(12).collect();
            let path = root.join(format!("{name}-{random}"));
            match create_private(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// Writes a file in it, with mode 0600, making directories on the way.
    pub fn write(&self, relative: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        let path = self.join(relative);
        write_private(&path, contents.as_ref())?;
        Ok(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nothing can be done about it here, and the system clears its temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A login as the Claude client stores it.
#[derive(Clone, Debug)]
pub struct ClaudeLogin {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// Milliseconds since 1970.
    pub expires_at_ms: u64,
    /// `pro`, `max`, `team` or `enterprise`.
    pub subscription_type: String,
    /// For instance `default_claude_max_5x`.
    pub rate_limit_tier: String,
    /// Further keys beside `claudeAiOauth`, such as `mcpOAuth`, which everyone must preserve.
    pub others: serde_json::Map<String, Value>,
}

impl ClaudeLogin {
    /// A login of a `max` plan that is good for another eight hours.
    pub fn new(access_token: impl Into<String>, refresh_token: impl Into<String>) -> Self {
        Self {
            access_token: access_token.into(),
            refresh_token: refresh_token.into(),
            expires_at_ms: (clock::unix_now() + 28_800) * 1000,
            subscription_type: "max".to_owned(),
            rate_limit_tier: "default_claude_max_5x".to_owned(),
            others: serde_json::Map::new(),
        }
    }

    /// Makes it expire `seconds` from now; negative: it expired that long ago.
    #[must_use]
    pub fn expires_in(mut self, seconds: i64) -> Self {
        self.expires_at_ms = clock::unix_now().saturating_add_signed(seconds) * 1000;
        self
    }

    /// The file's content.
    pub fn to_json(&self) -> Value {
        let mut file = serde_json::Map::new();
        file.insert(
            "claudeAiOauth".to_owned(),
            json!({
                "accessToken": self.access_token,
                "refreshToken": self.refresh_token,
                "expiresAt": self.expires_at_ms,
                "scopes": ["user:inference", "user:profile", "user:sessions:claude_code"],
                "subscriptionType": self.subscription_type,
                "rateLimitTier": self.rate_limit_tier,
            }),
        );
        file.extend(self.others.clone());
        Value::Object(file)
    }

    /// Writes `.credentials.json` into `dir` (made if missing) with mode 0600, and returns its path.
    pub fn write_to(&self, dir: &Path) -> io::Result<PathBuf> {
        let path = dir.join(".credentials.json");
        write_private(&path, self.to_json().to_string().as_bytes())?;
        Ok(path)
    }
}

/// Reads `accessToken` and `refreshToken` back from a login file.
pub fn read_claude_tokens(path: &Path) -> io::Result<(String, String)> {
    let file: Value = serde_json::from_slice(&fs::read(path)?)?;
    let field = |name: &str| {
        file["claudeAiOauth"][name].as_str().map(str::to_owned).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no claudeAiOauth.{name} in {}", path.display()),
            )
        })
    };
    Ok((field("accessToken")?, field("refreshToken")?))
}

fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    use io::Write as _;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_file_is_private_and_complete() {
        let dir = TempDir::new().unwrap();
        let mut login = ClaudeLogin::new("access", "refresh").expires_in(-5);
        login.others.insert("mcpOAuth".to_owned(), json!({"x": 1}));
        let path = login.write_to(&dir.join("a/b")).unwrap();
        assert_eq!(read_claude_tokens(&path).unwrap(), ("access".to_owned(), "refresh".to_owned()));
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(file["mcpOAuth"]["x"], 1);
        assert!(file["claudeAiOauth"]["expiresAt"].as_u64().unwrap() / 1000 <= clock::unix_now());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
        }
        let kept = dir.path().to_owned();
        drop(dir);
        assert!(!kept.exists());
    }
}
