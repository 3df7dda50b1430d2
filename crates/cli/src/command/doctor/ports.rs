//! The addresses to listen on: free, held by the instance that runs, or by somebody else.

use std::io;
use std::net::SocketAddr;

use trunkline_config::Config;
use trunkline_server::control::status::Status;
use trunkline_server::{PortState, port_state};

use super::data_directory::Instance;
use super::finding::Finding;
use super::words;

const CHECK: &str = "machine.port";

/// A finding for each address.
pub(super) fn examine(config: &Config, instance: &Instance) -> Vec<Finding> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for service in &config.services {
        let address = SocketAddr::new(service.listen, service.listen_port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let status = instance.status();
    addresses
        .into_iter()
        .map(|address| match address.port() {
            0 => Finding::ok(CHECK, format!("{address}: the system chooses the port")),
            _ => finding(address, &port_state(address, config.reuse_port), status),
        })
        .collect()
}

/// What follows. `status`: of the instance that runs with the data directory.
fn finding(address: SocketAddr, state: &PortState, status: Option<&Status>) -> Finding {
    let choose = "choose another with listen_port, or with serve --listen";
    match state {
        PortState::Free if status.is_some() => Finding::warning(
            CHECK,
            format!("{address} is free, although trunkline is running"),
            "unless it was started with --listen, see in its log why it does not listen there",
        ),
        PortState::Free => Finding::ok(CHECK, format!("{address} is free")),
        PortState::Held(Some(holder)) => {
            let (name, process) = (&holder.name, holder.process);
            if status.is_some_and(|status| status.process == process) {
                Finding::ok(CHECK, format!("{address} is held by the running trunkline"))
            } else {
                let found = format!("{address} is in use by {name} (process {process})");
                Finding::problem(CHECK, found, format!("stop that, or {choose}"))
            }
        }
        PortState::Held(None) => {
            if status.is_some_and(|status| listens(status, address.port())) {
                Finding::ok(
                    CHECK,
                    format!("{address} is held by the running trunkline, as far as can be seen"),
                )
            } else {
                let found = format!("{address} is in use; the system does not show by whom");
                Finding::problem(CHECK, found, format!("stop that, or {choose}"))
            }
        }
        PortState::Refused(io::ErrorKind::PermissionDenied) => Finding::problem(
            CHECK,
            format!("{address}: ports below 1024 need a privilege that this user does not have"),
            format!("{choose}, or grant CAP_NET_BIND_SERVICE"),
        ),
        PortState::Refused(io::ErrorKind::AddrNotAvailable) => Finding::problem(
            CHECK,
            format!("this machine does not have the address {}", address.ip()),
            "change listen",
        ),
        PortState::Refused(why) => {
            Finding::problem(CHECK, format!("{address}: {}", words::failure(*why)), choose)
        }
    }
}

/// Whether an instance says that it listens on a port.
fn listens(status: &Status, port: u16) -> bool {
    status.services.iter().any(|service| {
        let authority = service.url.split("://").nth(1).and_then(|rest| rest.split('/').next());
        authority
            .and_then(|authority| authority.rsplit_once(':'))
            .is_some_and(|(_, told)| told == port.to_string())
    })
}

#[cfg(test)]
mod tests {
    use trunkline_server::PortHolder;
    use trunkline_server::control::status::ServiceStatus;

    use super::super::finding::Level;
    use super::*;

    #[test]
    fn whose_a_port_is_tells() {
        let address: SocketAddr = "127.0.0.1:8787".parse().unwrap();
        let status = Status {
            version: String::new(),
            process: 7,
            uptime_seconds: 0,
            configuration: None,
            draining: false,
            services: vec![ServiceStatus {
                tag: "claude".to_owned(),
                provider: "claude".to_owned(),
                url: "http://[::1]:8787/claude".to_owned(),
                users: 0,
                in_flight: 0,
                requests: 0,
                failovers: 0,
                recent_failovers: Vec::new(),
                credentials: Vec::new(),
            }],
        };
        let held = |process| PortState::Held(Some(PortHolder { process, name: "nginx".to_owned() }));
        for (state, running, level) in [
            (PortState::Free, false, Level::Ok),
            (PortState::Free, true, Level::Warning),
            (held(7), true, Level::Ok),
            (held(7), false, Level::Problem),
            (held(8), true, Level::Problem),
            (PortState::Held(None), true, Level::Ok),
            (PortState::Held(None), false, Level::Problem),
            (PortState::Refused(io::ErrorKind::PermissionDenied), false, Level::Problem),
            (PortState::Refused(io::ErrorKind::AddrNotAvailable), false, Level::Problem),
            (PortState::Refused(io::ErrorKind::OutOfMemory), false, Level::Problem),
        ] {
            let finding = finding(address, &state, running.then_some(&status));
            assert_eq!(finding.level, level, "{finding:?}");
            assert_eq!(finding.remedy.is_none(), level == Level::Ok);
        }
        assert!(!listens(&status, 787));
    }
}
