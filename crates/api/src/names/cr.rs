use std::fmt;
use std::str::FromStr;

use super::{NameError, PlaneKind, PlaneType, excerpt, label, subdomain};

/// What stands in place of a namespace for a cluster-scoped object. No namespace can have this name.
pub const CLUSTER_SEGMENT: &str = "_cluster";

/// Names one plane object: `<kind>/<namespace|_cluster>/<name>`, kind in lower case.
///
/// Always valid: the namespace is there exactly for namespaced kinds, and every part is a Kubernetes name, so that
/// the text can stand in a path or a header as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrRef {
    kind: PlaneKind,
    namespace: Option<String>,
    name: String,
}

impl CrRef {
    /// Checks the parts of a reference against each other.
    pub fn try_new(kind: PlaneKind, namespace: Option<&str>, name: &str) -> Result<Self, NameError> {
        if kind.is_cluster_scoped() == namespace.is_some() {
            return Err(NameError::WrongScope { kind, namespaced: namespace.is_some() });
        }
        if let Some(namespace) = namespace {
            label("namespace", namespace)?;
        }
        subdomain("object name", name)?;
        Ok(Self { kind, namespace: namespace.map(ToOwned::to_owned), name: name.to_owned() })
    }

    /// Reads the reference from the segments of a gateway path, where the scope tells the kind.
    pub fn from_segments(plane_type: PlaneType, namespace: &str, name: &str) -> Result<Self, NameError> {
        if namespace == CLUSTER_SEGMENT {
            Self::try_new(plane_type.cluster_kind(), None, name)
        } else {
            Self::try_new(plane_type.namespaced_kind(), Some(namespace), name)
        }
    }

    /// The kind of the object.
    pub fn kind(&self) -> PlaneKind {
        self.kind
    }

    /// The type of plane the object describes.
    pub fn plane_type(&self) -> PlaneType {
        self.kind.plane_type()
    }

    /// The namespace; none for a cluster-scoped object.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The namespace, or `_cluster`.
    pub fn namespace_segment(&self) -> &str {
        self.namespace().unwrap_or(CLUSTER_SEGMENT)
    }

    /// The name of the object.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for CrRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace_segment(), self.name)
    }
}

impl FromStr for CrRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut parts = text.split('/');
        let (Some(kind), Some(namespace), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NameError::NotAReference { value: excerpt(text) });
        };
        let namespace = (namespace != CLUSTER_SEGMENT).then_some(namespace);
        Self::try_new(kind.parse()?, namespace, name)
    }
}
