//! Names that are proven to be what they claim: plane ids, plane kinds, references to plane objects, CI namespaces.

use std::fmt;
use std::str::FromStr;

mod ci;
mod cr;
mod plane_id;

pub use ci::{CI_NAMESPACE_PREFIX, CiNamespace, MAX_NAMESPACE_LENGTH};
pub use cr::{CLUSTER_SEGMENT, CrRef};
pub use plane_id::PlaneId;

/// The longest DNS-1123 label.
pub const MAX_LABEL_LENGTH: usize = 63;
/// The longest DNS-1123 subdomain, which most object names are.
pub const MAX_SUBDOMAIN_LENGTH: usize = 253;

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is not a DNS-1123 label.
    #[error(
        "{what} {value:?} is not valid: it must be 1 to 63 lower-case letters, digits or hyphens, and start and end \
         with a letter or digit"
    )]
    NotALabel {
        /// What the text should have been.
        what: &'static str,
        /// The offending text, cut to a printable length.
        value: String,
    },
    /// The text is not a DNS-1123 subdomain.
    #[error(
        "{what} {value:?} is not valid: it must be at most 253 lower-case letters, digits, hyphens or dots, and each \
         part between dots must start and end with a letter or digit"
    )]
    NotASubdomain {
        /// What the text should have been.
        what: &'static str,
        /// The offending text, cut to a printable length.
        value: String,
    },
    /// The text is not one of the known words.
    #[error("{what} {value:?} is not known; known are {known}")]
    Unknown {
        /// What the text should have been.
        what: &'static str,
        /// The offending text, cut to a printable length.
        value: String,
        /// The words that are known.
        known: &'static str,
    },
    /// A reference does not have its three parts.
    #[error("reference {value:?} is not of the form <kind>/<namespace|_cluster>/<name>")]
    NotAReference {
        /// The offending text, cut to a printable length.
        value: String,
    },
    /// The scope of the kind and the namespace given do not agree.
    #[error("{kind} is {}-scoped, but the reference {}", scope(*.kind), given(*.namespaced))]
    WrongScope {
        /// The kind of the reference.
        kind: PlaneKind,
        /// Whether a namespace was given.
        namespaced: bool,
    },
    /// The namespace leaves no room for the prefix of its CI namespace.
    #[error(
        "namespace {namespace:?} has {length} characters, at most {MAX_NAMESPACE_LENGTH} fit into \
         {CI_NAMESPACE_PREFIX}<namespace> on the build plane; use a shorter namespace"
    )]
    NamespaceTooLong {
        /// The namespace, cut to a printable length.
        namespace: String,
        /// Its length.
        length: usize,
    },
}

fn scope(kind: PlaneKind) -> &'static str {
    if kind.is_cluster_scoped() { "cluster" } else { "namespace" }
}

fn given(namespaced: bool) -> &'static str {
    if namespaced { "names a namespace" } else { "names none" }
}

/// The three types of plane, as they stand in paths, queries and certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaneType {
    /// Runs builds.
    BuildPlane,
    /// Runs applications.
    DataPlane,
    /// Collects logs and metrics.
    ObservabilityPlane,
}

impl PlaneType {
    /// Every plane type.
    pub const ALL: [Self; 3] = [Self::BuildPlane, Self::DataPlane, Self::ObservabilityPlane];

    /// The word on the wire: `buildplane`, `dataplane`, `observabilityplane`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuildPlane => "buildplane",
            Self::DataPlane => "dataplane",
            Self::ObservabilityPlane => "observabilityplane",
        }
    }

    /// The namespaced kind that describes planes of this type.
    pub const fn namespaced_kind(self) -> PlaneKind {
        match self {
            Self::BuildPlane => PlaneKind::BuildPlane,
            Self::DataPlane => PlaneKind::DataPlane,
            Self::ObservabilityPlane => PlaneKind::ObservabilityPlane,
        }
    }

    /// The cluster-scoped kind that describes planes of this type.
    pub const fn cluster_kind(self) -> PlaneKind {
        match self {
            Self::BuildPlane => PlaneKind::ClusterBuildPlane,
            Self::DataPlane => PlaneKind::ClusterDataPlane,
            Self::ObservabilityPlane => PlaneKind::ClusterObservabilityPlane,
        }
    }
}

impl fmt::Display for PlaneType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PlaneType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| NameError::Unknown {
            what: "plane type",
            value: excerpt(text),
            known: "buildplane, dataplane, observabilityplane",
        })
    }
}

/// The six kinds of object that describe a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaneKind {
    /// `BuildPlane`, namespaced.
    BuildPlane,
    /// `ClusterBuildPlane`, cluster-scoped.
    ClusterBuildPlane,
    /// `DataPlane`, namespaced.
    DataPlane,
    /// `ClusterDataPlane`, cluster-scoped.
    ClusterDataPlane,
    /// `ObservabilityPlane`, namespaced.
    ObservabilityPlane,
    /// `ClusterObservabilityPlane`, cluster-scoped.
    ClusterObservabilityPlane,
}

impl PlaneKind {
    /// Every plane kind.
    pub const ALL: [Self; 6] = [
        Self::BuildPlane,
        Self::ClusterBuildPlane,
        Self::DataPlane,
        Self::ClusterDataPlane,
        Self::ObservabilityPlane,
        Self::ClusterObservabilityPlane,
    ];

    /// The kind as it stands in a manifest, such as `ClusterBuildPlane`.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::BuildPlane => "BuildPlane",
            Self::ClusterBuildPlane => "ClusterBuildPlane",
            Self::DataPlane => "DataPlane",
            Self::ClusterDataPlane => "ClusterDataPlane",
            Self::ObservabilityPlane => "ObservabilityPlane",
            Self::ClusterObservabilityPlane => "ClusterObservabilityPlane",
        }
    }

    /// The kind in lower case, as it stands in a [`CrRef`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuildPlane => "buildplane",
            Self::ClusterBuildPlane => "clusterbuildplane",
            Self::DataPlane => "dataplane",
            Self::ClusterDataPlane => "clusterdataplane",
            Self::ObservabilityPlane => "observabilityplane",
            Self::ClusterObservabilityPlane => "clusterobservabilityplane",
        }
    }

    /// The type of plane that the kind describes.
    pub const fn plane_type(self) -> PlaneType {
        match self {
            Self::BuildPlane | Self::ClusterBuildPlane => PlaneType::BuildPlane,
            Self::DataPlane | Self::ClusterDataPlane => PlaneType::DataPlane,
            Self::ObservabilityPlane | Self::ClusterObservabilityPlane => PlaneType::ObservabilityPlane,
        }
    }

    /// Whether objects of the kind have no namespace.
    pub const fn is_cluster_scoped(self) -> bool {
        matches!(self, Self::ClusterBuildPlane | Self::ClusterDataPlane | Self::ClusterObservabilityPlane)
    }

    /// Reads a kind as it stands in a manifest (`BuildPlane`), case included.
    pub fn parse_kind(text: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|known| known.kind() == text).ok_or_else(|| NameError::Unknown {
            what: "plane kind",
            value: excerpt(text),
            known: "BuildPlane, ClusterBuildPlane, DataPlane, ClusterDataPlane, ObservabilityPlane, \
                    ClusterObservabilityPlane",
        })
    }
}

impl fmt::Display for PlaneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PlaneKind {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| NameError::Unknown {
            what: "plane kind",
            value: excerpt(text),
            known: "buildplane, clusterbuildplane, dataplane, clusterdataplane, observabilityplane, \
                    clusterobservabilityplane",
        })
    }
}

/// Whether the text is a DNS-1123 label.
pub fn is_label(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            bytes.len() <= MAX_LABEL_LENGTH
                && alphanumeric(first)
                && alphanumeric(last)
                && bytes.iter().all(|&b| alphanumeric(b) || b == b'-')
        }
        _ => false,
    }
}

/// Whether the text is a DNS-1123 subdomain. Unlike a label's, the length of one part is not limited to 63.
pub fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|&b| alphanumeric(b))
            && bytes.last().is_some_and(|&b| alphanumeric(b))
            && bytes.iter().all(|&b| alphanumeric(b) || b == b'-')
    };
    text.len() <= MAX_SUBDOMAIN_LENGTH && text.split('.').all(part)
}

fn label(what: &'static str, text: &str) -> Result<(), NameError> {
    if is_label(text) { Ok(()) } else { Err(NameError::NotALabel { what, value: excerpt(text) }) }
}

fn subdomain(what: &'static str, text: &str) -> Result<(), NameError> {
    if is_subdomain(text) { Ok(()) } else { Err(NameError::NotASubdomain { what, value: excerpt(text) }) }
}

/// Cuts a text from outside to what a message may repeat.
fn excerpt(text: &str) -> String {
    const LIMIT: usize = 80;
    if text.chars().count() <= LIMIT {
        text.to_owned()
    } else {
        text.chars().take(LIMIT).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests;
