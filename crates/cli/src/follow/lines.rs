//! Lines of bounded length from a stream of bytes.

use std::io;

use futures::AsyncBufRead;
use futures::io::AsyncBufReadExt as _;

/// A line longer than this arrives in pieces.
pub(crate) const LINE_LIMIT: usize = 64 * 1024;

/// One line or a piece of one, without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    /// Whether it goes on a line whose beginning came before.
    pub(crate) continues: bool,
}

/// Reads lines and never holds more than [`LINE_LIMIT`] of them.
pub(crate) struct Lines<R> {
    reader: R,
    inside: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, inside: false }
    }

    /// The next line, `None` at the end of the stream. Not cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let continues = self.inside;
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                self.inside = false;
                return Ok((!bytes.is_empty()).then_some(Line { bytes, continues }));
            }
            let room = LINE_LIMIT - bytes.len();
            let window = &available[..available.len().min(room)];
            if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
                bytes.extend_from_slice(&window[..end]);
                self.reader.consume_unpin(end + 1);
                self.inside = false;
                return Ok(Some(Line { bytes, continues }));
            }
            bytes.extend_from_slice(window);
            let taken = window.len();
            self.reader.consume_unpin(taken);
            if bytes.len() == LINE_LIMIT {
                self.inside = true;
                return Ok(Some(Line { bytes, continues }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_without_end_comes_in_pieces() {
        let mut text = b"short\n\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', LINE_LIMIT + 3));
        text.extend(b"\nlast");
        let mut lines = Lines::new(futures::io::Cursor::new(text));
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.expect("reads from memory") {
            found.push((line.bytes.len(), line.continues));
        }
        assert_eq!(found, [(5, false), (0, false), (LINE_LIMIT, false), (3, true), (4, false)]);
    }
}
