//! Pools: what the tag of a credential stands for.

use super::Context;
use super::credential::{Draft, Kind};
use crate::diagnostic::{did_you_mean, quoted};
use crate::model::{CredentialId, Pool};
use crate::table::STRATEGY_FALLBACK;
use trunkline_core::selection::Strategy;

/// Checks the balancers of a service.
pub(super) fn check(drafts: &[Draft<'_>], context: &mut Context<'_>) {
    for draft in drafts.iter().filter(|draft| draft.kind == Kind::Balancer) {
        members_exist(draft, drafts, context);
        strategy_fits(draft, context);
    }
}

/// The credentials behind a credential: the members of a balancer, else itself.
pub(super) fn members<'d, 'r>(draft: &'d Draft<'r>, drafts: &'d [Draft<'r>]) -> Vec<&'d Draft<'r>> {
    if draft.kind != Kind::Balancer {
        return vec![draft];
    }
    draft.record.texts("credentials").filter_map(|(tag, _)| find(tag, drafts)).collect()
}

/// The credential with a tag.
pub(super) fn find<'d, 'r>(tag: &str, drafts: &'d [Draft<'r>]) -> Option<&'d Draft<'r>> {
    drafts.iter().find(|draft| draft.tag == Some(tag))
}

/// The message for a tag that no credential has.
pub(super) fn no_such(tag: &str, drafts: &[Draft<'_>]) -> String {
    let hint = did_you_mean(tag, drafts.iter().filter_map(|draft| draft.tag));
    format!("there is no credential with the tag {}{hint}", quoted(tag))
}

/// The pools of the model: one for each entry of the list. `None` if one of them names what is not there, which was
/// reported.
pub(super) fn build(drafts: &[Draft<'_>]) -> Option<Vec<Pool>> {
    // Balancers are no credentials: those behind one count from further in front.
    let id = |tag: &str| {
        let credentials = drafts.iter().filter(|draft| draft.kind != Kind::Balancer);
        credentials.map(|draft| draft.tag).position(|known| known == Some(tag)).map(CredentialId)
    };
    drafts
        .iter()
        .map(|draft| {
            let tag = draft.tag?;
            let is_balancer = draft.kind == Kind::Balancer;
            let members: Option<Vec<CredentialId>> = if is_balancer {
                draft.record.texts("credentials").map(|(tag, _)| id(tag)).collect()
            } else {
                Some(vec![id(tag)?])
            };
            Some(Pool {
                tag: tag.to_owned(),
                strategy: if is_balancer { strategy(draft) } else { Strategy::LeastUsed },
                rebalance_threshold: if is_balancer {
                    draft.record.number("rebalance_threshold").unwrap_or(0.0)
                } else {
                    0.0
                },
                members: members.filter(|members| !members.is_empty())?,
                is_balancer,
            })
        })
        .collect()
}

fn strategy(balancer: &Draft<'_>) -> Strategy {
    match (balancer.record.choice("strategy"), balancer.record.choice("type")) {
        (Some(STRATEGY_FALLBACK), _) | (None, Some(STRATEGY_FALLBACK)) => Strategy::Fallback,
        (Some("round_robin"), _) => Strategy::RoundRobin,
        (Some("random"), _) => Strategy::Random,
        _ => Strategy::LeastUsed,
    }
}

fn members_exist(balancer: &Draft<'_>, drafts: &[Draft<'_>], context: &mut Context<'_>) {
    let Some(entry) = balancer.record.entry("credentials") else { return };
    if entry.value.is_idle() && !context.report.has_error_at(&entry.spot) {
        context.report.error(&entry.spot, "expected the tag of at least one credential");
    }
    let mut named: Vec<&str> = Vec::new();
    for (tag, spot) in balancer.record.texts("credentials") {
        match find(tag, drafts) {
            None => context.report.error(spot, no_such(tag, drafts)),
            Some(member) if member.kind == Kind::Balancer => {
                context
                    .report
                    .error(spot, format!("{} is a balancer; name its members instead", quoted(tag)));
            }
            Some(_) if named.contains(&tag) => {
                context.report.error(spot, format!("{} is named twice", quoted(tag)));
            }
            Some(_) => {}
        }
        named.push(tag);
    }
}

fn strategy_fits(balancer: &Draft<'_>, context: &mut Context<'_>) {
    let record = balancer.record;
    let stated = record.choice("strategy");
    let implied =
        if record.choice("type") == Some(STRATEGY_FALLBACK) { Some(STRATEGY_FALLBACK) } else { None };
    if let (Some(implied), Some(stated)) = (implied, stated)
        && implied != stated
    {
        let message = format!("contradicts the type, which is {implied}; use \"type\": \"balancer\"");
        context.report.error(&record.spot_of("strategy"), message);
        return;
    }
    let strategy = stated.or(implied).unwrap_or("least_used");
    let rebalances = record.number("rebalance_threshold").is_some_and(|percent| percent > 0.0);
    if rebalances && strategy != "least_used" && record.stated("strategy").is_none_or(|_| stated.is_some()) {
        let message = format!("has no effect with the strategy {strategy}; only least_used rebalances");
        context.report.warn(&record.spot_of("rebalance_threshold"), message);
    }
}
