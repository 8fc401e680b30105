use std::fmt;

/// Where in a document something is, as `spec.templates[0].name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct DocumentPath(String);

impl DocumentPath {
    /// A path that starts at `root`.
    pub fn new(root: impl Into<String>) -> Self {
        Self(root.into())
    }

    /// The path of an entry; keys that are no plain names are quoted.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if key.is_empty() || !key.chars().all(plain) {
            return Self(format!("{}[{key:?}]", self.0));
        }
        if self.0.is_empty() { Self(key.to_owned()) } else { Self(format!("{}.{key}", self.0)) }
    }

    /// The path of an element.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl fmt::Display for DocumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
