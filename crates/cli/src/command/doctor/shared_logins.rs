//! Two credentials on one login: they would spend each other's refresh token.

use std::collections::HashMap;

use trunkline_core::login::Login;
use trunkline_core::secret::{Secret, TokenDigest};

use super::finding::Finding;

/// What tells a login from others.
pub(super) struct Known {
    file: Option<(u64, u64)>,
    refresh: Option<TokenDigest>,
    access: Option<TokenDigest>,
    account: Option<String>,
}

/// The logins looked at so far.
#[derive(Default)]
pub(super) struct SharedLogins {
    files: HashMap<(u64, u64), String>,
    tokens: HashMap<TokenDigest, String>,
    accounts: HashMap<String, String>,
}

/// What a login has in common with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    what: What,
    other: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    File,
    Token,
    Account,
}

impl Known {
    /// A login in this file (device and inode), of which no more is known.
    pub(super) fn new(file: Option<(u64, u64)>) -> Self {
        Self { file, refresh: None, access: None, account: None }
    }

    /// What is in the file.
    pub(super) fn note(&mut self, login: &Login) {
        let digest = |secret: &Secret| TokenDigest::of(secret.expose().as_bytes());
        self.refresh = login.refresh_token.as_ref().map(digest);
        self.access = Some(digest(&login.access_token));
        self.account.clone_from(&login.account_id);
    }
}

impl SharedLogins {
    /// Takes note of the login of a credential, and tells what it has in common with one before.
    pub(super) fn add(&mut self, name: &str, known: Known) -> Option<Shared> {
        let mut shared = None;
        let mut look = |what, other: Option<String>| {
            if let (None, Some(other)) = (&shared, other) {
                shared = Some(Shared { what, other });
            }
        };
        // The worst comes first. The one that was first is named.
        if let Some(file) = known.file {
            look(What::File, first(&mut self.files, file, name));
        }
        for token in [known.refresh, known.access].into_iter().flatten() {
            look(What::Token, first(&mut self.tokens, token, name));
        }
        if let Some(account) = known.account {
            look(What::Account, first(&mut self.accounts, account, name));
        }
        shared
    }
}

/// Who was first with this key, if it was another.
fn first<K: std::hash::Hash + Eq>(known: &mut HashMap<K, String>, key: K, name: &str) -> Option<String> {
    let first = known.entry(key).or_insert_with(|| name.to_owned());
    (first != name).then(|| first.clone())
}

/// What follows.
pub(super) fn finding(shared: &Shared) -> Finding {
    let (check, other) = ("login.shared", &shared.other);
    match shared.what {
        What::File => Finding::problem(
            check,
            format!("this is the login file of {other} too"),
            "one login is one credential: remove one of them",
        ),
        What::Token => Finding::problem(
            check,
            format!("the file is a copy of the login of {other}: a refresh of one ends the other"),
            "log in anew for one of them, or remove it",
        ),
        What::Account => Finding::warning(
            check,
            format!("it is of the same account as {other}, so both have the same limits"),
            "remove one of them, unless that is meant",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn login(access: &str, refresh: Option<&str>, account: Option<&str>) -> Login {
        Login {
            refresh_token: refresh.map(Secret::new),
            account_id: account.map(str::to_owned),
            ..Login::of_token(Secret::new(access))
        }
    }

    #[test]
    fn files_tokens_and_accounts_are_compared() {
        let mut logins = SharedLogins::default();
        let mut add = |name: &str, inode, login: Option<Login>| {
            let mut known = Known::new(Some((1, inode)));
            if let Some(login) = login {
                known.note(&login);
            }
            let shared = logins.add(name, known);
            shared.map(|shared| (shared.what, finding(&shared).level, shared.other))
        };
        let of = |other: &str, what, level| Some((what, level, other.to_owned()));
        assert_eq!(add("s/a", 1, Some(login("one", Some("r1"), Some("acc")))), None);
        assert_eq!(add("s/b", 1, None), of("s/a", What::File, Level::Problem));
        assert_eq!(
            add("s/c", 2, Some(login("two", Some("r1"), None))),
            of("s/a", What::Token, Level::Problem)
        );
        assert_eq!(add("s/d", 3, Some(login("one", None, None))), of("s/a", What::Token, Level::Problem));
        assert_eq!(
            add("s/e", 4, Some(login("x", Some("y"), Some("acc")))),
            of("s/a", What::Account, Level::Warning)
        );
        assert_eq!(add("s/f", 5, Some(login("z", Some("w"), Some("other")))), None);
    }
}
