//! What the terminal can do, color, and the one line at the bottom that is redrawn.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::environment;

/// Whether something may be drawn over.
pub(crate) fn stdout_is_live() -> bool {
    io::stdout().is_terminal() && !environment::is_dumb_terminal()
}

/// The colors that are used, each for one meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    /// Succeeded, ready.
    Good,
    /// Failed.
    Bad,
    /// Names of tasks.
    Name,
    /// Less important.
    Faint,
    /// Facts.
    Plain,
}

/// Paints text if the terminal has colors and `NO_COLOR` is unset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    enabled: bool,
}

impl Paint {
    pub(crate) fn for_stdout() -> Self {
        Self { enabled: stdout_is_live() && environment::color_allowed() }
    }

    pub(crate) fn apply(self, color: Color, text: &str) -> String {
        if !self.enabled || color == Color::Plain {
            return text.to_owned();
        }
        let code = match color {
            Color::Good => "32",
            Color::Bad => "31",
            Color::Name => "36",
            Color::Faint => "2",
            Color::Plain => "0",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// How often the last line may change.
pub(crate) const FRAME: Duration = Duration::from_millis(100);

/// Lines that scroll, and on a terminal one line below them that says what is going on.
///
/// In a pipe only the lines that scroll are printed.
pub(crate) struct LiveLines {
    live: bool,
    drawn: bool,
    status: Option<(String, Instant)>,
    frame: usize,
}

impl LiveLines {
    pub(crate) fn new() -> Self {
        Self { live: stdout_is_live(), drawn: false, status: None, frame: 0 }
    }

    /// Prints a line above the status.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.drawn {
            out.write_all(b"\r\x1b[2K")?;
            self.drawn = false;
        }
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Says what is going on from now, `since` when.
    pub(crate) fn set_status(&mut self, text: impl Into<String>, since: Instant) {
        self.status = Some((text.into(), since));
    }

    pub(crate) fn clear_status(&mut self) -> io::Result<()> {
        self.status = None;
        if self.drawn {
            let mut out = io::stdout().lock();
            out.write_all(b"\r\x1b[2K")?;
            out.flush()?;
            self.drawn = false;
        }
        Ok(())
    }

    /// Draws the status once more; call it every [`FRAME`].
    pub(crate) fn tick(&mut self) -> io::Result<()> {
        let Some((status, since)) = self.status.as_ref().filter(|_| self.live) else {
            return Ok(());
        };
        self.frame = (self.frame + 1) % FRAMES.len();
        let text = format!("{} {status} {}", FRAMES[self.frame], seconds(since.elapsed()));
        let text: String = text.chars().take(columns().saturating_sub(1)).collect();
        let mut out = io::stdout().lock();
        write!(out, "\r\x1b[2K{text}")?;
        out.flush()?;
        self.drawn = true;
        Ok(())
    }
}

impl Drop for LiveLines {
    fn drop(&mut self) {
        let _ = self.clear_status();
    }
}

fn columns() -> usize {
    // Some terminals say that they have no columns at all.
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        Ok(_) | Err(_) => 80,
    }
}

/// `0.4s`, `12.3s`, `2m05s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let tenths = duration.as_millis() / 100;
    if tenths < 600 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = duration.as_secs();
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

/// `<1s`, `12s`, `2m05s`: for times that are known to the second.
pub(crate) fn whole_seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0 => "<1s".to_owned(),
        seconds @ 1..60 => format!("{seconds}s"),
        _ => seconds(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (milliseconds, text) in [(0, "0.0s"), (449, "0.4s"), (59_999, "59.9s"), (125_000, "2m05s")] {
            assert_eq!(seconds(Duration::from_millis(milliseconds)), text);
        }
    }
}
