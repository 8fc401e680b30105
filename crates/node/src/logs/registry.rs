//! Where the logs are, and which of them are still being written.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use buildplane_executor::{LogProgress, LogWriter};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::fs::File;
use tokio::sync::watch;

use super::reader::Reader;
use super::{LogOptions, LogsError};

/// Reads the logs of the Pods of one node; cheap to clone.
#[derive(Clone)]
pub struct Logs {
    directory: PathBuf,
    live: Arc<Mutex<HashMap<String, watch::Receiver<LogProgress>>>>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The end of a log, for a Pod's termination message.
pub(crate) struct Tail;

impl Tail {
    /// Kubernetes' own limits for a message out of the log.
    pub(crate) const LINES: u64 = 80;
    pub(crate) const BYTES: usize = 2048;
}

impl Logs {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, live: Arc::default() }
    }

    /// Opens the log of the Pod with this uid. With `follow` the stream ends once the step has ended.
    ///
    /// The bytes are the step's own and hostile: whoever shows them to a person escapes them.
    pub async fn open(
        &self,
        uid: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, LogsError> {
        // Before the file is opened: a log that ends meanwhile is then read to its end.
        let progress = self.progress(uid);
        let path = self.path(uid).ok_or_else(|| LogsError::Absent { uid: uid.to_owned() })?;
        let read_error = |source| LogsError::Read { uid: uid.to_owned(), source };
        let file = match File::open(path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LogsError::Absent { uid: uid.to_owned() });
            }
            Err(error) => return Err(read_error(error)),
        };
        let reader = Reader::open(file, progress, options).await.map_err(read_error)?;
        Ok(reader.into_stream().boxed())
    }

    /// Starts a Pod's log. One that is there already belongs to an attempt to start that failed.
    pub(crate) fn create(&self, uid: &str, limit: u64) -> io::Result<LogWriter> {
        let path = self.path(uid).ok_or(io::ErrorKind::InvalidInput)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (writer, progress) = LogWriter::create(&path, limit)?;
        self.locked().insert(uid.to_owned(), progress);
        Ok(writer)
    }

    /// Forgets that a log is being written.
    pub(crate) fn ended(&self, uid: &str) {
        self.locked().remove(uid);
    }

    /// Removes a log.
    pub(crate) fn remove(&self, uid: &str) -> io::Result<()> {
        self.ended(uid);
        let Some(path) = self.path(uid) else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the logs of all Pods but these.
    pub(crate) fn remove_all_but(&self, kept: &HashSet<String>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if let Some(uid) = name.to_str().and_then(|name| name.strip_suffix(".log"))
                && !kept.contains(uid)
            {
                self.remove(uid)?;
            }
        }
        Ok(())
    }

    fn progress(&self, uid: &str) -> Option<watch::Receiver<LogProgress>> {
        self.locked().get(uid).cloned()
    }

    /// A uid comes from outside and becomes a file's name.
    fn path(&self, uid: &str) -> Option<PathBuf> {
        let plain =
            !uid.is_empty() && uid.len() <= 128 && uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        plain.then(|| self.directory.join(format!("{uid}.log")))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Receiver<LogProgress>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
