//! What a client says of a request's place in its work: who asks, within what, and why.
//!
//! Any client may claim anything here, so it is written down and may order requests, and never authorises one. Only values of
//! the known form are kept, each of a bounded length: they go into logs.
//!
//! Spec: claude.md, *What the gateway contract asks besides*; facts: gateway-contract.md, 6.

use std::fmt;

/// The longest name or id that is kept, in bytes. A UUID has 36, the id of an agent 17.
const MAX_ID: usize = 64;

/// What kind of work a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestClass {
    /// A turn of the conversation that a person sees.
    Main,
    /// A turn of an agent that the conversation started.
    Subagent,
    /// A turn of a workflow.
    Workflow,
    /// A summary that takes the place of a long history.
    Compaction,
    /// Something small beside the conversation, such as a title or a count.
    Auxiliary,
    /// An answer beside the conversation.
    SideReply,
}

impl RequestClass {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::Main, Self::Subagent, Self::Workflow, Self::Compaction, Self::Auxiliary, Self::SideReply];

    /// Its name, in headers and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Subagent => "subagent",
            Self::Workflow => "workflow",
            Self::Compaction => "compaction",
            Self::Auxiliary => "auxiliary",
            Self::SideReply => "side_reply",
        }
    }

    /// The class of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for RequestClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a request says of itself. Empty where its provider's clients say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHints {
    /// The class, stated or concluded.
    pub class: Option<RequestClass>,
    /// The agent that asks, if it is one.
    pub agent: Option<Box<str>>,
    /// The agent that started this one.
    pub parent_agent: Option<Box<str>>,
    /// The name of the kind of agent.
    pub agent_type: Option<Box<str>>,
    /// The person's prompt that all of this is about.
    pub prompt: Option<Box<str>>,
}

/// An id or a name, if it has the form of one.
pub fn id(text: &str) -> Option<Box<str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    ((1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_plain)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_classes_have_a_name() {
        for class in RequestClass::ALL {
            assert_eq!(RequestClass::parse(class.name()), Some(class));
            assert_eq!(class.to_string(), class.name());
        }
        for other in ["", "Main", "main ", "administrator"] {
            assert_eq!(RequestClass::parse(other), None);
        }
    }

    #[test]
    fn ids_are_short_and_plain() {
        for good in ["a0123456789abcdef", "fa4e0000-0000-4000-8000-000000000001", "general-purpose"] {
            assert_eq!(id(good).as_deref(), Some(good));
        }
        for bad in ["", "a b", "\"", "\u{e9}", &"x".repeat(65)] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }
}
