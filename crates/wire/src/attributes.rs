use std::fmt;

use http::Method;
use serde::Deserialize;

use crate::{CanonicalPath, CanonicalQuery};

/// What is done to a resource, as Kubernetes' authorization names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The word that Kubernetes uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// A resource that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What is done.
    pub verb: Verb,
    /// The API group; empty for the core group.
    pub group: String,
    /// The namespace; none for cluster-scoped objects and for all namespaces at once.
    pub namespace: Option<String>,
    /// The resource's plural name.
    pub resource: String,
    /// The subresource.
    pub subresource: Option<String>,
    /// The object's name; none for collections.
    pub name: Option<String>,
}

impl Resource {
    /// The resource as rules name it, `pods` or `pods/log`.
    pub fn qualified(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.resource),
            None => self.resource.clone(),
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attributes {
    /// Something outside the resources: discovery, version, health.
    Path {
        /// What is done.
        verb: Verb,
        /// The canonical path.
        path: String,
    },
    /// A resource.
    Resource(Resource),
}

/// A request whose meaning is not certain. It is refused whatever the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum UnreadableRequest {
    #[error("the method is none of Kubernetes'")]
    Method,
    #[error("the path is too deep for a resource")]
    TooDeep,
    #[error("the deprecated paths under watch/ and proxy/ are not carried")]
    Deprecated,
    #[error("the query's watch parameter is neither true nor false, or stands there twice")]
    Watch,
}

impl Attributes {
    /// Reads a request the way Kubernetes' own authorization does.
    pub fn read(
        method: &Method,
        path: &CanonicalPath,
        query: &CanonicalQuery,
    ) -> Result<Self, UnreadableRequest> {
        let verb = verb(method)?;
        let mut segments = path.segments();
        let group = match segments.next() {
            Some("api") => segments.next().map(|_version| String::new()),
            Some("apis") => {
                let group = segments.next();
                segments.next().and(group).map(str::to_owned)
            }
            _ => None,
        };
        let rest: Vec<&str> = segments.collect();
        let Some(group) = group.filter(|_| !rest.is_empty()) else {
            let verb = if *method == Method::HEAD { Verb::Get } else { verb };
            return Ok(Self::Path { verb, path: path.as_str().to_owned() });
        };
        if matches!(rest.first(), Some(&("watch" | "proxy"))) {
            return Err(UnreadableRequest::Deprecated);
        }
        let (namespace, rest) = namespace(&group, &rest);
        let mut parts = rest.iter().map(|part| (*part).to_owned());
        let resource = parts.next().ok_or(UnreadableRequest::TooDeep)?;
        let (name, subresource) = (parts.next(), parts.next());
        // Only the proxies of pods, services and nodes go deeper, and the one verb that they know is create.
        if parts.next().is_some() && subresource.as_deref() != Some("proxy") {
            return Err(UnreadableRequest::TooDeep);
        }
        let verb = match (verb, &name, subresource.as_deref()) {
            // Whatever opens a connection into a pod is an act, even as a GET.
            (_, _, Some("exec" | "attach" | "portforward" | "proxy")) => Verb::Create,
            (Verb::Get, None, None) if watches(query)? => Verb::Watch,
            (Verb::Get, None, None) => Verb::List,
            (Verb::Delete, None, None) => Verb::DeleteCollection,
            (verb, _, _) => verb,
        };
        Ok(Self::Resource(Resource { verb, group, namespace, resource, subresource, name }))
    }
}

/// Takes the namespace off the front, where the request is about something in it.
fn namespace<'p>(group: &str, rest: &'p [&'p str]) -> (Option<String>, &'p [&'p str]) {
    match rest {
        // The Namespace object itself, and its own subresources.
        ["namespaces"] | ["namespaces", _] => (None, rest),
        ["namespaces", _, "status" | "finalize"] if group.is_empty() => (None, rest),
        ["namespaces", namespace, inside @ ..] => (Some((*namespace).to_owned()), inside),
        _ => (None, rest),
    }
}

fn verb(method: &Method) -> Result<Verb, UnreadableRequest> {
    match *method {
        Method::GET | Method::HEAD => Ok(Verb::Get),
        Method::POST => Ok(Verb::Create),
        Method::PUT => Ok(Verb::Update),
        Method::PATCH => Ok(Verb::Patch),
        Method::DELETE => Ok(Verb::Delete),
        _ => Err(UnreadableRequest::Method),
    }
}

fn watches(query: &CanonicalQuery) -> Result<bool, UnreadableRequest> {
    let mut values = query.values("watch");
    match (values.next(), values.next()) {
        (None, _) | (Some("false" | "0"), None) => Ok(false),
        (Some("true" | "1"), None) => Ok(true),
        _ => Err(UnreadableRequest::Watch),
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.qualified())?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        Ok(())
    }
}
