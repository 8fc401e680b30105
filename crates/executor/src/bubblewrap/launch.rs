//! Starting a step: from its description to a running child.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{OwnedFd, RawFd};
use std::process::{Child, Command, Stdio};

use command_fds::CommandFdExt as _;

use super::arguments::{self, Arguments, in_memory};
use super::namespace::{Namespace, PATH};
use super::{root, seccomp};
use crate::cgroup::Cgroup;
use crate::{SharedMount, StepSpec};

/// A step that has been started.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) child: Child,
    /// Standard output and standard error, in the order they were written.
    pub(super) output: PipeReader,
    /// What bubblewrap says about itself.
    pub(super) status: PipeReader,
    /// The files handed back.
    pub(super) outputs: Option<PipeReader>,
}

/// Sets limits and joins the control groups, before anything is set up; the rest of the arguments is what to run.
const FRONT: &str = r#"
ulimit -c 0
[ -z "$1" ] || ulimit -f "$1"
shift
while [ "$1" != -- ]; do
  echo 0 >"$1" || exit 125
  shift
done
shift
exec "$@"
"#;

/// Runs in the sandbox, as the step: waits for the word, closes the descriptor of its namespace and goes where the
/// program starts.
///
/// The word comes when every process of the sandbox is tied to the life of this one. Were this one killed while the
/// sandbox is being set up, nobody would tell it; then the word never comes, and the program is never started.
const INSIDE: &str = r#"
read -r go || exit 125
exec </dev/null 7<&- 9<&-
[ -d "$1" ] || mkdir -p -- "$1"
cd -- "$1" || exit 126
unset OLDPWD
shift
exec "$@"
"#;

/// The same, and hands back files when the program has ended: one line each, `<index> <base64>`. Whatever arrives was
/// said by the step, and is read as such.
const INSIDE_WITH_OUTPUTS: &str = r#"
read -r go || exit 125
exec </dev/null 7<&- 9<&-
[ -d "$1" ] || mkdir -p -- "$1"
cd -- "$1" || exit 126
unset OLDPWD
outputs=$2
shift 2
"$@" 3>&-
status=$?
IFS='
'
set -f
index=0
for file in $outputs; do
  if [ -f "$file" ]; then
    printf '%s ' "$index" >&3
    head -c "$BUILDPLANE_OUTPUT_LIMIT" -- "$file" | base64 -w 0 >&3
    echo >&3
  fi
  index=$((index + 1))
done
exit "$status"
"#;

/// Starts a step. Blocks for a millisecond; the thread that calls must outlive the step, since the kernel ties the
/// sandbox's life to it.
pub(super) fn launch(
    step: &StepSpec,
    namespace: &Namespace,
    shared: &[SharedMount],
    cgroup: Option<&Cgroup>,
) -> io::Result<Launched> {
    let (output, output_end) = io::pipe()?;
    let (status, status_end) = io::pipe()?;
    let (outputs, handed_back) = if step.outputs.is_empty() {
        (None, None)
    } else {
        let (reader, writer) = io::pipe()?;
        (Some(reader), Some(writer))
    };
    let mut arguments = arguments(step, namespace, shared)?;
    arguments.descriptor(status_end.into(), arguments::STATUS);
    // bubblewrap must be able to speak when nobody listens any more: were it to fail there, it would leave a child that
    // waits for ever.
    arguments.descriptor(status.try_clone()?.into(), arguments::LISTENER);
    if let Some(end) = handed_back {
        arguments.descriptor(end.into(), arguments::OUTPUTS);
    }
    let stray: Vec<_> =
        inherited()?.into_iter().filter(|number| !arguments::taken(&arguments, *number)).collect();
    for number in stray {
        arguments.descriptor(File::open("/dev/null")?.into(), number);
    }
    let mut command = front(step, namespace, cgroup, outputs.is_some());
    command.stdout(output_end.try_clone()?).stderr::<PipeWriter>(output_end);
    command.stdin(Stdio::piped());
    command.fd_mappings(arguments.into_mappings()?).map_err(io::Error::other)?;
    let child = command.spawn()?;
    Ok(Launched { child, output, status, outputs })
}

fn arguments(step: &StepSpec, namespace: &Namespace, shared: &[SharedMount]) -> io::Result<Arguments> {
    let mut arguments = Arguments::default();
    arguments.push(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
    arguments.push(["--new-session", "--die-with-parent", "--hostname", &step.name]);
    arguments.push(["--json-status-fd", &arguments::STATUS.to_string()]);
    arguments.push(["--seccomp", &arguments::SECCOMP.to_string()]);
    arguments.push(["--userns2", &arguments::INNER.to_string()]);
    root::capabilities(&mut arguments, &step.capabilities);
    root::describe(&mut arguments, step, shared)?;
    arguments.push([
        "--clearenv",
        "--setenv",
        "PATH",
        "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin",
    ]);
    arguments.push(["--setenv", "HOME", "/root"]);
    if !step.outputs.is_empty() {
        // One byte more than is kept, so that a longer file shows.
        let limit = (crate::Output::LIMIT + 1).to_string();
        arguments.push(["--setenv", "BUILDPLANE_OUTPUT_LIMIT", &limit]);
    }
    for variable in &step.environment {
        arguments.push(["--setenv", &variable.name, &variable.value]);
    }
    let filter: OwnedFd = in_memory(&seccomp::filter(&step.capabilities))?;
    arguments.descriptor(filter, arguments::SECCOMP);
    arguments.descriptor(namespace.inner()?, arguments::INNER);
    Ok(arguments)
}

/// Descriptors this process was started with that its children would get: a step gets `/dev/null` in their place.
/// Everything opened by Rust is closed on exec; a terminal, a lock or a directory that a careless parent left open is not.
fn inherited() -> io::Result<Vec<RawFd>> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        // One that has been closed meanwhile was opened by another thread.
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        if number > 2 && flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// shell (limits, control groups) → nsenter → bubblewrap → shell (inside) → the program; each replaces the one before,
/// but for bubblewrap, which stays outside as the step's parent.
fn front(step: &StepSpec, namespace: &Namespace, cgroup: Option<&Cgroup>, outputs: bool) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", FRONT, "sh"]);
    // In blocks of 512 bytes.
    command.arg(step.limits.file_size.map_or_else(String::new, |size| (size / 512).max(1).to_string()));
    command.args(cgroup.iter().flat_map(|cgroup| cgroup.entries()));
    command.arg("--").args(namespace.enter());
    command.args(["bwrap", "--args", &arguments::ARGUMENTS.to_string(), "--", "/bin/sh", "-c"]);
    let directory = step.working_directory.as_deref().unwrap_or("/");
    if outputs {
        let paths: Vec<_> = step.outputs.iter().map(|output| output.path.as_str()).collect();
        command.args([INSIDE_WITH_OUTPUTS, "sh", directory, &paths.join("\n")]);
    } else {
        command.args([INSIDE, "sh", directory]);
    }
    command.args(&step.command).env_clear().env("PATH", PATH).current_dir("/");
    command
}
