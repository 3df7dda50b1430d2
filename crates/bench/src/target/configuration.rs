//! The configuration files of the programs under test.

use std::net::SocketAddr;
use std::path::Path;

/// nginx as a proxy for streams: nothing buffered, connections kept, one worker.
///
/// The limits on requests per connection are lifted because the other targets have none.
pub(crate) fn nginx(
    directory: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    single_process: bool,
) -> String {
    let directory = directory.display();
    let master = if single_process { "off" } else { "on" };
    format!(
        "daemon off;
master_process {master};
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 8192;
}}
http {{
    access_log off;
    tcp_nodelay on;
    client_max_body_size 64m;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream provider {{
        server {upstream};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_set_header Connection \"\";
            proxy_set_header Authorization \"Bearer bench-key\";
        }}
    }}
}}
"
    )
}

/// HAProxy as a proxy for streams: one thread, nothing held back, connections kept and shared, no log.
///
/// `http-no-delay` is what `proxy_buffering off` is to nginx: without it, parts of a chunked answer may wait for more
/// to fill a packet with. `http-reuse always` is what the other targets do. 3,000 connections need 6,000 open files,
/// of which every proxy gets 8,192.
pub(crate) fn haproxy(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
    maxconn 3000
defaults
    mode http
    option http-keep-alive
    option http-no-delay
    http-reuse always
    retries 0
    timeout connect 5s
    timeout client 10m
    timeout server 10m
frontend clients
    bind {listen} backlog 4096
    http-request set-header Authorization \"Bearer bench-key\"
    default_backend provider
backend provider
    server provider {upstream} pool-purge-delay 10m
"
    )
}

/// Trunkline with one service, one user and one credential.
pub(crate) fn trunkline(listen: SocketAddr, upstream: SocketAddr) -> String {
    serde_json::json!({
        "log": { "level": "warn" },
        "services": [{
            "type": "claude",
            "listen": listen.ip().to_string(),
            "listen_port": listen.port(),
            "path": "",
            "upstream": { "api_url": format!("http://{upstream}") },
            "users": [{ "name": "bench", "token": "bench-token" }],
            "credentials": [{ "tag": "k", "type": "api_key", "api_key": "bench-key" }],
        }],
    })
    .to_string()
}
