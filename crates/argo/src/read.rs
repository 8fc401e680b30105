//! Reading typed values out of JSON with the path of what is wrong.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A manifest does not have the shape that Argo's API gives it.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ReadError {
    path: String,
    message: String,
}

impl ReadError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// Where the malformed value stands, such as `spec.templates[0].name`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Reads `value`, which stands at `root` of a manifest.
///
/// # Errors
/// The path below `root` of the first value that has the wrong type.
pub fn read<T: DeserializeOwned>(root: &str, value: &Value) -> Result<T, ReadError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let below = error.path().to_string();
        let path = match below.as_str() {
            "." => root.to_owned(),
            _ if root.is_empty() => below,
            _ => format!("{root}.{below}"),
        };
        ReadError::new(path, error.into_inner().to_string())
    })
}
