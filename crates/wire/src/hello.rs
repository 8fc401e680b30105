use http::{HeaderMap, HeaderName, HeaderValue};

use crate::allowed::{AllowedPlanes, InvalidPattern};

/// The agent process, so that one agent with several connections counts once.
const INSTANCE: HeaderName = HeaderName::from_static("x-openchoreo-agent-instance");
/// The agent's version.
const VERSION: HeaderName = HeaderName::from_static("x-openchoreo-agent-version");
/// The uid of the namespace kube-system of the agent's cluster.
const CLUSTER: HeaderName = HeaderName::from_static("x-openchoreo-agent-cluster");
/// The custom resources that the agent serves.
const PLANES: HeaderName = HeaderName::from_static("x-openchoreo-agent-planes");

/// A claim is shown to people; this keeps it short.
const MAX_CLAIM: usize = 64;

/// What an agent says of itself when it connects. Claims: shown and compared, never a proof of anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentHello {
    /// A random id of the agent process.
    pub instance: Option<String>,
    /// The agent's version.
    pub version: Option<String>,
    /// The identity of its cluster: the uid of the namespace kube-system.
    pub cluster: Option<String>,
    /// The custom resources that it serves.
    pub allowed: AllowedPlanes,
}

/// Why a claim cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// A claim is longer than 64 characters, or holds others than letters, digits and `._+-`.
    #[error("{name} is not a short name, or stands there twice")]
    NotAShortName {
        /// The header.
        name: HeaderName,
    },
    /// The list of custom resources is not one.
    #[error("{PLANES} is no list of patterns")]
    Allowed(#[source] InvalidPattern),
}

impl AgentHello {
    /// Reads the headers of an agent's handshake. What is absent was not said.
    pub fn read(headers: &HeaderMap) -> Result<Self, HelloError> {
        let allowed = match once(headers, &PLANES)? {
            Some(list) => AllowedPlanes::from_header(list).map_err(HelloError::Allowed)?,
            None => AllowedPlanes::default(),
        };
        Ok(Self {
            instance: claim(headers, &INSTANCE)?,
            version: claim(headers, &VERSION)?,
            cluster: claim(headers, &CLUSTER)?,
            allowed,
        })
    }

    /// The headers that [`read`](Self::read) reads; a claim that no header can hold is left out.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: Option<&str>| {
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                headers.insert(name, value);
            }
        };
        put(INSTANCE, self.instance.as_deref());
        put(VERSION, self.version.as_deref());
        put(CLUSTER, self.cluster.as_deref());
        put(PLANES, Some(&self.allowed.to_header()));
        headers
    }
}

fn once<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, HelloError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_not_ascii| HelloError::NotAShortName { name: name.clone() })
        }
        _ => Err(HelloError::NotAShortName { name: name.clone() }),
    }
}

fn claim(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, HelloError> {
    let Some(text) = once(headers, name)? else { return Ok(None) };
    if is_claim(text) {
        Ok(Some(text.to_owned()))
    } else {
        Err(HelloError::NotAShortName { name: name.clone() })
    }
}

/// Whether a text can be a claim of an agent, such as its cluster: 1 to 64 letters, digits and `._+-`.
pub fn is_claim(text: &str) -> bool {
    let printable = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    !text.is_empty() && text.len() <= MAX_CLAIM && text.chars().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for allowed in [
            AllowedPlanes::default(),
            AllowedPlanes::only(Vec::new()),
            AllowedPlanes::only(vec!["buildplane/team-*/default".parse().unwrap()]),
        ] {
            let hello = AgentHello {
                instance: Some("a-1".to_owned()),
                version: Some("0.1.0+x".to_owned()),
                cluster: Some("6f1c".to_owned()),
                allowed,
            };
            assert_eq!(AgentHello::read(&hello.headers()), Ok(hello));
        }
        assert_eq!(AgentHello::read(&HeaderMap::new()), Ok(AgentHello::default()));
    }

    #[test]
    fn claims_that_cannot_be_shown_are_refused() {
        for (name, value) in [
            (INSTANCE, "a b"),
            (INSTANCE, ""),
            (VERSION, "<script>"),
            (CLUSTER, &*"x".repeat(65)),
            (PLANES, "buildplane/a"),
            (PLANES, "buildplane/a/b,,buildplane/a/c"),
        ] {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::try_from(value).unwrap())]);
            assert!(AgentHello::read(&headers).is_err(), "{name}: {value}");
        }
        let mut twice = HeaderMap::new();
        for value in ["a", "b"] {
            twice.append(INSTANCE, HeaderValue::from_static(value));
        }
        assert!(AgentHello::read(&twice).is_err());
    }
}
