//! `trunkline demo`: simulated providers, Trunkline in front of them, and some traffic, all in this process.
//!
//! What serves here is what `trunkline serve` runs, from a configuration file that is read and checked in the same way.
//! Only the providers behind it are simulated.
//!
//! Spec: operations.md, *Command line*.

mod accounts;
mod display;
mod scene;
#[cfg(test)]
mod tests;
mod traffic;

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;
use trunkline_config::Surroundings;
use trunkline_core::provider::Provider;
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_server::control::ControlSocket;
use trunkline_server::{DataDirectory, Drain, Drained};

use super::signals::{Signals, Told};
use super::{Failure, print, serve};
use crate::args::DemoArgs;
use crate::configuration;
use crate::logging::Logging;
use accounts::Of;
use display::{Display, Manner, Urls};
use scene::{Listen, Scene};
use traffic::{Conversation, Tally};

/// How long the demo's own clients get to read the answers that they have asked for, before the server ends. An answer takes
/// less than a second; this is what the server gives everybody else (`drain_timeout` of the scene).
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// How long the demo's own clients get to end once the server has: their answers are over by then.
const GRACE: Duration = Duration::from_secs(2);

pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?
        .block_on(perform(args))
}

async fn perform(args: &DemoArgs) -> Result<(), Failure> {
    let listen = args.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let listen = Listen { claude: listen, codex: listen };
    // Before there is anything to clean up.
    let signals = Signals::new()?;
    let scene = Scene::new().await?;
    let found = configuration::find(Some(scene.write_configuration(listen, args.log)?))?;
    Logging::start(&found.config.log)
        .map_err(|error| Failure::other(format!("the log cannot be written: {error}")))?;
    let data = DataDirectory::hold(&found.config.data_directory)
        .map_err(|error| Failure::other(error.to_string()))?;
    let drain = Drain::default();
    // Neither a proxy nor an authority of the environment has to do with what stays on this machine.
    let server = serve::start(found.config, Surroundings::default(), drain.clone())?;
    let bound = |of: &dyn Provider| {
        let running = server.running().load();
        let found = running.iter().find(|bound| bound.service.provider().name() == of.name());
        found.map(|bound| (bound.address, bound.url()))
    };
    let (Some((claude, claude_url)), Some((codex, codex_url))) = (bound(&Claude), bound(&Codex)) else {
        return Err(Failure::other("the demonstration lacks a service"));
    };
    let (listen, urls) = (Listen { claude, codex }, Urls { claude: claude_url, codex: codex_url });
    let control = ControlSocket::open(&DataDirectory::socket(data.path()), found.file.as_deref())
        .map_err(|error| Failure::other(format!("{error}: set TMPDIR to a shorter path on a local disk")))?;
    let control =
        tokio::spawn(control.serve(server.running().clone(), server.changes().clone(), drain.clone()));
    // Once more, with the ports that were chosen: the file is there to be looked at and used.
    scene.write_configuration(listen, args.log)?;
    scene.write_codex_home(&urls.codex)?;
    tracing::info!("listening on {}", urls.claude);
    tracing::info!("listening on {}", urls.codex);
    print(&display::introduction(&scene, &urls, args.no_traffic))?;

    let began = Instant::now();
    let asking = drain.part();
    let tallies: Arc<[Tally]> = scene.clients.iter().map(|_| Tally::default()).collect();
    let clients = TaskTracker::new();
    if !args.no_traffic {
        for (position, client) in scene.clients.iter().enumerate().filter(|(_, client)| client.is_driven) {
            for (of, address) in [(Of::Claude, listen.claude), (Of::Codex, listen.codex)] {
                clients.spawn(traffic::run(Conversation {
                    of,
                    addr: reachable(address),
                    token: client.token.clone(),
                    name: client.name,
                    tallies: Arc::clone(&tallies),
                    position,
                    asking: asking.clone(),
                }));
            }
        }
    }
    clients.close();
    let counting = tokio::spawn(scene.providers.clone().count());
    let manner = Manner::of(std::io::stdout().is_terminal(), args.log, std::env::var("TERM").ok().as_deref());
    let display =
        Display::start(manner, began, scene.providers.clone(), Arc::clone(&tallies), &scene.clients)
            .map_err(|error| Failure::other(format!("cannot start a thread: {error}")))?;
    let watching = tokio::spawn(end_when_told(signals, asking.clone(), drain.clone(), args.time));

    end_in_order(&asking, &clients, &drain).await;
    let drained = server.finish().await;
    watching.abort();
    counting.abort();
    // A client that is still there waits for nothing any more.
    let _ = tokio::time::timeout(GRACE, clients.wait()).await;
    let _ = control.await;
    drop(data);
    display.end();
    let (mut asked, mut answered, mut failed) = (0, 0, 0);
    for tally in tallies.iter() {
        let counts = tally.counts();
        asked += counts.asked;
        answered += counts.answered;
        failed += counts.failed;
    }
    let directory = scene.directory.path().to_owned();
    drop(scene);
    let cut = match drained {
        Drained::Cleanly => String::new(),
        Drained::Cut(connections) => format!(" {connections} connections were cut off."),
    };
    let left = if directory.exists() {
        format!(" {} could not be removed.", directory.display())
    } else {
        String::new()
    };
    print(&format!(
        "\nstopped after {} s: {asked} requests of the demo, {answered} answered, {failed} failed.{cut}{left}\n",
        began.elapsed().as_secs()
    ))
}

/// Where a client on this machine reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Waits until the demo's clients are to ask no more, and then for their last answers; only then is the server told to end.
///
/// A server that drains refuses connections and closes those without a request, also one on which a request is just being sent. If
/// clients and server were told at the same moment, such a request would count as a failure.
async fn end_in_order(asking: &Drain, clients: &TaskTracker, drain: &Drain) {
    asking.stopped().await;
    tokio::select! {
        _ = tokio::time::timeout(LAST_ANSWERS, clients.wait()) => {}
        () = drain.aborted() => {}
    }
    drain.stop();
}

/// A signal, or the end of the time, ends it: first the demo's own clients, then the server. Another signal ends all of it at
/// once. A terminal that is closed ends it too, or its directory would stay behind.
async fn end_when_told(mut signals: Signals, asking: Drain, drain: Drain, time: Option<Duration>) {
    let over = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut timed = time.is_some();
    loop {
        tokio::select! {
            Told::End | Told::Hangup = signals.next() => {
                if asking.is_stopping() { drain.abort() } else { asking.stop() }
            }
            () = &mut over, if timed => {
                timed = false;
                asking.stop();
            }
        }
    }
}
