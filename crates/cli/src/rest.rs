//! Plain requests to an API server, for what the typed client does not offer: tables as the server prints them.

use futures::{Stream, StreamExt as _};
use kube::Client;
use kube::api::WatchEvent;
use serde_json::Value;

use crate::failure::{Failure, Result};

/// What the server is asked to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    Object,
    /// `meta.k8s.io/v1` Table, with the columns of the CRD.
    Table,
}

impl Representation {
    fn accept(self) -> &'static str {
        match self {
            Self::Object => "application/json",
            Self::Table => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        }
    }
}

/// What to read: the path and its query parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    path: String,
    parameters: Vec<(&'static str, String)>,
}

impl Query {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), parameters: Vec::new() }
    }

    pub(crate) fn parameter(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.parameters.extend(value.map(|value| (name, value.into())));
        self
    }

    fn request(&self, representation: Representation) -> Result<http::Request<Vec<u8>>> {
        let mut uri = self.path.clone();
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(name);
            uri.push('=');
            uri.push_str(&percent_encode(value));
        }
        Ok(http::Request::get(uri).header(http::header::ACCEPT, representation.accept()).body(Vec::new())?)
    }
}

/// Encodes everything but the unreserved characters of RFC 3986.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for nibble in [byte >> 4, byte & 0xf] {
                encoded
                    .extend(char::from_digit(u32::from(nibble), 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    encoded
}

/// Reads one object, list or table.
pub(crate) async fn get(client: &Client, query: &Query, representation: Representation) -> Result<Value> {
    Ok(client.request(query.request(representation)?).await?)
}

/// Watches from a revision on. A watch that the server ends, ends the stream.
pub(crate) async fn watch(
    client: &Client,
    query: &Query,
    revision: &str,
    representation: Representation,
) -> Result<impl Stream<Item = Result<WatchEvent<Value>>> + Unpin> {
    let query = query.clone().parameter("watch", Some("1")).parameter("resourceVersion", Some(revision));
    let events = client.request_events::<Value>(query.request(representation)?).await?;
    Ok(Box::pin(events).map(|event| event.map_err(Failure::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_encoded() {
        let query = Query::new("/apis/x")
            .parameter("labelSelector", Some("a=b,c in (d)"))
            .parameter("limit", Some("5"));
        let request = query.request(Representation::Table).expect("a valid request");
        assert_eq!(request.uri(), "/apis/x?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=5");
    }
}
