//! A change to one place of a JSON document.

/// One value to be set, as the writer of a document takes it.
pub struct Edit {
    /// The keys that lead to the value, from the top of the document.
    pub path: Vec<String>,
    /// What is to stand there.
    pub value: serde_json::Value,
}
