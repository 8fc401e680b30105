//! Where reading a log has got to, so that a new connection goes on without a gap and without repeats.

use jiff::Timestamp;

/// The position behind the last line that was taken.
///
/// A log is asked for anew from the second of the last line; lines of the same instant are told apart by counting.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    last: Option<Timestamp>,
    /// Lines taken that carry exactly `last`.
    taken: usize,
    /// Lines with `last` seen since the connection was opened.
    repeated: usize,
    /// Whether the present connection brought anything new.
    moved: bool,
}

impl Cursor {
    /// From when a new connection has to read. Call it once for each connection.
    pub(crate) fn resume(&mut self) -> Option<Timestamp> {
        self.repeated = 0;
        self.moved = false;
        self.last
    }

    /// Whether a line is new.
    pub(crate) fn admit(&mut self, at: Timestamp) -> bool {
        let new = self.is_new(at);
        self.moved |= new;
        new
    }

    /// Whether the present connection brought anything new.
    pub(crate) fn moved(&self) -> bool {
        self.moved
    }

    fn is_new(&mut self, at: Timestamp) -> bool {
        match self.last {
            Some(last) if at < last => false,
            Some(last) if at == last => {
                self.repeated += 1;
                let new = self.repeated > self.taken;
                self.taken = self.taken.max(self.repeated);
                new
            }
            _ => {
                (self.last, self.taken, self.repeated) = (Some(at), 1, 1);
                true
            }
        }
    }
}

/// Splits `2026-11-21T02:43:45.1Z text` into its two halves.
pub(crate) fn split_timestamp(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let blank = line.iter().take(64).position(|&byte| byte == b' ')?;
    let at = std::str::from_utf8(&line[..blank]).ok()?.parse().ok()?;
    Some((at, &line[blank + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("a small number")
    }

    #[test]
    fn a_second_connection_repeats_nothing_and_misses_nothing() {
        let log = [1, 2, 2, 2, 5, 5, 7].map(at);
        for cut in 0..=log.len() {
            let mut cursor = Cursor::default();
            let mut taken: Vec<Timestamp> = Vec::new();
            assert_eq!(cursor.resume(), None);
            taken.extend(log[..cut].iter().filter(|&&line| cursor.admit(line)));
            // The server rounds down to whole seconds and sends everything again.
            cursor.resume();
            taken.extend(log.iter().filter(|&&line| cursor.admit(line)));
            assert_eq!(taken, log, "cut after {cut}");
        }
    }

    #[test]
    fn timestamps_are_split_off() {
        let (at, text) = split_timestamp(b"2026-11-21T02:43:45.123456789Z hello world").expect("a timestamp");
        assert_eq!((at.to_string().as_str(), text), ("2026-11-21T02:43:45.123456789Z", &b"hello world"[..]));
        assert_eq!(split_timestamp(b"2026-11-21T02:43:45Z ").map(|(_, text)| text), Some(&b""[..]));
        assert_eq!(split_timestamp(b"no timestamp"), None);
    }
}
