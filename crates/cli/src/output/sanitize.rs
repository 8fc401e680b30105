//! Makes the text of others harmless on a terminal.
//!
//! Build logs are hostile output: an escape sequence can rename the window, answer as if typed, or paint a success
//! over a failure. Nothing of ours passes one on.

use std::fmt::Write as _;

/// One log line without its line end, safe to print: escape sequences are dropped, other control characters shown in
/// caret notation, and characters that reorder text named by their code.
///
/// Of a line that overwrites itself with carriage returns (a progress bar) the last text remains.
pub(crate) fn sanitize(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n']);
    let visible = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or("");
    let mut clean = String::with_capacity(visible.len());
    let mut rest = visible.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\t' => clean.push('\t'),
            '\u{1b}' => skip_escape(&mut rest),
            // C1 introducers do what ESC does on terminals that honor them.
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            '\u{7f}' => clean.push_str("^?"),
            control if control < ' ' => {
                clean.push('^');
                clean.push(char::from(u8::try_from(u32::from(control)).unwrap_or(0) + b'@'));
            }
            control if ('\u{80}'..='\u{9f}').contains(&control) || reorders(control) => {
                // Writing to a String cannot fail.
                let _ = write!(clean, "<U+{:04X}>", u32::from(control));
            }
            printable => clean.push(printable),
        }
    }
    clean
}

/// Characters that change the order or the visibility of what stands around them.
fn reorders(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(rest: &mut Rest<'_>) {
    match rest.next() {
        Some('[') => skip_control_sequence(rest),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
        // Intermediate bytes, then one final byte: for example "ESC ( B".
        Some(' '..='/') => while rest.next().is_some_and(|character| (' '..='/').contains(&character)) {},
        Some(_) | None => {}
    }
}

/// Parameters and intermediates up to the final byte.
fn skip_control_sequence(rest: &mut Rest<'_>) {
    while rest.next_if(|character| (' '..='?').contains(character)).is_some() {}
    rest.next_if(|character| ('@'..='~').contains(character));
}

/// A string sequence ends with BEL, ST, or with the line.
fn skip_string(rest: &mut Rest<'_>) {
    while let Some(character) = rest.next() {
        match character {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_lines_become_text() {
        for (hostile, harmless) in [
            (&b"plain text"[..], "plain text"),
            (b"tab\tstays", "tab\tstays"),
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"\x1b]0;owned\x07title", "title"),
            (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"\x1bP+q544e\x1b\\x", "x"),
            (b"\x1b[2J\x1b[1;1Hsuccess", "success"),
            (b"\x1b(Bx", "x"),
            (b"\xc2\x9b31mc1", "c1"),
            (b"bell\x07 null\x00 back\x08", "bell^G null^@ back^H"),
            (b"10%\r50%\r100%", "100%"),
            (b"done\r\n", "done"),
            ("bidi \u{202e}txt".as_bytes(), "bidi <U+202E>txt"),
            (b"bad \xff utf8", "bad \u{fffd} utf8"),
            (b"unfinished \x1b[31", "unfinished "),
            (b"unfinished \x1b]0;title", "unfinished "),
            (b"\x1b", ""),
        ] {
            assert_eq!(sanitize(hostile), harmless, "{hostile:?}");
        }
    }

    #[test]
    fn no_control_character_survives() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let clean = sanitize(&[first, second, b'x', 0x1b, first, second]);
                assert!(
                    !clean.chars().any(|c| c.is_control() && c != '\t'),
                    "{first:#x} {second:#x}: {clean:?}"
                );
            }
        }
    }
}
