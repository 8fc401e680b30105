//! The planes watch, line by line.

use bytes::Bytes;
use hyper::body::Incoming;
use serde_json::Value;

use crate::rig::{Rig, chunk};

pub(crate) struct Lines {
    pub(crate) body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let chunk: Bytes = chunk(&mut self.body).await.expect("the watch goes on");
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// The next line of a type; others in between are passed over.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let line = self.next().await;
            if line["type"] == kind {
                return line;
            }
        }
    }

    pub(crate) async fn status_with(&mut self, connected: bool) -> Value {
        self.status_where(|line| line["connected"] == connected).await
    }

    /// The next status that is as it should be.
    pub(crate) async fn status_where(&mut self, is_right: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.next_of("Status").await;
            if is_right(&line) {
                return line;
            }
        }
    }
}

pub(crate) async fn watch(rig: &Rig) -> Lines {
    let response = rig.controller().await.get("/api/v1/planes/watch").await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    Lines { body: response.into_body(), buffer: Vec::new() }
}
