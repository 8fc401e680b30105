//! How a run looks while it goes on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use buildplane_api::WorkflowRun;
use buildplane_api::run::{RunPhase, TaskPhase, WorkflowTask};

use super::pods::PodLog;
use crate::output::sanitize::sanitize;
use crate::output::terminal::{Color, LiveLines, Paint, whole_seconds};
use crate::runs;

/// A finished task is announced after its last log line; this long it waits for that.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
/// A reason to wait that lasts this long is told.
const WAITING_PATIENCE: Duration = Duration::from_secs(1);
/// Lines of each task that are kept for the reason of a failure.
const TAIL: usize = 10;

/// What is to be shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct ViewOptions {
    /// Only this task's log, without its name before each line.
    pub(crate) task: Option<String>,
    /// Only log lines.
    pub(crate) logs_only: bool,
    /// The time before each log line.
    pub(crate) timestamps: bool,
}

/// Prints a run's tasks and logs, in the order in which they make sense.
pub(crate) struct View {
    options: ViewOptions,
    lines: LiveLines,
    paint: Paint,
    sanitized: bool,
    phases: HashMap<String, TaskPhase>,
    waiting: Option<Waiting>,
    /// Changes of tasks that are not announced yet.
    changes: VecDeque<Change>,
    logs: HashMap<String, TaskLog>,
    running_since: HashMap<String, Instant>,
    /// Tasks whose failure has been printed with its message.
    failures: HashSet<String>,
}

/// What a run waits for.
struct Waiting {
    reason: String,
    since: Instant,
    told: bool,
}

struct Change {
    task: WorkflowTask,
    phase: TaskPhase,
    since: Instant,
}

#[derive(Default)]
struct TaskLog {
    ended: bool,
    tail: VecDeque<String>,
}

impl View {
    pub(crate) fn new(options: ViewOptions) -> Self {
        Self {
            options,
            lines: LiveLines::new(),
            paint: Paint::for_stdout(),
            sanitized: io::stdout().is_terminal(),
            phases: HashMap::new(),
            waiting: None,
            changes: VecDeque::new(),
            logs: HashMap::new(),
            running_since: HashMap::new(),
            failures: HashSet::new(),
        }
    }

    /// The one task that is to be shown, if it is only one.
    pub(super) fn only_task(&self) -> Option<String> {
        self.options.task.clone()
    }

    /// Takes the run's state.
    pub(super) fn run(&mut self, run: &WorkflowRun) -> io::Result<()> {
        if self.options.logs_only {
            return Ok(());
        }
        if runs::phase(run).unwrap_or(RunPhase::Pending) == RunPhase::Pending {
            self.waits(&runs::reason(run).unwrap_or_default());
        } else {
            self.waiting = None;
        }
        for task in runs::tasks(run) {
            let phase = task.phase.unwrap_or(TaskPhase::Pending);
            // The log has told already that it runs.
            if phase == TaskPhase::Pending && self.phases.contains_key(&task.name) {
                continue;
            }
            if self.phases.insert(task.name.clone(), phase) != Some(phase) {
                self.changes.push_back(Change { task: task.clone(), phase, since: Instant::now() });
            }
        }
        self.announce(Flush::Ready)
    }

    fn waits(&mut self, reason: &str) {
        let reason = sanitize(reason.as_bytes());
        if self.waiting.as_ref().is_none_or(|waiting| waiting.reason != reason) {
            self.lines.set_status(format!("waiting: {reason}"), Instant::now());
            self.waiting = Some(Waiting { reason, since: Instant::now(), told: false });
        }
    }

    /// What passes within a moment is not worth a line.
    fn tell_waiting(&mut self) -> io::Result<()> {
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| !waiting.told) else { return Ok(()) };
        if waiting.since.elapsed() < WAITING_PATIENCE {
            return Ok(());
        }
        waiting.told = true;
        let text = format!("  waiting: {}", waiting.reason);
        self.lines.line(&self.paint.apply(Color::Faint, &text))
    }

    /// Takes a log event.
    pub(crate) fn log(&mut self, event: PodLog) -> io::Result<()> {
        match event {
            PodLog::Begin { task } => {
                self.logs.entry(task).or_default();
                Ok(())
            }
            PodLog::End { task } => {
                self.logs.entry(task).or_default().ended = true;
                self.announce(Flush::Ready)
            }
            PodLog::Note(text) => self.note(&text),
            PodLog::Line { task, at, text } => {
                self.announce_start_of(&task)?;
                let tail = &mut self.logs.entry(task.clone()).or_default().tail;
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(sanitize(&text));
                let mut prefix = String::new();
                if let Some(at) = at.filter(|_| self.options.timestamps) {
                    prefix = format!("{at} ");
                }
                if self.options.task.is_none() {
                    let name = sanitize(task.as_bytes());
                    prefix.push_str(&self.paint.apply(Color::Name, &format!("{name} | ")));
                }
                self.print_log(&prefix, &text)
            }
        }
    }

    /// A task's log never comes before the task: the log may be faster than the control plane.
    fn announce_start_of(&mut self, task: &str) -> io::Result<()> {
        if self.options.logs_only || self.running_since.contains_key(task) {
            return Ok(());
        }
        if !self.phases.contains_key(task) || self.phases.get(task) == Some(&TaskPhase::Pending) {
            self.phases.insert(task.to_owned(), TaskPhase::Running);
            let task = WorkflowTask {
                name: task.to_owned(),
                phase: Some(TaskPhase::Running),
                started_at: None,
                completed_at: None,
                message: None,
                outputs: Vec::new(),
            };
            self.changes.push_back(Change { task, phase: TaskPhase::Running, since: Instant::now() });
        }
        self.announce(Flush::All)
    }

    /// On a terminal the text is made harmless; a pipe gets the bytes as they are.
    fn print_log(&mut self, prefix: &str, text: &[u8]) -> io::Result<()> {
        if self.sanitized {
            return self.lines.line(&format!("{prefix}{}", sanitize(text)));
        }
        let mut out = io::stdout().lock();
        out.write_all(prefix.as_bytes())?;
        out.write_all(text)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// A line of ours in between; in a pipe it goes to standard error when standard output is for logs alone.
    pub(crate) fn note(&mut self, text: &str) -> io::Result<()> {
        if self.options.logs_only {
            crate::output::note(text);
            return Ok(());
        }
        self.lines.line(text)
    }

    pub(super) fn tick(&mut self) -> io::Result<()> {
        self.announce(Flush::Ready)?;
        self.tell_waiting()?;
        self.lines.tick()
    }

    /// Announces what is left.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.announce(Flush::All)?;
        self.lines.clear_status()
    }

    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.lines.clear_status()
    }

    fn announce(&mut self, flush: Flush) -> io::Result<()> {
        while let Some(change) = self.changes.front() {
            if flush == Flush::Ready && !self.may_announce(change) {
                break;
            }
            let Some(Change { task, phase, .. }) = self.changes.pop_front() else { break };
            self.announce_one(&task, phase)?;
        }
        Ok(())
    }

    fn may_announce(&self, change: &Change) -> bool {
        let has_log = matches!(change.phase, TaskPhase::Succeeded | TaskPhase::Failed);
        !has_log
            || change.since.elapsed() > LOG_PATIENCE
            || self.logs.get(&change.task.name).is_some_and(|log| log.ended)
    }

    fn announce_one(&mut self, task: &WorkflowTask, phase: TaskPhase) -> io::Result<()> {
        let name = sanitize(task.name.as_bytes());
        match phase {
            TaskPhase::Pending | TaskPhase::Omitted => Ok(()),
            TaskPhase::Running if self.running_since.contains_key(&task.name) => Ok(()),
            TaskPhase::Running => {
                let since = *self.running_since.entry(task.name.clone()).or_insert_with(Instant::now);
                self.lines.set_status(name.clone(), since);
                self.lines.line(&self.paint.apply(Color::Name, &format!("▶ {name}")))
            }
            TaskPhase::Skipped => {
                self.lines.line(&self.paint.apply(Color::Faint, &format!("- {name} skipped")))
            }
            TaskPhase::Succeeded => {
                self.lines.clear_status()?;
                self.lines.line(&self.paint.apply(Color::Good, &format!("✔ {name}{}", took(task))))
            }
            TaskPhase::Failed | TaskPhase::Error => {
                self.lines.clear_status()?;
                self.failures.insert(task.name.clone());
                let message =
                    task.message.as_deref().map(|text| sanitize(text.as_bytes())).unwrap_or_default();
                let colon = if message.is_empty() { "" } else { ": " };
                let text = format!("✘ {name}{}{colon}{message}", took(task));
                self.lines.line(&self.paint.apply(Color::Bad, &text))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// What may be announced by now.
    Ready,
    All,
}

/// ` 2s`, if the times are known. They are whole seconds, as Kubernetes writes them.
fn took(task: &WorkflowTask) -> String {
    let (Some(start), Some(end)) = (&task.started_at, &task.completed_at) else { return String::new() };
    let took = Duration::try_from(end.0.duration_since(start.0)).unwrap_or_default();
    format!(" {}", whole_seconds(took))
}

/// The task whose failure ended the run, and why, in one line. What the view has printed as the task's own end is not
/// said again.
pub(crate) fn failure_reason(run: &WorkflowRun, view: &View) -> String {
    let failed =
        runs::tasks(run).iter().find(|task| matches!(task.phase, Some(TaskPhase::Failed | TaskPhase::Error)));
    let Some(task) = failed else {
        return runs::reason(run)
            .map_or_else(|| "no reason given".to_owned(), |text| sanitize(text.as_bytes()));
    };
    let name = sanitize(task.name.as_bytes());
    let message = task.message.as_deref().map(|text| sanitize(text.as_bytes())).unwrap_or_default();
    let told = view.failures.contains(&task.name);
    let line = telling_line(&view.tail(&task.name), &message);
    match line.filter(|line| !(told && message.contains(line))) {
        Some(line) => format!("{name}: {line}"),
        None if told || message.is_empty() => name,
        None => format!("{name}: {message}"),
    }
}

/// The line of a log's end that says most about what went wrong: the last that calls itself an error and is not in the
/// task's message already, as a script's closing words are; else one that is; else, without a message, the last line.
fn telling_line(tail: &[String], message: &str) -> Option<String> {
    let lines = || tail.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    let is_error = |line: &&str| line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"));
    let new = lines().rfind(|line| is_error(line) && !message.contains(line));
    let known = || lines().rfind(is_error);
    let last = || lines().next_back().filter(|_| message.is_empty());
    new.or_else(known).or_else(last).map(str::to_owned)
}

impl View {
    /// The last lines of a task's log.
    fn tail(&self, task: &str) -> Vec<String> {
        self.logs.get(task).map(|log| log.tail.iter().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_failed_of_is_said_once() {
        let message = "main: Error (exit code 128): cannot reach 127.0.0.1:1";
        let run: WorkflowRun = serde_json::from_value(serde_json::json!({
            "apiVersion": "openchoreo.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "r"},
            "spec": {"workflow": {"name": "docker"}},
            "status": {"phase": "Failed", "tasks": [{"name": "checkout", "phase": "Failed", "message": message}]},
        }))
        .expect("a run");
        let mut view = View::new(ViewOptions::default());
        assert_eq!(failure_reason(&run, &view), format!("checkout: {message}"), "nothing has been printed");
        view.run(&run).expect("prints");
        view.finish().expect("prints");
        assert_eq!(failure_reason(&run, &view), "checkout");
        let line = PodLog::Line { task: "checkout".to_owned(), at: None, text: b"error: no route".to_vec() };
        view.log(line).expect("prints");
        assert_eq!(failure_reason(&run, &view), "checkout: error: no route", "the log says more");
    }

    #[test]
    fn the_telling_line_says_most_about_the_failure() {
        let step = "Error: building at STEP \"RUN false\": exit status 1";
        let closing = "error: it could not be built; the step that failed is named above";
        let message = format!("main: Error (exit code 1): {closing}");
        for (lines, message, telling) in [
            (&["STEP 1", step, closing, ""][..], message.as_str(), Some(step)),
            (&["STEP 1", closing], message.as_str(), Some(closing)),
            (&["error: first", "ERROR second", "cleaning up"], "exit code 1", Some("ERROR second")),
            (&["just text", "  more text  ", " "], "", Some("more text")),
            (&["just text"], "exit code 1", None),
            (&["", " "], "", None),
            (&[], "", None),
        ] {
            let tail: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            assert_eq!(telling_line(&tail, message).as_deref(), telling, "{lines:?}");
        }
    }
}
