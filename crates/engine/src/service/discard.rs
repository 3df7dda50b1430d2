//! Reports of a client's own, such as its telemetry, which are taken and dropped.
//!
//! Spec: claude.md, *What the gateway contract asks besides*.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::provider::OwnAnswer;

use super::{Service, Under, own};
use crate::client_connection::RequestGuard;
use crate::forward::slow_body;
use crate::record::Outcome;
use crate::relay::ResponseBody;

/// The largest report that is read, in bytes. Exporters send batches of some hundred entries, far below a megabyte.
const MAX_REPORT: u64 = 8 * 1024 * 1024;

/// How long a report may take to arrive. An exporter gives up after 10 s by itself.
const MAX_WAIT: Duration = Duration::from_secs(30);

impl Service {
    /// Reads a report to its end and answers that it was taken. Nothing of it is kept.
    pub(super) async fn discard(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        mut under: Under,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        let read = match tokio::time::timeout(MAX_WAIT, read_to_end(body)).await {
            Ok(read) => read,
            Err(_) => Err(slow_body()),
        };
        let received = match read {
            Ok(received) => received,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        let answer = taken(headers);
        if let Some(mut record) = under.record.take() {
            record.status = answer.status;
            record.bytes_in = received;
            record.bytes_out = answer.body.len() as u64;
            record.finish(Outcome::Ok);
        }
        own::answer(answer, &under, guard)
    }
}

/// How long the body was.
async fn read_to_end(mut body: Incoming) -> Result<u64, Fault> {
    let too_large =
        || Fault::new(FaultKind::BodyTooLarge, format!("the report is over the limit of {MAX_REPORT} bytes"));
    if body.size_hint().lower() > MAX_REPORT {
        return Err(too_large());
    }
    let mut received: u64 = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::new(FaultKind::InvalidRequest, "the report broke off"))?;
        received = received.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
        if received > MAX_REPORT {
            return Err(too_large());
        }
    }
    Ok(received)
}

/// The answer of a collector that took everything, in the encoding that the client used: OpenTelemetry's protocol answers an
/// empty message, which is no bytes at all in its binary form.
fn taken(headers: &HeaderMap) -> OwnAnswer {
    let is_json = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_none_or(|kind| kind.to_ascii_lowercase().contains("json"));
    let (content_type, body) =
        if is_json { ("application/json", &b"{}"[..]) } else { ("application/x-protobuf", &b""[..]) };
    OwnAnswer { status: StatusCode::OK, content_type, body: Bytes::from_static(body) }
}
