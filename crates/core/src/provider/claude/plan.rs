//! Plans: the profile, and what a plan weighs (credentials.md, *Profile and plan weight*; fact sheet, section 3).

use serde_json::Value;

use crate::document::{Document, text};
use crate::login::Plan;
use crate::provider::Profile;
use crate::refresh::{AccountFacts, AnswerError};
use crate::secret::Secret;

pub(super) fn read_profile(raw: &[u8]) -> Result<Profile, AnswerError> {
    let document = Document::parse(raw).map_err(|_| AnswerError::NotAnObject)?;
    let of = |object: &str, name: &str| {
        let object = document.members().get(object).and_then(Value::as_object)?;
        text(object, name).map(str::to_owned)
    };
    let organization_type = of("organization", "organization_type");
    Ok(Profile {
        plan: Plan {
            subscription: organization_type
                .as_deref()
                .and_then(|kind| kind.strip_prefix("claude_"))
                .filter(|kind| matches!(*kind, "pro" | "max" | "team" | "enterprise"))
                .map(str::to_owned),
            tier: of("organization", "rate_limit_tier"),
        },
        account: AccountFacts {
            account_id: of("account", "uuid"),
            email: of("account", "email").map(Secret::new),
            organization_id: of("organization", "uuid"),
        },
    })
}

pub(super) fn weight(plan: &Plan) -> u32 {
    match (plan.subscription.as_deref(), plan.tier.as_deref()) {
        (Some("max"), Some("default_claude_max_20x")) => 10,
        (Some("max"), _) | (Some("team"), Some("default_claude_max_5x")) => 5,
        _ => 1,
    }
}
