use http::{HeaderMap, HeaderValue, header};

use crate::{Attributes, Resource};

/// The `:protocol` of an upgraded stream that carries WebSocket frames.
pub const PROTOCOL_WEBSOCKET: &str = "websocket";
/// The `:protocol` of a caller who wants SPDY. It is judged like any other, so that he hears of a refusal first, and then
/// not carried.
pub const PROTOCOL_SPDY: &str = "spdy";
/// What such a caller is told.
pub const SPDY_NOT_CARRIED: &str = "SPDY is not carried through the gateway, WebSocket is: use kubectl 1.31 or newer, and leave KUBECTL_REMOTE_COMMAND_WEBSOCKETS and KUBECTL_PORT_FORWARD_WEBSOCKETS at their default (if it is that new, its WebSocket was refused first: -v=8 shows why)";

/// Where the gateway ends an upgraded stream that its flow control holds up, at the target `agent`: `DELETE` of this and
/// the stream's request id.
pub const STREAMS_PATH: &str = "/streams";

/// What Kubernetes' streams speak inside a WebSocket. A list of what is known, because browsers send bearer tokens as
/// one more subprotocol.
const KNOWN: [&str; 6] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "SPDY/3.1+portforward.k8s.io",
];

/// The subprotocols that a caller offers, as far as they are known. The cluster's API chooses one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subprotocols(Vec<&'static str>);

/// Why a handshake's subprotocols are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum SubprotocolError {
    #[error(
        "a bearer token must not be sent as a WebSocket subprotocol: send it as the header Authorization"
    )]
    Token,
    #[error("the handshake offers no WebSocket subprotocol of Kubernetes, such as v5.channel.k8s.io")]
    NoneKnown,
    #[error("the other side chose a WebSocket subprotocol that nobody offered")]
    NotOffered,
}

impl Subprotocols {
    /// Reads what a handshake offers.
    pub fn offered(headers: &HeaderMap) -> Result<Self, SubprotocolError> {
        let mut known = Vec::with_capacity(2);
        for offered in tokens(headers) {
            if offered.starts_with("base64url.bearer.authorization.k8s.io") {
                return Err(SubprotocolError::Token);
            }
            if let Some(protocol) = KNOWN.iter().find(|protocol| **protocol == offered)
                && !known.contains(protocol)
            {
                known.push(*protocol);
            }
        }
        if known.is_empty() { Err(SubprotocolError::NoneKnown) } else { Ok(Self(known)) }
    }

    /// The one that the answer chose: exactly one of those offered.
    pub fn chosen(&self, answer: &HeaderMap) -> Result<HeaderValue, SubprotocolError> {
        let mut tokens = tokens(answer);
        match (tokens.next(), tokens.next()) {
            (Some(chosen), None) => self
                .0
                .iter()
                .find(|offered| **offered == chosen)
                .map(|offered| HeaderValue::from_static(offered))
                .ok_or(SubprotocolError::NotOffered),
            _ => Err(SubprotocolError::NotOffered),
        }
    }

    /// The offer as a header's value.
    pub fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.0.join(", ")).ok()
    }
}

/// Whether a request is for one of the streams that are opened by an upgrade: into a pod.
pub fn opens_stream(attributes: &Attributes) -> bool {
    matches!(
        attributes,
        Attributes::Resource(Resource { group, resource, subresource: Some(subresource), name: Some(_), .. })
            if group.is_empty()
                && resource == "pods"
                && matches!(subresource.as_str(), "exec" | "attach" | "portforward")
    )
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        // What is no text is nothing that was offered or could be chosen.
        .map(|value| value.to_str().unwrap_or("?"))
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::{CanonicalPath, CanonicalQuery};

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::try_from(*value).unwrap()))
            .collect()
    }

    #[test]
    fn only_known_subprotocols_are_offered_on() {
        for (values, expected) in [
            (&["v5.channel.k8s.io"][..], Ok("v5.channel.k8s.io")),
            (&["v5.channel.k8s.io, v4.channel.k8s.io"], Ok("v5.channel.k8s.io, v4.channel.k8s.io")),
            (&["v5.channel.k8s.io", "v4.channel.k8s.io"], Ok("v5.channel.k8s.io, v4.channel.k8s.io")),
            (&["x, v5.channel.k8s.io,v5.channel.k8s.io"], Ok("v5.channel.k8s.io")),
            (&["SPDY/3.1+portforward.k8s.io"], Ok("SPDY/3.1+portforward.k8s.io")),
            (&["V5.channel.k8s.io"], Err(SubprotocolError::NoneKnown)),
            (&[], Err(SubprotocolError::NoneKnown)),
            (&[""], Err(SubprotocolError::NoneKnown)),
            (
                &["v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0"],
                Err(SubprotocolError::Token),
            ),
        ] {
            let offered = Subprotocols::offered(&headers(values)).map(|offered| offered.to_header().unwrap());
            assert_eq!(offered, expected.map(HeaderValue::from_static), "{values:?}");
        }
    }

    #[test]
    fn the_answer_chooses_one_of_those_offered() {
        let offered = Subprotocols::offered(&headers(&["v5.channel.k8s.io, v4.channel.k8s.io"])).unwrap();
        assert_eq!(offered.chosen(&headers(&["v4.channel.k8s.io"])).unwrap(), "v4.channel.k8s.io");
        for answer in [
            &[][..],
            &["channel.k8s.io"],
            &["v5.channel.k8s.io, v4.channel.k8s.io"],
            &["v5.channel.k8s.io", "v4.channel.k8s.io"],
            &["x"],
        ] {
            assert_eq!(offered.chosen(&headers(answer)), Err(SubprotocolError::NotOffered), "{answer:?}");
        }
    }

    #[test]
    fn streams_are_opened_into_pods_alone() {
        for (path, opens) in [
            ("/api/v1/namespaces/a/pods/x/exec", true),
            ("/api/v1/namespaces/a/pods/x/attach", true),
            ("/api/v1/namespaces/a/pods/x/portforward", true),
            ("/api/v1/namespaces/a/pods/x/proxy", false),
            ("/api/v1/namespaces/a/pods/x/log", false),
            ("/api/v1/namespaces/a/pods/x", false),
            ("/api/v1/namespaces/a/pods", false),
            ("/api/v1/namespaces/a/services/x/exec", false),
            ("/api/v1/nodes/x/exec", false),
            ("/apis/x/v1/namespaces/a/pods/x/exec", false),
            ("/version", false),
        ] {
            let path = CanonicalPath::parse(path).unwrap();
            let attributes = Attributes::read(&Method::GET, &path, &CanonicalQuery::default()).unwrap();
            assert_eq!(opens_stream(&attributes), opens, "{path}");
        }
    }
}
