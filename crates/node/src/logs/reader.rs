//! From records on disk to the bytes a reader of logs gets.
//!
//! Records are what `buildplane_executor::LogWriter` writes: `<time, 30 bytes> <F|P> <bytes>\n`.

use std::io;

use buildplane_executor::LogProgress;
use bytes::Bytes;
use futures::stream::{Stream, try_unfold};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};
use tokio::sync::watch;

use super::LogOptions;

/// Length of a record's time.
const TIME: usize = 30;
/// Length of everything before a record's bytes.
const HEAD: usize = TIME + 3;
/// How much is read at once; more than one record.
const READ: usize = 64 << 10;

/// A log being read.
pub(super) struct Reader {
    file: File,
    /// Absent when nobody writes it any more.
    progress: Option<watch::Receiver<LogProgress>>,
    follow: bool,
    printer: Printer,
    /// How far the file has been read.
    position: u64,
    /// The beginning of a record.
    pending: Vec<u8>,
}

impl Reader {
    pub(super) async fn open(
        mut file: File,
        progress: Option<watch::Receiver<LogProgress>>,
        options: LogOptions,
    ) -> io::Result<Self> {
        let skip = match options.tail_lines {
            Some(wanted) => count_lines(&mut file).await?.saturating_sub(wanted),
            None => 0,
        };
        file.seek(SeekFrom::Start(0)).await?;
        let follow = options.follow;
        Ok(Self {
            file,
            progress,
            follow,
            printer: Printer::new(&options, skip),
            position: 0,
            pending: Vec::new(),
        })
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        try_unfold(self, |mut reader| async move {
            let bytes = reader.next().await?;
            Ok(bytes.map(|bytes| (bytes, reader)))
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.printer.is_full() {
            // In this order: when the log has ended before the file is read, the file is whole.
            let ended = self.progress.as_mut().is_none_or(|progress| progress.borrow_and_update().ended);
            let printed = self.read().await?;
            if !printed.is_empty() {
                return Ok(Some(printed.into()));
            }
            let at_end = self.position >= self.file.metadata().await?.len();
            if at_end && (ended || !self.follow) {
                return Ok(None);
            }
            if let (true, Some(progress)) = (at_end, self.progress.as_mut()) {
                // The writer going away is an end, which the next turn sees.
                if progress.changed().await.is_err() {
                    self.progress = None;
                }
            }
        }
        Ok(None)
    }

    /// Reads the next piece of the file and prints the records in it.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; READ];
        let length = self.file.read(&mut buffer).await?;
        self.position += u64::try_from(length).unwrap_or_default();
        buffer.truncate(length);
        self.pending.extend_from_slice(&buffer);
        let whole = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.pending.split_off(whole);
        let records = std::mem::replace(&mut self.pending, rest);
        let mut printed = Vec::new();
        for record in records.split_inclusive(|byte| *byte == b'\n') {
            self.printer.print(record, &mut printed);
        }
        Ok(printed)
    }
}

/// Prints records as they were asked for.
struct Printer {
    timestamps: bool,
    since: Option<String>,
    skip_lines: u64,
    bytes_left: Option<u64>,
    /// The last record ended its line.
    at_line_start: bool,
}

impl Printer {
    fn new(options: &LogOptions, skip_lines: u64) -> Self {
        let since = options.since.and_then(|at| Timestamp::try_from(at).ok());
        Self {
            timestamps: options.timestamps,
            // Times have a fixed length, so they sort as text.
            since: since.map(|at| format!("{at:.9}")),
            skip_lines,
            bytes_left: options.limit_bytes,
            at_line_start: true,
        }
    }

    fn is_full(&self) -> bool {
        self.bytes_left == Some(0)
    }

    fn print(&mut self, record: &[u8], printed: &mut Vec<u8>) {
        let body = record.strip_suffix(b"\n").unwrap_or(record);
        // Half a record is left where the disk was full in the middle of it.
        let (Some(time), Some(mark), Some(bytes)) = (body.get(..TIME), body.get(TIME + 1), body.get(HEAD..))
        else {
            return;
        };
        let ends_line = *mark == b'F';
        let starts_line = std::mem::replace(&mut self.at_line_start, ends_line);
        if self.skip_lines > 0 {
            self.skip_lines -= u64::from(ends_line);
            return;
        }
        if self.since.as_ref().is_some_and(|since| time < since.as_bytes()) {
            return;
        }
        if self.timestamps && starts_line {
            self.push(time, printed);
            self.push(b" ", printed);
        }
        self.push(bytes, printed);
        if ends_line {
            self.push(b"\n", printed);
        }
    }

    fn push(&mut self, bytes: &[u8], printed: &mut Vec<u8>) {
        let left = self.bytes_left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
        let taken = bytes.get(..left).unwrap_or(bytes);
        printed.extend_from_slice(taken);
        if let Some(left) = &mut self.bytes_left {
            *left = left.saturating_sub(u64::try_from(taken.len()).unwrap_or(u64::MAX));
        }
    }
}

/// How many lines there are; one that has not ended counts.
async fn count_lines(file: &mut File) -> io::Result<u64> {
    let mut lines = 0;
    let mut pending: Vec<u8> = Vec::new();
    let mut unfinished = false;
    let mut buffer = vec![0; READ];
    loop {
        let length = file.read(&mut buffer).await?;
        if length == 0 {
            return Ok(lines + u64::from(unfinished));
        }
        pending.extend(buffer.iter().take(length));
        let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for record in pending.drain(..whole).as_slice().split(|byte| *byte == b'\n') {
            match record.get(TIME + 1) {
                Some(b'F') => {
                    lines += 1;
                    unfinished = false;
                }
                Some(_) => unfinished = true,
                None => {}
            }
        }
    }
}
