//! Says what the demo does, and how long each part took.

use std::io;
use std::time::{Duration, Instant};

use crate::output::line;
use crate::output::table::Table;
use crate::output::terminal::{Color, Paint, seconds};

pub(super) struct Narrator {
    paint: Paint,
    began: Instant,
    current: Option<(String, Instant)>,
    done: Vec<(String, Duration)>,
}

impl Narrator {
    pub(super) fn new() -> Self {
        Self { paint: Paint::for_stdout(), began: Instant::now(), current: None, done: Vec::new() }
    }

    /// Begins a part; the one before it has ended.
    pub(super) fn part(&mut self, title: &str) -> io::Result<()> {
        self.end();
        self.current = Some((title.to_owned(), Instant::now()));
        line("")?;
        line(self.paint.apply(Color::Name, &format!("== {title}")))
    }

    fn end(&mut self) {
        if let Some((title, since)) = self.current.take() {
            self.done.push((title, since.elapsed()));
        }
    }

    /// A fact.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        line(self.paint.apply(Color::Plain, &format!("   {text}")))
    }

    /// The command lines that do the same.
    pub(super) fn same_as(&self, commands: &str) -> io::Result<()> {
        for command in commands.trim().lines() {
            line(self.paint.apply(Color::Faint, &format!("   $ {command}")))?;
        }
        Ok(())
    }

    /// Something achieved.
    pub(super) fn achieved(&self, text: &str) -> io::Result<()> {
        line(format_args!("   {} {text}", self.paint.apply(Color::Good, "✔")))
    }

    /// The times of all parts.
    pub(super) fn summary(&mut self) -> io::Result<()> {
        self.end();
        let mut table = Table::new(["PART", "TOOK"]);
        for (title, took) in &self.done {
            table.row([title.clone(), seconds(*took)]);
        }
        table.row(["all of it".to_owned(), seconds(self.began.elapsed())]);
        line("")?;
        table.lines().iter().try_for_each(line)
    }
}
