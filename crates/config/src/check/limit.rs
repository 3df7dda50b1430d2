//! Quotas. Spec: usage.md.

use super::Context;
use crate::record::Record;

const AMOUNTS: [&str; 3] = ["usd", "tokens", "requests"];

/// Checks the `limits` of a user or of an API key: amounts in a window, or requests at once.
pub(super) fn check(owner: &Record, context: &mut Context<'_>) {
    for limit in owner.records("limits") {
        let amount = AMOUNTS.into_iter().find(|name| limit.stated(name).is_some());
        let window = limit.stated("per").is_some();
        match amount {
            Some(name) if !window => {
                let message = format!("required beside {name}: 5h, day, week, month, or a duration");
                context.report.error(&limit.spot.absent("per"), message);
            }
            None if window => {
                context.report.error(&limit.spot, "limits nothing; set usd, tokens or requests");
            }
            None if limit.stated("concurrency").is_none() => {
                let message = "limits nothing; set per with usd, tokens or requests, or set concurrency";
                context.report.error(&limit.spot, message);
            }
            _ => {}
        }
    }
}
