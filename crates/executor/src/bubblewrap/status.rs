//! What bubblewrap says about the sandbox (`--json-status-fd`).

use serde::Deserialize;

/// What has been said so far.
#[derive(Debug, Default)]
pub(super) struct Status {
    text: Vec<u8>,
    child_pid: Option<i32>,
    exit_code: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    child_pid: Option<i32>,
    exit_code: Option<i32>,
}

impl Status {
    /// Takes what was read.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        // Objects follow each other, not always one a line.
        let mut stream = serde_json::Deserializer::from_slice(&self.text).into_iter::<Line>();
        while let Some(Ok(line)) = stream.next() {
            self.child_pid = self.child_pid.or(line.child_pid);
            self.exit_code = self.exit_code.or(line.exit_code);
        }
        let read = stream.byte_offset();
        self.text.drain(..read);
    }

    /// The first process of the sandbox, as seen from here.
    pub(super) fn child_pid(&self) -> Option<i32> {
        self.child_pid
    }

    /// How the program ended; absent when it was never started.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.exit_code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_however_they_are_cut() {
        let said = b"{\n    \"child-pid\": 42,\n    \"mnt-namespace\": 4026532001\n}\n{ \"exit-code\": 3 }\n";
        for cut in 0..said.len() {
            let mut status = Status::default();
            let (first, second) = said.split_at(cut);
            status.take(first);
            status.take(second);
            assert_eq!((status.child_pid(), status.exit_code()), (Some(42), Some(3)), "{cut}");
        }
    }
}
