//! What can be said on the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// Lets several people, machines and coding agents use one set of Claude Code and Codex logins and API keys.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the services
    ///
    /// Without a configuration the services run on 127.0.0.1:8787, Claude under /claude and Codex under /codex, each with
    /// the login of this user.
    Serve {
        #[command(flatten)]
        config: ConfigArg,
        /// Listen here instead of where the configuration says: a port, or an address with a port
        #[arg(long, value_name = "ADDR", value_parser = listen_address)]
        listen: Option<SocketAddr>,
        /// Change nothing when the configuration, a certificate or a key changes, only on SIGHUP
        #[arg(long)]
        no_watch: bool,
    },
    /// Show what the running instance is doing
    Status {
        #[command(flatten)]
        config: ConfigArg,
        /// Ask the instance with this data directory, whatever the configuration says
        #[arg(long, value_name = "DIR")]
        data_directory: Option<PathBuf>,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
        /// Show it again every second, until interrupted
        #[arg(long)]
        watch: bool,
        /// Show a line for each change of a credential's state as it happens, until interrupted
        #[arg(long, conflicts_with = "watch")]
        follow: bool,
        /// Tell times in UTC instead of local time
        #[arg(long)]
        utc: bool,
    },
    /// Check a configuration without starting, and report every problem
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Look at everything that serving depends on, and say what to do about what is wrong
    ///
    /// Nothing is changed, and no token is sent anywhere: providers are asked once, without one.
    Doctor {
        #[command(flatten)]
        config: ConfigArg,
        /// Connect to nothing beyond this machine
        #[arg(long)]
        offline: bool,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration
    Schema,
    /// Try it without an account: simulated providers, Trunkline in front, and some traffic
    ///
    /// Nothing leaves this machine. What it makes lies in a temporary directory, which is removed at the end.
    Demo(DemoArgs),
    /// Print the lines that a client needs
    Env(EnvArgs),
    /// Make a token for a user, and print it once
    Token {
        /// The user's name, for the entry that is printed
        #[arg(long, value_name = "NAME", default_value = "NAME")]
        user: String,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, of a command if one is named
    Man {
        /// The command
        command: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Listen here: a port, or an address with a port [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    pub(crate) listen: Option<SocketAddr>,
    /// End by itself after this time, such as 10s or 5m
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// Make no traffic: only what you send is seen
    #[arg(long)]
    pub(crate) no_traffic: bool,
    /// Write Trunkline's own log to standard error, one line for each request
    #[arg(long)]
    pub(crate) log: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EnvArgs {
    /// Whose client
    pub(crate) client: Client,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// The user whose token is printed
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// How to write them [default: bash]; json is a settings.json to merge into the client's own. For Codex: keep the
    /// token in the environment of this shell instead of in the file
    #[arg(long, value_enum)]
    pub(crate) shell: Option<Shell>,
    /// Let Claude Code show limits in its own words, as with a login of its own
    #[arg(long)]
    pub(crate) native_limits: bool,
    /// Let Claude Code take the service for a gateway of its own kind: limits in its own words, and budgets in dollars
    #[arg(long, conflicts_with = "native_limits")]
    pub(crate) gateway: bool,
    /// Print the lines that undo it instead
    #[arg(long, conflicts_with = "user")]
    pub(crate) undo: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArg {
    /// The configuration file [default: $TRUNKLINE_CONFIG, ./trunkline.json,
    /// $XDG_CONFIG_HOME/trunkline/config.json, /etc/trunkline/config.json]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    /// Claude Code: environment variables, or a settings.json
    Claude,
    /// Codex: a part of its config.toml
    Codex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash, zsh, sh
    Bash,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// a settings.json with an "env" block
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    trunkline_config::duration(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a time above zero, such as 10s or 5m".to_owned())
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), port).into());
    }
    text.parse().map_err(|_| {
        "expected a port, or an address with a port such as 127.0.0.1:8787 or [::1]:8787".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn listen_takes_a_port_or_an_address() {
        assert_eq!(listen_address("9000"), Ok("127.0.0.1:9000".parse().unwrap()));
        assert_eq!(listen_address(":9000"), Ok("127.0.0.1:9000".parse().unwrap()));
        assert_eq!(listen_address("[::]:1"), Ok("[::]:1".parse().unwrap()));
        assert!(listen_address("localhost:1").is_err());
    }

    #[test]
    fn a_time_has_a_unit_and_is_above_zero() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for text in ["0", "0s", "10", "-1s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
