//! What in the environment, and in the client's own settings, would defeat the lines that are printed.
//!
//! Observed with client 2.1.331: the `env` of its settings wins over the environment, and with `HTTPS_PROXY` or
//! `HTTP_PROXY` it sends requests for loopback to that proxy too, the token included, unless `NO_PROXY` names the host.

use std::path::PathBuf;

use serde_json::Value;
use trunkline_core::provider::Disturbance;

/// The variables that name a proxy, and those that name what is reached without one.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
const NO_PROXIES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A settings file of the client.
#[derive(Debug)]
pub(super) struct Settings {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What is in it.
    pub(super) content: Value,
}

impl Settings {
    /// A variable that its `env` sets.
    fn env(&self, name: &str) -> Option<&str> {
        self.content.get("env")?.get(name)?.as_str()
    }
}

/// What is looked at.
pub(super) struct Surroundings<'a> {
    /// The host of the base URL.
    pub(super) host: &'a str,
    /// What the lines set, the base URL first.
    pub(super) variables: &'a [(&'static str, String)],
    /// What the lines clear.
    pub(super) cleared: &'a [&'static str],
    /// What gets in the way.
    pub(super) disturbances: &'a [Disturbance],
    /// Whether the lines go into the settings.
    pub(super) into_settings: bool,
    /// The settings.
    pub(super) settings: Option<&'a Settings>,
}

impl Surroundings<'_> {
    /// What to warn of. `var` is the environment. No value is ever shown: it may be a secret.
    pub(super) fn warnings(&self, var: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        let mut warnings = Vec::new();
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        if let Some((name, url)) = self.variables.first()
            && set(name).is_some_and(|value| value.trim_end_matches('/') != url.trim_end_matches('/'))
        {
            warnings.push(format!(
                "{name} has another value here, which this replaces; other shells keep theirs"
            ));
        }
        for disturbance in self.disturbances.iter().filter(|found| !self.cleared.contains(&found.name)) {
            if set(disturbance.name).is_some_and(|value| counts(disturbance, &value)) {
                warnings.push(format!(
                    "{} is set: {}; unset it where the client runs",
                    disturbance.name, disturbance.effect
                ));
            }
        }
        if let Some(proxy) = PROXIES.iter().find(|name| set(name).is_some())
            && !NO_PROXIES.iter().any(|name| set(name).is_some_and(|list| names(&list, self.host)))
        {
            let host = bare(self.host);
            warnings.push(format!(
                "{proxy} is set: the client sends its requests there, with the token in them; add {host} to NO_PROXY"
            ));
        }
        if let Some(settings) = self.settings {
            self.of_settings(settings, &mut warnings);
        }
        warnings
    }

    fn of_settings(&self, settings: &Settings, warnings: &mut Vec<String>) {
        let path = settings.path.display();
        if !self.into_settings {
            let ours = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
            for (name, value) in ours.chain(self.cleared.iter().map(|name| (*name, ""))) {
                if settings.env(name).is_some_and(|found| found != value) {
                    warnings.push(format!(
                        "{path} sets {name} in its \"env\", which wins over these lines; delete it there"
                    ));
                }
            }
        }
        for disturbance in self.disturbances.iter().filter(|found| !self.cleared.contains(&found.name)) {
            if settings.env(disturbance.name).is_some_and(|value| counts(disturbance, value)) {
                let Disturbance { name, effect, .. } = disturbance;
                warnings.push(format!("{path} sets {name} in its \"env\": {effect}; delete it there"));
            }
        }
        if settings.content.get("apiKeyHelper").is_some() {
            warnings.push(format!(
                "{path} has an apiKeyHelper: the client sends what that prints as well; delete it there"
            ));
        }
    }
}

/// Whether a value has the effect.
fn counts(disturbance: &Disturbance, value: &str) -> bool {
    if disturbance.is_switch {
        matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
    } else {
        !value.is_empty()
    }
}

/// Whether a `NO_PROXY` list names a host.
fn names(list: &str, host: &str) -> bool {
    let host = bare(host);
    list.split([',', ' ']).map(|entry| bare(entry.trim())).filter(|entry| !entry.is_empty()).any(|entry| {
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        entry == "*"
            || host.eq_ignore_ascii_case(entry)
            || host.to_ascii_lowercase().ends_with(&format!(".{}", domain.to_ascii_lowercase()))
    })
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trunkline_core::provider::claude::Claude;
    use trunkline_core::provider::{ClientMode, Provider as _};

    use super::*;

    const URL: &str = "http://127.0.0.1:8787/claude";

    fn warnings(mode: ClientMode, env: &[(&str, &str)], settings: Option<Value>, into: bool) -> Vec<String> {
        let variables = Claude.client_variables(mode, URL, "token");
        let settings = settings.map(|content| Settings { path: "/s.json".into(), content });
        let surroundings = Surroundings {
            host: "127.0.0.1",
            variables: &variables,
            cleared: Claude.cleared_variables(mode),
            disturbances: Claude.disturbances(),
            into_settings: into,
            settings: settings.as_ref(),
        };
        let var =
            |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        surroundings.warnings(&var)
    }

    fn in_gateway(env: &[(&str, &str)]) -> Vec<String> {
        warnings(ClientMode::Gateway, env, None, false)
    }

    #[test]
    fn a_clean_environment_gives_no_warning() {
        for env in [
            &[][..],
            &[("ANTHROPIC_BASE_URL", "http://127.0.0.1:8787/claude/")],
            &[("ANTHROPIC_API_KEY", ""), ("CLAUDE_CODE_USE_BEDROCK", "0"), ("CLAUDE_CODE_USE_VERTEX", "")],
            &[("HTTP_PROXY", "http://p"), ("NO_PROXY", "localhost, 127.0.0.1")],
            &[("HTTP_PROXY", "http://p"), ("no_proxy", "*")],
        ] {
            assert_eq!(in_gateway(env), [""; 0], "{env:?}");
        }
    }

    #[test]
    fn what_gets_in_the_way_is_named_without_its_value() {
        for (name, value, words) in [
            ("ANTHROPIC_API_KEY", "secret-value", "sends it as well"),
            ("ANTHROPIC_UNIX_SOCKET", "/secret-value", "that socket"),
            ("ANTHROPIC_BASE_URL", "https://secret-value", "replaces"),
            ("CLAUDE_CODE_USE_BEDROCK", "1", "that provider"),
            ("CLAUDE_CODE_USE_VERTEX", "true", "that provider"),
            ("HTTPS_PROXY", "http://secret-value@p", "add 127.0.0.1 to NO_PROXY"),
            ("http_proxy", "http://secret-value@p", "with the token"),
        ] {
            let warnings = in_gateway(&[(name, value)]);
            let [warning] = warnings.as_slice() else { panic!("{name}: {warnings:?}") };
            assert!(warning.contains(name) && warning.contains(words), "{warning}");
            assert!(!warning.contains("secret-value"), "{warning}");
        }
    }

    #[test]
    fn what_the_lines_clear_is_no_danger() {
        let env = [("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_AUTH_TOKEN", "t")];
        assert_eq!(warnings(ClientMode::Subscriber, &env, None, false), [""; 0]);
    }

    #[test]
    fn the_settings_of_the_client_win() {
        let settings = json!({
            "env": { "ANTHROPIC_BASE_URL": "http://other", "ANTHROPIC_AUTH_TOKEN": "token", "ANTHROPIC_API_KEY": "k" },
            "apiKeyHelper": "echo",
        });
        let told = |into| warnings(ClientMode::Gateway, &[], Some(settings.clone()), into);
        let (beside, into) = (told(false), told(true));
        assert_eq!((beside.len(), into.len()), (3, 2), "{beside:?} {into:?}");
        assert!(beside[0].contains("sets ANTHROPIC_BASE_URL in its \"env\", which wins"), "{beside:?}");
        let native = warnings(ClientMode::Subscriber, &[], Some(settings), false);
        assert!(native.iter().any(|line| line.contains("sets ANTHROPIC_AUTH_TOKEN")), "{native:?}");
        for odd in
            [json!(null), json!([]), json!({ "env": 1 }), json!({ "env": { "ANTHROPIC_BASE_URL": 1 } })]
        {
            assert_eq!(warnings(ClientMode::Gateway, &[], Some(odd), false), [""; 0]);
        }
    }

    #[test]
    fn a_no_proxy_list_names_hosts_and_domains() {
        for (list, host, named) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("a,.example.com", "x.example.com", true),
            ("*.example.com", "x.EXAMPLE.com", true),
            ("example.com", "notexample.com", false),
            ("::1", "[::1]", true),
            (",", "127.0.0.1", false),
            ("localhost", "127.0.0.1", false),
        ] {
            assert_eq!(names(list, host), named, "{list} {host}");
        }
    }
}
