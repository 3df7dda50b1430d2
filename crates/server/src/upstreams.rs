//! The connections to providers, by way out: shared by credentials that go the same way, and kept when the configuration
//! changes around them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use trunkline_config::BaseUrl;
use trunkline_config::model::{self, OutboundKind, PemSource};
use trunkline_engine::upstream::tls::Trust;
use trunkline_engine::upstream::{Origin, Upstream, UpstreamSettings};

use crate::assemble::Common;
use crate::way_out;

/// Upstreams with what they were made for.
#[derive(Default)]
pub(crate) struct Upstreams {
    known: Vec<(WayOut, Arc<Upstream>)>,
}

/// What makes two ways out the same one.
#[derive(Debug, PartialEq)]
struct WayOut {
    url: String,
    hops: Vec<model::Outbound>,
    connect: Duration,
    /// The files that are read for it, as they were.
    files: Vec<(PathBuf, Option<(SystemTime, u64)>)>,
}

impl Upstreams {
    /// The upstream of a credential at one of its URLs: one that is known here or was `before`, else a new one. The error
    /// says what cannot be used, and why.
    pub(crate) fn take_over_or_make(
        &mut self,
        credential: &model::Credential,
        url: &BaseUrl,
        connect: Duration,
        before: &Self,
        common: &Common,
    ) -> Result<Arc<Upstream>, String> {
        let hops = way_out::hops(credential, url, &common.surroundings);
        let way = WayOut {
            url: format!("{}://{}{}", url.scheme(), url.authority(), url.path()),
            hops: hops.to_vec(),
            connect,
            files: files(credential, hops).map(|path| (path.to_path_buf(), stamp(path))).collect(),
        };
        if let Some(upstream) = self.find(&way) {
            return Ok(upstream);
        }
        let upstream = if let Some(upstream) = before.find(&way) {
            upstream
        } else {
            let ca_path = credential.upstream.ca_path.as_deref();
            let more = ca_path.map(|path| way_out::authorities("upstream.ca_path", path)).transpose()?;
            let settings = UpstreamSettings {
                origin: Origin::parse(&way.url).map_err(|error| error.to_string())?,
                way: way_out::build(hops, &common.system)?,
                trust: Trust::System(Arc::clone(&common.system), more),
                connect,
            };
            Upstream::new(settings, common.workers)
        };
        self.known.push((way, Arc::clone(&upstream)));
        Ok(upstream)
    }

    fn find(&self, way: &WayOut) -> Option<Arc<Upstream>> {
        self.known.iter().find(|(known, _)| known == way).map(|(_, upstream)| Arc::clone(upstream))
    }
}

/// The files that are read for a credential's way out.
fn files<'a>(
    credential: &'a model::Credential,
    hops: &'a [model::Outbound],
) -> impl Iterator<Item = &'a Path> {
    let of_proxies = hops.iter().filter_map(|hop| match &hop.kind {
        OutboundKind::Http(proxy) => match proxy.tls.as_ref()?.certificate.as_ref()? {
            PemSource::Path(path) => Some(path.as_path()),
            PemSource::Inline(_) => None,
        },
        _ => None,
    });
    credential.upstream.ca_path.as_deref().into_iter().chain(of_proxies)
}

/// The files of certificate authorities that a configuration names.
pub(crate) fn authority_files(config: &trunkline_config::Config) -> impl Iterator<Item = PathBuf> {
    let credentials = config.services.iter().flat_map(|service| &service.credentials);
    credentials.flat_map(|credential| {
        let hops = credential.detour.as_ref().map_or(&[][..], |detour| &detour.outbounds);
        files(credential, hops).map(Path::to_path_buf).collect::<Vec<_>>()
    })
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
