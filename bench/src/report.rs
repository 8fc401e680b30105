//! The numbers of a run: as a table for people, as JSON for programs.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value};

/// What a number is held against.
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// (what, number, the number that it is divided by, goal).
const RATIOS: &[(&str, &str, &str, Goal)] = &[
    (
        "small, 1 caller, p50: tunnel / bare",
        "small_1_tunnel_p50_us",
        "small_1_bare_p50_us",
        Goal::AtMost(1.3),
    ),
    ("small, 64 callers: tunnel / bare", "small_64_tunnel_rps", "small_64_bare_rps", Goal::AtLeast(0.65)),
    ("small, 64 callers: tunnel / JSON", "small_64_tunnel_rps", "small_64_json_rps", Goal::AtLeast(1.0)),
    ("bulk, 8 streams: tunnel / bare", "bulk_8_tunnel_mbps", "bulk_8_bare_mbps", Goal::AtLeast(0.65)),
    ("bulk, 8 streams: tunnel / JSON", "bulk_8_tunnel_mbps", "bulk_8_json_mbps", Goal::AtLeast(1.8)),
];

/// (number, goal).
const GOALS: &[(&str, Goal)] = &[
    ("small_64_tunnel_rps", Goal::AtLeast(15_000.0)),
    ("bulk_8_tunnel_mbps", Goal::AtLeast(400.0)),
    ("bulk_1_tunnel_mbps", Goal::AtLeast(250.0)),
    ("idle_agent_kib", Goal::AtMost(32.0)),
    ("storm_seconds", Goal::AtMost(10.0)),
    ("slow_reader_p99_ratio", Goal::AtMost(1.5)),
    ("cancel_p99_ms", Goal::AtMost(100.0)),
    ("status_lag_p99_ms", Goal::AtMost(250.0)),
];

impl Goal {
    fn show(&self, found: f64) -> String {
        let (sign, limit, met) = match self {
            Self::AtMost(limit) => ("≤", limit, found <= *limit),
            Self::AtLeast(limit) => ("≥", limit, found >= *limit),
        };
        format!("{sign} {limit}{}", if met { "" } else { "  MISSED" })
    }
}

/// Numbers by name, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    numbers: Vec<(String, f64)>,
    notes: Vec<(String, f64)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, number: f64) {
        progress(&format!("{name} {}", show(number)));
        self.numbers.push((name.to_owned(), number));
    }

    /// A number that is shown and not written.
    pub(crate) fn note(&mut self, name: &str, number: f64) {
        self.notes.push((name.to_owned(), number));
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }

    pub(crate) fn print(&self) {
        crate::say("");
        for (name, number) in &self.numbers {
            let goal = GOALS.iter().find(|(known, _)| known == name);
            let goal = goal.map(|(_, goal)| goal.show(*number)).unwrap_or_default();
            line(name, *number, &goal);
        }
        crate::say("");
        for (what, number, divisor, goal) in RATIOS {
            if let (Some(number), Some(divisor)) = (self.number(number), self.number(divisor)) {
                line(what, number / divisor, &goal.show(number / divisor));
            }
        }
        for (what, number) in &self.notes {
            line(what, *number, "");
        }
    }

    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let numbers: Map<String, Value> =
            self.numbers.iter().map(|(name, number)| (name.clone(), rounded(*number).into())).collect();
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let text = serde_json::to_string_pretty(&numbers)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn line(what: &str, number: f64, goal: &str) {
    crate::say(format!("{what:<42} {:>10}   {goal}", show(number)).trim_end());
}

fn show(number: f64) -> String {
    if number >= 100.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[expect(clippy::print_stderr, reason = "what happens, for whoever waits")]
fn progress(line: &str) {
    eprintln!("{line}");
}
