//! `pods/log`: where the lines come from is not the server's business; it asks this trait.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;

/// The container whose log is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodLogRef {
    /// Namespace of the Pod.
    pub namespace: String,
    /// Name of the Pod.
    pub name: String,
    /// `metadata.uid` of the Pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
}

/// Which part of a log, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written later, until the container ends.
    pub follow: bool,
    /// Begin each line with its RFC 3339 time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
    /// The log of the container's previous run.
    pub previous: bool,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum PodLogError {
    /// The container has not started yet.
    #[error("container is waiting to start: {reason}")]
    NotStarted {
        /// Why it waits.
        reason: String,
    },
    /// Nothing was kept of it.
    #[error("no log is kept for this container")]
    NotKept,
    /// The log could not be read.
    #[error("failed to read the log")]
    Read(#[source] io::Error),
}

/// Keeps the logs of containers.
pub trait PodLogs: Send + Sync {
    /// Opens a log; the stream ends with the log, or for a followed one with the container.
    fn open(
        &self,
        pod: PodLogRef,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, io::Result<Bytes>>, PodLogError>>;
}
