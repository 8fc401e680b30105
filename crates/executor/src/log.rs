//! Writing a step's output down, line by line.
//!
//! One record a line: `<RFC 3339 time, nine digits> <F|P> <bytes>\n`. `P` marks a piece of a line that goes on in the
//! next record: a line longer than [`CHUNK`], or one that is still being written. A record's bytes never contain a line
//! feed and are otherwise whatever the step wrote; who shows them to a person must escape them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use tokio::sync::watch;

/// The longest piece of a line in one record.
pub const CHUNK: usize = 16 << 10;

/// How far a log has come; followers wait on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogProgress {
    /// Bytes in the file.
    pub written: u64,
    /// Nothing more will come.
    pub ended: bool,
}

/// Why a log does not hold everything a step wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// The log reached the size it may have.
    Limit,
    /// The disk is full.
    DiskFull,
    /// The file could not be written for another reason.
    Failed,
}

impl Truncation {
    /// The note that ends a truncated log.
    pub fn note(self) -> &'static str {
        match self {
            Self::Limit => "[log truncated: it reached its size limit]",
            Self::DiskFull => "[log truncated: no space left on the disk]",
            Self::Failed => "[log truncated: it could not be written]",
        }
    }
}

/// Writes one step's log.
///
/// A failing disk never stops a step's output from being read: what cannot be written is dropped, and the log says so.
#[derive(Debug)]
pub struct LogWriter {
    file: File,
    limit: u64,
    pending: Vec<u8>,
    truncation: Option<Truncation>,
    progress: watch::Sender<LogProgress>,
}

impl LogWriter {
    /// Creates the file, which must not exist, readable by this user alone. At most `limit` bytes are kept.
    pub fn create(path: &Path, limit: u64) -> io::Result<(Self, watch::Receiver<LogProgress>)> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let (progress, observed) = watch::channel(LogProgress::default());
        Ok((Self { file, limit, pending: Vec::new(), truncation: None, progress }, observed))
    }

    /// Takes what the step wrote.
    pub fn write(&mut self, mut bytes: &[u8]) {
        let mut records = Vec::new();
        let now = timestamp();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.pending.extend_from_slice(line);
            bytes = rest.get(1..).unwrap_or_default();
            self.take_chunks(&mut records, &now);
            push_record(&mut records, &now, 'F', &std::mem::take(&mut self.pending));
        }
        self.pending.extend_from_slice(bytes);
        self.take_chunks(&mut records, &now);
        self.append(&records);
    }

    /// Writes down the line that has not ended yet, so that followers see prompts and progress.
    pub fn flush(&mut self) {
        if !self.pending.is_empty() {
            let mut records = Vec::new();
            push_record(&mut records, &timestamp(), 'P', &std::mem::take(&mut self.pending));
            self.append(&records);
        }
    }

    /// Why something is missing, if something is.
    pub fn truncation(&self) -> Option<Truncation> {
        self.truncation
    }

    /// Adds a line of the platform's own.
    pub fn note(&mut self, line: &str) {
        self.write(line.as_bytes());
        self.write(b"\n");
    }

    fn take_chunks(&mut self, records: &mut Vec<u8>, now: &str) {
        while self.pending.len() > CHUNK {
            let rest = self.pending.split_off(CHUNK);
            push_record(records, now, 'P', &std::mem::replace(&mut self.pending, rest));
        }
    }

    fn append(&mut self, records: &[u8]) {
        if records.is_empty() || self.truncation.is_some() {
            return;
        }
        let written = self.progress.borrow().written;
        let length = u64::try_from(records.len()).unwrap_or(u64::MAX);
        if written.saturating_add(length) > self.limit {
            self.truncation = Some(Truncation::Limit);
            let mut note = Vec::new();
            push_record(&mut note, &timestamp(), 'F', Truncation::Limit.note().as_bytes());
            self.append_raw(&note);
        } else {
            self.append_raw(records);
        }
    }

    fn append_raw(&mut self, records: &[u8]) {
        if let Err(error) = self.file.write_all(records) {
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            self.truncation = Some(if full { Truncation::DiskFull } else { Truncation::Failed });
        }
        // The file's own length: a failed write may have left a part behind.
        let written = self.file.metadata().map_or(0, |metadata| metadata.len());
        self.progress.send_modify(|progress| progress.written = progress.written.max(written));
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.flush();
        if let Some(truncation @ (Truncation::DiskFull | Truncation::Failed)) = self.truncation {
            // A line feed first: the write that failed may have left half a record.
            let mut note = b"\n".to_vec();
            push_record(&mut note, &timestamp(), 'F', truncation.note().as_bytes());
            self.append_raw(&note);
        }
        self.progress.send_modify(|progress| progress.ended = true);
    }
}

fn push_record(records: &mut Vec<u8>, time: &str, tag: char, bytes: &[u8]) {
    records.extend_from_slice(time.as_bytes());
    records.extend_from_slice(&[b' ', tag as u8, b' ']);
    records.extend_from_slice(bytes);
    records.push(b'\n');
}

/// Nine digits always, so that times sort as text.
fn timestamp() -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    format!("{now:.9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(limit: u64, writes: &[&[u8]]) -> Vec<(char, Vec<u8>)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (mut log, progress) = LogWriter::create(&path, limit).unwrap();
        for bytes in writes {
            log.write(bytes);
        }
        drop(log);
        let raw = std::fs::read(&path).unwrap();
        assert_eq!(*progress.borrow(), LogProgress { written: raw.len() as u64, ended: true });
        raw.split_inclusive(|byte| *byte == b'\n')
            .map(|record| {
                let time = std::str::from_utf8(&record[..30]).unwrap();
                assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
                (record[31] as char, record[33..record.len() - 1].to_vec())
            })
            .collect()
    }

    #[test]
    fn lines_are_kept_whole_across_writes() {
        assert_eq!(
            records(1 << 20, &[b"a\nb", b"c\n\n", b"d"]),
            [('F', b"a".to_vec()), ('F', b"bc".to_vec()), ('F', vec![]), ('P', b"d".to_vec())]
        );
    }

    #[test]
    fn long_lines_are_cut_into_chunks() {
        let line = vec![b'x'; 2 * CHUNK + 5];
        let lengths: Vec<_> =
            records(1 << 20, &[&line, b"\n"]).iter().map(|(tag, b)| (*tag, b.len())).collect();
        assert_eq!(lengths, [('P', CHUNK), ('P', CHUNK), ('F', 5)]);
    }

    #[test]
    fn hostile_bytes_are_kept_as_they_are() {
        let hostile: &[u8] = b"\x1b[2J\0\xff\r2026-01-01T00:00:00.000000000Z F forged";
        assert_eq!(records(1 << 20, &[hostile, b"\n"]), [('F', hostile.to_vec())]);
    }

    #[test]
    fn a_full_log_ends_with_a_note() {
        let kept = records(200, &[&[b'x'; 100], b"\n", &[b'y'; 100], b"\n", b"z\n"]);
        assert_eq!(kept.len(), 2);
        assert_eq!(kept[1].1, Truncation::Limit.note().as_bytes());
    }
}
