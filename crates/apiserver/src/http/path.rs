//! Where a request is addressed to.

use crate::error::{ApiError, ApiResult};

/// What the path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A path outside the resources, as segments.
    Other(Vec<String>),
    /// A resource of a group version.
    Resource(ResourcePath),
}

/// `/apis/{group}/{version}[/namespaces/{namespace}]/{resource}[/{name}[/{subresource}]]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    pub(crate) fn parse(path: &str) -> ApiResult<Self> {
        let segments = segments(path)?;
        let mut rest = segments.iter().map(String::as_str);
        let (group, version, rest): (&str, &str, Vec<&str>) = match (rest.next(), rest.next()) {
            (Some("api"), Some(version)) => ("", version, rest.collect()),
            (Some("apis"), Some(group)) => match rest.next() {
                Some(version) => (group, version, rest.collect()),
                None => return Ok(Self::Other(segments)),
            },
            _ => return Ok(Self::Other(segments)),
        };
        let mut found =
            ResourcePath { group: group.to_owned(), version: version.to_owned(), ..ResourcePath::default() };
        let tail = match rest.as_slice() {
            [] => return Ok(Self::Other(segments)),
            // `namespaces/x/status` and `/finalize` are subresources of the Namespace itself.
            ["namespaces", _, "status" | "finalize"] if group.is_empty() => rest.as_slice(),
            ["namespaces", namespace, tail @ ..] if !tail.is_empty() => {
                found.namespace = Some((*namespace).to_owned());
                tail
            }
            all => all,
        };
        let mut tail = tail.iter().map(|segment| (*segment).to_owned());
        found.resource = tail.next().unwrap_or_default();
        found.name = tail.next();
        found.subresource = tail.next();
        if tail.next().is_some() {
            return Err(ApiError::no_such_resource());
        }
        Ok(Self::Resource(found))
    }
}

/// The decoded segments. What would mean something else to another reader of the path (dots, encoded slashes, empty
/// segments) is refused, so that authorization and storage see the same thing.
fn segments(path: &str) -> ApiResult<Vec<String>> {
    let malformed = || ApiError::bad_request("the request path is malformed");
    let trimmed = path.strip_prefix('/').ok_or_else(malformed)?;
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    trimmed
        .split('/')
        .map(|segment| {
            let decoded = percent_decode(segment, Plus::Literal).ok_or_else(malformed)?;
            let odd = decoded.is_empty()
                || decoded == "."
                || decoded == ".."
                || decoded.contains(['/', '%'])
                || decoded.contains(char::is_control);
            if odd { Err(malformed()) } else { Ok(decoded) }
        })
        .collect()
}

/// What `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plus {
    /// Itself.
    Literal,
    /// A space, as in a query.
    Space,
}

pub(crate) fn percent_decode(text: &str, plus: Plus) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus == Plus::Space => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourcePath {
        match Target::parse(path) {
            Ok(Target::Resource(found)) => found,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn resource_paths_are_taken_apart() {
        for (path, group, namespace, resource_name, name, subresource) in [
            ("/api/v1/pods", "", None, "pods", None, None),
            ("/api/v1/namespaces", "", None, "namespaces", None, None),
            ("/api/v1/namespaces/a", "", None, "namespaces", Some("a"), None),
            ("/api/v1/namespaces/a/status", "", None, "namespaces", Some("a"), Some("status")),
            ("/api/v1/namespaces/a/pods/b/log", "", Some("a"), "pods", Some("b"), Some("log")),
            ("/apis/g.io/v1/namespaces/a/things", "g.io", Some("a"), "things", None, None),
            ("/apis/g.io/v1/things/b/status", "g.io", None, "things", Some("b"), Some("status")),
            ("/apis/g.io/v1/things/system%3Ab", "g.io", None, "things", Some("system:b"), None),
        ] {
            let found = resource(path);
            assert_eq!(found.group, group, "{path}");
            assert_eq!(found.namespace.as_deref(), namespace, "{path}");
            assert_eq!(found.resource, resource_name, "{path}");
            assert_eq!(found.name.as_deref(), name, "{path}");
            assert_eq!(found.subresource.as_deref(), subresource, "{path}");
        }
    }

    #[test]
    fn paths_with_two_readings_are_refused() {
        for path in [
            "/api/v1/namespaces/a/../b/pods",
            "/api/v1//pods",
            "/api/v1/namespaces/a%2fb/pods",
            "/api/v1/namespaces/a/pods/%2e%2e",
            "/api/v1/namespaces/a/pods/b%00",
            "/api/v1/pods/%zz",
            "/api/v1/pods/%252e",
            "/api/v1/pods/%ff",
            "api",
        ] {
            assert!(Target::parse(path).is_err(), "{path}");
        }
    }
}
