//! A real proxy as a process.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use trunkline_testkit::ports::free_port;
use trunkline_testkit::{TempDir, bounded};

/// How often a program is asked whether it listens.
const PAUSE: Duration = Duration::from_millis(10);

/// How many ports are tried: another program may take one between our look and the proxy's.
const TRIES: usize = 3;

/// The user and password that proxies with a login want.
pub(crate) const LOGIN: (&str, &str) = ("me", "pass word");

/// [`LOGIN`] as `htpasswd` writes it.
const PASSWORD_FILE: &str = "me:$apr1$T8.x0aQk$edmaqeVirxdcNkeyTXb5Z.\n";

/// A running proxy, which is told to end when dropped.
pub(crate) struct Program {
    pub(crate) addr: SocketAddr,
    child: Child,
    _home: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGTERM and not SIGKILL, so that it ends its children and removes its shared memory.
        if let Some(pid) = self.child.id() {
            let _ = std::process::Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

/// The program's path; `None` if its tests are skipped.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian puts daemons, which is not on everyone's path.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    if let Some(found) = folders.map(|folder| folder.join(name)).find(|file| file.is_file()) {
        return Some(found);
    }
    let how = format!(
        "{name} is not installed; on Debian: apt-get install tinyproxy squid microsocks dante-server"
    );
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty() || ci == "false"), "{how}");
    println!("SKIPPED: {how}");
    None
}

/// Starts a program with the arguments that `prepare` makes for a port and a folder.
async fn start(name: &str, prepare: impl Fn(u16, &Path) -> Vec<String>) -> Option<Program> {
    let binary = find(name)?;
    for _ in 0..TRIES {
        let home = TempDir::new().expect("a temporary directory");
        // Squid, started as root, goes over to a user of its own.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.path(), open).expect("a directory that others can read");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().expect("a free port")));
        let mut child = Command::new(&binary)
            .args(prepare(addr.port(), home.path()))
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let listens = bounded("a proxy to listen", async {
            loop {
                if TcpStream::connect(addr).await.is_ok() {
                    return true;
                }
                if child.try_wait().expect("its state").is_some() {
                    return false;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        if listens.await.expect("a proxy that listens") {
            return Some(Program { addr, child, _home: home });
        }
    }
    panic!("{name} ended {TRIES} times instead of listening");
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))
        .expect("a file that others can read");
    file.display().to_string()
}

pub(crate) async fn tinyproxy(login: bool) -> Option<Program> {
    start("tinyproxy", |port, folder| {
        let mut text =
            format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogLevel Critical\n");
        if login {
            // It has no way to write a blank in a password.
            text.push_str("BasicAuth me pass\n");
        }
        vec!["-d".to_owned(), "-c".to_owned(), write(folder, "tinyproxy.conf", &text)]
    })
    .await
}

pub(crate) async fn squid(login: bool) -> Option<Program> {
    start("squid", |port, folder| {
        let access = if login {
            let passwords = write(folder, "passwords", PASSWORD_FILE);
            format!(
                "auth_param basic program /usr/lib/squid/basic_ncsa_auth {passwords}\nauth_param basic realm test\n\
                 acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n"
            )
        } else {
            "http_access allow all\n".to_owned()
        };
        let text = format!(
            "http_port 127.0.0.1:{port}\n{access}pid_filename none\naccess_log none\ncache_log /dev/null\n\
             cache deny all\nnetdb_filename none\npinger_enable off\nshutdown_lifetime 0 seconds\ncoredump_dir none\n"
        );
        // The name keeps its shared memory apart from that of other instances.
        let name = format!("trunkline{port}");
        vec!["-N".to_owned(), "-n".to_owned(), name, "-f".to_owned(), write(folder, "squid.conf", &text)]
    })
    .await
}

pub(crate) async fn microsocks(login: bool) -> Option<Program> {
    start("microsocks", |port, _| {
        let mut args = vec!["-i".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port.to_string()];
        if login {
            args.extend(["-u", LOGIN.0, "-P", LOGIN.1].map(str::to_owned));
        }
        args
    })
    .await
}

pub(crate) async fn danted() -> Option<Program> {
    start("danted", |port, folder| {
        let text = format!(
            "logoutput: /dev/null\ninternal: 127.0.0.1 port = {port}\nexternal: 127.0.0.1\nclientmethod: none\n\
             socksmethod: none\nclient pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
             socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp }}\n"
        );
        vec!["-f".to_owned(), write(folder, "danted.conf", &text)]
    })
    .await
}
