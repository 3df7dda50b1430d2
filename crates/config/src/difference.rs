//! What is different between two checked configurations, as a list of typed changes.
//!
//! Spec: operations.md, *Running*, *Reload*.

use std::fmt;
use std::net::SocketAddr;

use crate::model::{Config, Credential, Pool, Service, User};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Logging.
    Log,
    /// How long a drain may take.
    DrainTimeout,
    /// Whether further sockets are opened with `SO_REUSEPORT`.
    ReusePort,
    /// Whose `X-Forwarded-For` is believed.
    TrustedProxies,
    /// Whether there is a ledger.
    Ledger,
    /// The data directory, which a running instance cannot leave.
    DataDirectory,
    /// A service that was not there.
    ServiceAdded(String),
    /// A service that is not there any more.
    ServiceRemoved(String),
    /// Something of a service with this tag.
    Service(String, ServiceChange),
}

/// A difference of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceChange {
    /// It listens elsewhere.
    Moved {
        /// Where it listened.
        from: SocketAddr,
        /// Where it is to listen.
        to: SocketAddr,
    },
    /// Its path prefix.
    Path,
    /// The further API paths that everybody may use.
    Paths,
    /// Its TLS settings.
    Tls,
    /// A user.
    User(EntryChange),
    /// A credential.
    Credential(EntryChange),
    /// The headers set on requests.
    Headers,
    /// How long it waits for what.
    Timeouts,
    /// How large and how many things may be.
    Bounds,
}

/// A difference of a named entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryChange {
    /// It is new.
    Added(String),
    /// It is gone.
    Removed(String),
    /// It says something else.
    Changed(String),
}

/// The changes that lead from `old` to `new`, in the order of the file; none if both mean the same.
pub fn difference(old: &Config, new: &Config) -> Vec<Change> {
    // Taken apart, so that a new field cannot be forgotten here.
    let Config { log, data_directory, has_ledger, trusted_proxies, drain_timeout, reuse_port, services } =
        new;
    let mut changes = Vec::new();
    let mut note = |differs: bool, change: Change| {
        if differs {
            changes.push(change);
        }
    };
    note(*log != old.log, Change::Log);
    note(*data_directory != old.data_directory, Change::DataDirectory);
    note(*has_ledger != old.has_ledger, Change::Ledger);
    note(*trusted_proxies != old.trusted_proxies, Change::TrustedProxies);
    note(*drain_timeout != old.drain_timeout, Change::DrainTimeout);
    note(*reuse_port != old.reuse_port, Change::ReusePort);
    for before in &old.services {
        if !services.iter().any(|service| is_same(before, service)) {
            changes.push(Change::ServiceRemoved(before.tag.clone()));
        }
    }
    for service in services {
        match old.services.iter().find(|before| is_same(before, service)) {
            None => changes.push(Change::ServiceAdded(service.tag.clone())),
            Some(before) => {
                let of_service = service_difference(before, service);
                changes.extend(
                    of_service.into_iter().map(|change| Change::Service(service.tag.clone(), change)),
                );
            }
        }
    }
    changes
}

/// Whether two services are one that was perhaps changed: the tag is what it is known by.
pub fn is_same(old: &Service, new: &Service) -> bool {
    old.tag == new.tag && old.provider == new.provider
}

fn service_difference(old: &Service, new: &Service) -> Vec<ServiceChange> {
    let Service {
        tag: _,
        provider: _,
        listen,
        listen_port,
        path,
        paths,
        tls,
        // Only a check of the configuration asks for it.
        allow_unauthenticated: _,
        users,
        credentials,
        pools,
        headers,
        timeouts,
        wait_for_capacity,
        max_body,
        replay_buffer,
        max_connections,
        max_connections_per_address,
        max_header,
    } = new;
    let mut changes = Vec::new();
    let (from, to) = (SocketAddr::new(old.listen, old.listen_port), SocketAddr::new(*listen, *listen_port));
    if from != to {
        changes.push(ServiceChange::Moved { from, to });
    }
    if *path != old.path {
        changes.push(ServiceChange::Path);
    }
    if *paths != old.paths {
        changes.push(ServiceChange::Paths);
    }
    if *tls != old.tls {
        changes.push(ServiceChange::Tls);
    }
    let of_users = entries(&old.users, users, |user| &user.name, |a, b| same_user(old, a, new, b));
    changes.extend(of_users.into_iter().map(ServiceChange::User));
    let same = |a: &_, b: &_| same_credential(old, a, new, b);
    let of_credentials = entries(&old.credentials, credentials, |credential| &credential.tag, same);
    changes.extend(of_credentials.into_iter().map(ServiceChange::Credential));
    let balancers =
        |pools: &[Pool]| pools.iter().filter(|pool| pool.is_balancer).cloned().collect::<Vec<_>>();
    let of_pools = entries(
        &balancers(&old.pools),
        &balancers(pools),
        |pool| &pool.tag,
        |a, b| same_pool(old, a, new, b),
    );
    changes.extend(of_pools.into_iter().map(ServiceChange::Credential));
    if *headers != old.headers {
        changes.push(ServiceChange::Headers);
    }
    if (timeouts, wait_for_capacity) != (&old.timeouts, &old.wait_for_capacity) {
        changes.push(ServiceChange::Timeouts);
    }
    let bounds = (*max_body, *replay_buffer, *max_connections, *max_connections_per_address, *max_header);
    let before = (
        old.max_body,
        old.replay_buffer,
        old.max_connections,
        old.max_connections_per_address,
        old.max_header,
    );
    if bounds != before {
        changes.push(ServiceChange::Bounds);
    }
    changes
}

fn entries<T>(
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
    same: impl Fn(&T, &T) -> bool,
) -> Vec<EntryChange> {
    let mut changes = Vec::new();
    for before in old {
        if !new.iter().any(|entry| name(entry) == name(before)) {
            changes.push(EntryChange::Removed(name(before).clone()));
        }
    }
    for entry in new {
        match old.iter().find(|before| name(before) == name(entry)) {
            None => changes.push(EntryChange::Added(name(entry).clone())),
            Some(before) if !same(before, entry) => changes.push(EntryChange::Changed(name(entry).clone())),
            Some(_) => {}
        }
    }
    changes
}

/// Users name their pool by its place, which moves when another one is added before it.
fn same_user(old: &Service, a: &User, new: &Service, b: &User) -> bool {
    let tag = |service: &Service, user: &User| service.pool(user.pool).map(|it| it.tag.clone());
    tag(old, a) == tag(new, b) && *a == User { pool: a.pool, ..b.clone() }
}

fn same_pool(old: &Service, a: &Pool, new: &Service, b: &Pool) -> bool {
    let tags = |service: &Service, pool: &Pool| {
        let tag = |id: &crate::model::CredentialId| service.credential(*id).map(|it| it.tag.clone());
        pool.members.iter().map(tag).collect::<Vec<_>>()
    };
    tags(old, a) == tags(new, b) && *a == Pool { members: a.members.clone(), ..b.clone() }
}

fn same_credential(old: &Service, a: &Credential, new: &Service, b: &Credential) -> bool {
    let names = |service: &Service, credential: &Credential| {
        credential.users.as_ref().map(|users| {
            users.iter().map(|user| service.user(*user).map(|user| user.name.clone())).collect::<Vec<_>>()
        })
    };
    names(old, a) == names(new, b) && *a == Credential { users: a.users.clone(), ..b.clone() }
}

// === impl Change ===

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log changed"),
            Self::DrainTimeout => f.write_str("drain_timeout changed"),
            Self::ReusePort => f.write_str("reuse_port changed, for listeners opened from now on"),
            Self::TrustedProxies => f.write_str("trusted_proxies changed"),
            Self::Ledger => f.write_str("ledger changed: takes effect at the next start"),
            Self::DataDirectory => f.write_str("data_directory changed: takes effect at the next start"),
            Self::ServiceAdded(tag) => write!(f, "service {tag} added"),
            Self::ServiceRemoved(tag) => write!(f, "service {tag} removed"),
            Self::Service(tag, change) => write!(f, "service {tag}: {change}"),
        }
    }
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved { from, to } => write!(f, "moved from {from} to {to}"),
            Self::Path => f.write_str("path changed"),
            Self::Paths => f.write_str("paths changed"),
            Self::Tls => f.write_str("tls changed"),
            Self::User(change) => write!(f, "user {change}"),
            Self::Credential(change) => write!(f, "credential {change}"),
            Self::Headers => f.write_str("headers changed"),
            Self::Timeouts => f.write_str("timeouts changed"),
            Self::Bounds => f.write_str("limits of sizes or connections changed"),
        }
    }
}

impl fmt::Display for EntryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(name) => write!(f, "{name} added"),
            Self::Removed(name) => write!(f, "{name} removed"),
            Self::Changed(name) => write!(f, "{name} changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeEnvironment;
    use crate::load;

    fn config(text: &str) -> Config {
        load(text, &FakeEnvironment::new()).unwrap_or_else(|problems| panic!("{problems:?}")).config
    }

    fn changes(old: &str, new: &str) -> Vec<String> {
        difference(&config(old), &config(new)).iter().map(ToString::to_string).collect()
    }

    const BASE: &str = r#"{"ledger":{"type":"none"},"services":[{"type":"claude",
        "users":[{"name":"ann","token":"t1","credential":"a"},{"name":"ben","token":"t2","credential":"b"}],
        "credentials":[{"tag":"a","oauth_token":"x"},{"tag":"b","type":"api_key","api_key":"y"}]}]}"#;

    #[test]
    fn the_same_twice_is_no_difference() {
        assert!(changes(BASE, BASE).is_empty());
        assert!(changes(BASE, &BASE.replace('\n', "// a comment\n")).is_empty());
    }

    #[test]
    fn entries_are_told_apart_by_name_not_by_place() {
        let inserted =
            BASE.replace(r#""credentials":["#, r#""credentials":[{"tag":"new","oauth_token":"z"},"#);
        assert_eq!(changes(BASE, &inserted), ["service claude: credential new added"]);
        let other_key = BASE.replace(r#""api_key":"y""#, r#""api_key":"other""#);
        assert_eq!(changes(BASE, &other_key), ["service claude: credential b changed"]);
        let other_pool = BASE.replace(r#""t2","credential":"b""#, r#""t2","credential":"a""#);
        assert_eq!(changes(BASE, &other_pool), ["service claude: user ben changed"]);
        let renamed = BASE.replace("ann", "amy");
        assert_eq!(
            changes(BASE, &renamed),
            ["service claude: user ann removed", "service claude: user amy added"]
        );
    }

    #[test]
    fn balancers_are_entries_of_the_list() {
        let pool = |members: &str| {
            let balancer = format!(r#"{{"tag":"pool","type":"balancer","credentials":[{members}]}}"#);
            BASE.replace(r#""api_key":"y"}]"#, &format!(r#""api_key":"y"}},{balancer}]"#))
        };
        assert_eq!(changes(BASE, &pool(r#""a""#)), ["service claude: credential pool added"]);
        assert_eq!(
            changes(&pool(r#""a""#), &pool(r#""a","b""#)),
            ["service claude: credential pool changed"]
        );
        let moved = pool(r#""a""#)
            .replace(r#""credentials":[{"#, r#""credentials":[{"tag":"n","oauth_token":"z"},{"#);
        assert_eq!(changes(&pool(r#""a""#), &moved), ["service claude: credential n added"]);
    }

    #[test]
    fn everything_else_is_noticed() {
        let service =
            |more: &str| BASE.replace(r#""type":"claude","#, &format!(r#""type":"claude",{more},"#));
        for (more, line) in [
            (r#""listen_port":9000"#, "service claude: moved from 127.0.0.1:8787 to 127.0.0.1:9000"),
            (r#""path":"/x""#, "service claude: path changed"),
            (r#""headers":{"x":"y"}"#, "service claude: headers changed"),
            (r#""timeouts":{"idle":"1m"}"#, "service claude: timeouts changed"),
            (r#""wait_for_capacity":"5s""#, "service claude: timeouts changed"),
            (r#""max_body":"1MiB""#, "service claude: limits of sizes or connections changed"),
        ] {
            assert_eq!(changes(BASE, &service(more)), [line]);
        }
        let document = |more: &str| BASE.replacen('{', &format!("{{{more},"), 1);
        for (more, line) in [
            (r#""log":{"level":"debug"}"#, "log changed"),
            (r#""drain_timeout":"1s""#, "drain_timeout changed"),
            (r#""reuse_port":true"#, "reuse_port changed, for listeners opened from now on"),
            (r#""trusted_proxies":"10.0.0.0/8""#, "trusted_proxies changed"),
            (r#""data_directory":"/d""#, "data_directory changed: takes effect at the next start"),
        ] {
            assert_eq!(changes(BASE, &document(more)), [line]);
        }
        let with_ledger = BASE.replace(r#""ledger":{"type":"none"},"#, "");
        assert_eq!(changes(BASE, &with_ledger), ["ledger changed: takes effect at the next start"]);
        let tagged = service(r#""tag":"other""#);
        assert_eq!(changes(BASE, &tagged), ["service claude removed", "service other added"]);
    }
}
