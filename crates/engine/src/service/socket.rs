//! A client asks for a WebSocket.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Response};
use trunkline_core::fault::{Fault, FaultKind};

use super::accept::ApiCall;
use super::{Service, Under};
use crate::client_connection::RequestGuard;
use crate::relay::ResponseBody;

impl Service {
    /// Answers a request for a WebSocket. Nothing carries one yet: 426, on which the client takes to HTTP at once and silently,
    /// while another refusal would cost it seconds of retries (codex.md, *Connecting*).
    pub(super) async fn open_socket(
        &self,
        headers: &HeaderMap,
        call: ApiCall,
        address: IpAddr,
        mut under: Under,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        match self.authenticate(headers, call, address).await {
            Ok(authed) => {
                if let Some(record) = &mut under.record {
                    record.user = authed.user.as_ref().map(|user| Arc::clone(&user.name));
                }
            }
            Err(fault) => return self.refuse(&fault, under, guard),
        }
        let fault = Fault::new(FaultKind::UpgradeRequired, "no credential can carry a WebSocket: use HTTP");
        self.refuse(&fault, under, guard)
    }
}
