//! The files a step hands back, as lines `<index> <base64>`. A step can write anything here, so anything may come.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::supervise::Files;
use crate::Output;

/// The most that is kept of everything a step hands back.
const LIMIT: usize = 8 << 20;

/// What has been handed back so far.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    text: Vec<u8>,
}

impl Outputs {
    /// Takes what was read; what goes beyond the limit is dropped, so that the writer never waits.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = LIMIT.saturating_sub(self.text.len());
        self.text.extend(bytes.iter().take(room));
    }

    /// The files that were asked for, by name.
    pub(super) fn into_files(self, wanted: &[Output]) -> Files {
        let mut files = BTreeMap::new();
        for line in self.text.split(|byte| *byte == b'\n') {
            let Some((index, content)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '))
            else {
                continue;
            };
            let output = index.parse::<usize>().ok().and_then(|index| wanted.get(index));
            if let (Some(output), Ok(mut content)) = (output, STANDARD.decode(content)) {
                content.truncate(Output::LIMIT);
                files.insert(output.name.clone(), content);
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_step_writes_only_wanted_files_come_back() {
        let wanted = [Output { name: "image".to_owned(), path: "/tmp/image".to_owned() }];
        for (text, expected) in [
            (&b"0 aGk=\n"[..], Some(&b"hi"[..])),
            (b"0 \n", Some(b"")),
            (b"1 aGk=\n", None),
            (b"0 !!\n", None),
            (b"-1 aGk=\n0", None),
            (b"\xff\xfe\n0 aGk=", Some(b"hi")),
            (b"", None),
        ] {
            let mut outputs = Outputs::default();
            text.chunks(3).for_each(|chunk| outputs.take(chunk));
            let files = outputs.into_files(&wanted);
            assert_eq!(files.get("image").map(Vec::as_slice), expected, "{text:?}");
        }
    }
}
