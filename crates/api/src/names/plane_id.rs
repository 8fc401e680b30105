use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{NameError, label};

/// The id of a physical plane: a DNS-1123 label. Several objects may name one plane.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaneId(String);

impl PlaneId {
    /// Checks that the text is a plane id.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        label("plane id", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The id in effect for an object: what its spec names, else the name of the object.
    ///
    /// # Errors
    /// The object's name may be a subdomain, which is no plane id; then the spec has to name one.
    pub fn effective(spec: Option<&str>, object_name: &str) -> Result<Self, NameError> {
        Self::parse(spec.filter(|id| !id.is_empty()).unwrap_or(object_name))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PlaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for PlaneId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlaneId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for PlaneId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        label("plane id", &text)?;
        Ok(Self(text))
    }
}

impl Serialize for PlaneId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PlaneId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
