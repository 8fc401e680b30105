//! The namespaces a step lives in, made before it is needed.
//!
//! ```text
//!   this process                      first: ids 0..65535 = the subordinate range, nothing else
//!   (root or an ordinary user)          │    mounts: a copy of the host's, plus /sys/v (volumes), /sys/s (shared files),
//!        │                              │            /sys/dev (device nodes), bound while the maker still had the
//!        │ unshare, newuidmap           │            caller's identity, so they may lie below directories only the
//!        └───────────────────────────▶  │            caller can enter
//!                                       └──▶ second: the same ids once more; owns nothing of the first
//! ```
//!
//! bubblewrap sets a step's root up as user 0 of the first and starts its program in the second. So a step that holds
//! `CAP_SYS_ADMIN` holds it over the second only: the mounts that make its root belong to the first, and the kernel
//! locks every one of them (read-only stays read-only, what covers stays) when the step makes a mount table of its own.
//! No user namespace can be made below them, and the second has a limit of processes that no change of user evades.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use crate::subordinate::{COUNT, Subordinate};
use crate::{SharedMount, StartError};

/// Where a namespace's maker puts things: `/sys` exists everywhere, nothing a step is given comes from it, and it is covered
/// in this namespace alone.
pub(super) const VOLUMES: &str = "/sys/v";
pub(super) const SHARED: &str = "/sys/s";
pub(super) const DEVICES: &str = "/sys/dev";

/// Where the tools of the host are; the caller's own `PATH` is not trusted.
pub(super) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What every namespace of an executor is made from.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) ids: Subordinate,
    pub(super) volumes: std::path::PathBuf,
    pub(super) shared: Vec<SharedMount>,
    pub(super) processes: u32,
}

/// A namespace, kept alive by its descriptors alone.
#[derive(Debug)]
pub(super) struct Namespace {
    user: OwnedFd,
    mount: OwnedFd,
    inner: OwnedFd,
}

impl Namespace {
    /// A command that runs `program` as user 0 of the first namespace, with every capability over it.
    pub(super) fn enter(&self) -> Vec<String> {
        let descriptor = |fd: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        vec![
            "nsenter".to_owned(),
            format!("--user={}", descriptor(&self.user)),
            format!("--mount={}", descriptor(&self.mount)),
            "--setuid=0".to_owned(),
            "--setgid=0".to_owned(),
            "--".to_owned(),
        ]
    }

    /// The second namespace, for `bwrap --userns2`.
    pub(super) fn inner(&self) -> io::Result<OwnedFd> {
        self.inner.try_clone()
    }

    /// Makes a namespace; takes some ten milliseconds.
    pub(super) fn make(recipe: &Recipe) -> Result<Self, StartError> {
        let mut maker = Maker::start(recipe).map_err(|error| failed("start unshare", &error))?;
        let made = maker.make(recipe);
        made.map_err(|error| {
            let said = maker.kill();
            if said.is_empty() { error } else { StartError::Namespace(format!("{error}: {said}")) }
        })
    }
}

fn failed(action: &str, error: &io::Error) -> StartError {
    StartError::Namespace(format!("failed to {action}: {error}"))
}

/// Runs as the caller in the new namespaces: it opens what the caller may open, and lets user 0 of the namespace bind it.
const STAGE_AS_CALLER: &str = r#"
printf 'unshared\n'
read -r go || exit 1
as_root() { setpriv --reuid 0 --regid 0 --clear-groups -- sh -euc "$@"; }
as_root "$BUILDPLANE_PREPARE" || exit 1
exec 3<"$1" || exit 1
shift
as_root 'mount --no-canonicalize --bind /proc/self/fd/3 /sys/v' || exit 1
index=0
for source in "$@"; do
  exec 3<"$source" || exit 1
  as_root "$BUILDPLANE_BIND" sh "$index" || exit 1
  index=$((index + 1))
done
exec 3<&-
exec setpriv --reuid 0 --regid 0 --clear-groups -- sh -euc "$BUILDPLANE_FINISH"
"#;

/// Device nodes are bound one by one: a build remounts `/dev` read-only, which the kernel refuses on a file system
/// that was mounted without devices by somebody else.
const PREPARE: &str = r#"
mount -t tmpfs -o mode=0755,size=1m tmpfs /sys
mkdir /sys/v /sys/s /sys/dev
mount -t tmpfs -o mode=0755,size=64k tmpfs /sys/dev
cd /sys/dev
for node in null zero full random urandom tty; do
  : >"$node"
  mount --no-canonicalize --bind "/dev/$node" "$node"
done
mkdir pts shm
ln -s pts/ptmx ptmx
ln -s /proc/self/fd fd
ln -s /proc/self/fd/0 stdin
ln -s /proc/self/fd/1 stdout
ln -s /proc/self/fd/2 stderr
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620 devpts pts
"#;

const BIND: &str = r#"
if [ -d /proc/self/fd/3 ]; then mkdir "/sys/s/$1"; else : >"/sys/s/$1"; fi
mount --no-canonicalize --bind /proc/self/fd/3 "/sys/s/$1"
"#;

/// Makes the second namespace under the limit of processes, then forbids any further one.
const FINISH: &str = r#"
mkfifo /sys/ready
exec 4<&0
prlimit --nproc="$BUILDPLANE_PROCESSES:$BUILDPLANE_PROCESSES" \
  unshare --user sh -c 'echo >/sys/ready; read -r end <&4' &
read -r ready </sys/ready
rm /sys/ready
echo "0 0 65536" >"/proc/$!/uid_map"
echo "0 0 65536" >"/proc/$!/gid_map"
echo 0 >/proc/sys/user/max_user_namespaces
printf 'made %s\n' "$!"
read -r end
"#;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The process that makes a namespace. It ends when its standard input does.
struct Maker {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Maker {
    fn start(recipe: &Recipe) -> io::Result<Self> {
        let mut child = Command::new("unshare")
            .args(["--user", "--mount", "--propagation", "slave", "--keep-caps", "--"])
            .args(["sh", "-c", STAGE_AS_CALLER, "sh"])
            .arg(&recipe.volumes)
            .args(recipe.shared.iter().map(|mount| &mount.source))
            .env_clear()
            .env("PATH", PATH)
            .env("BUILDPLANE_PREPARE", PREPARE)
            .env("BUILDPLANE_BIND", BIND)
            .env("BUILDPLANE_FINISH", FINISH)
            .env("BUILDPLANE_PROCESSES", recipe.processes.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, lines: BufReader::new(stdout) })
    }

    fn make(&mut self, recipe: &Recipe) -> Result<Namespace, StartError> {
        self.expect("unshared")?;
        let pid = self.child.id();
        map("newuidmap", pid, recipe.ids.first_uid)?;
        map("newgidmap", pid, recipe.ids.first_gid)?;
        let input = self.child.stdin.as_mut().ok_or_else(|| StartError::Namespace("no input".to_owned()))?;
        input.write_all(b"go\n").map_err(|error| failed("speak to the maker", &error))?;
        let inner = self.expect("made ")?;
        let open = |pid: &str, kind: &str| {
            File::open(format!("/proc/{pid}/ns/{kind}"))
                .map(OwnedFd::from)
                .map_err(|error| failed("open the namespace", &error))
        };
        let pid = pid.to_string();
        let namespace =
            Namespace { user: open(&pid, "user")?, mount: open(&pid, "mnt")?, inner: open(&inner, "user")? };
        drop(self.child.stdin.take());
        self.child.wait().map_err(|error| failed("wait for the maker", &error))?;
        Ok(namespace)
    }

    /// Reads one line that starts with `prefix`, and gives what follows.
    fn expect(&mut self, prefix: &str) -> Result<String, StartError> {
        let timeout = Timespec { tv_sec: TIMEOUT.as_secs().cast_signed(), tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(self.lines.get_ref(), PollFlags::IN)], Some(&timeout))
            .map_err(|error| failed("wait for the maker", &error.into()))?;
        if ready == 0 {
            return Err(StartError::Namespace("making it took too long".to_owned()));
        }
        let mut line = String::new();
        self.lines.read_line(&mut line).map_err(|error| failed("read from the maker", &error))?;
        match line.strip_prefix(prefix) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(StartError::Namespace("its maker gave up".to_owned())),
        }
    }

    /// Ends a maker that failed, and gives what it had to say.
    fn kill(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            let _ = io::Read::read_to_string(&mut io::Read::take(stderr, 4096), &mut said);
        }
        said.trim().replace('\n', "; ")
    }
}

fn map(tool: &'static str, pid: u32, first: u32) -> Result<(), StartError> {
    let output = Command::new(tool)
        .args([pid.to_string(), "0".to_owned(), first.to_string(), COUNT.to_string()])
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(tool, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(StartError::Namespace(format!("{tool} failed: {}", said.trim())))
}

/// Namespaces made ahead of the steps that will use them; each is used by one step only.
#[derive(Debug)]
pub(super) struct Pool {
    ready: tokio::sync::Mutex<mpsc::Receiver<Result<Namespace, StartError>>>,
}

impl Pool {
    /// Starts making. One waits in the channel and one at its door: the next step never waits, the one after it hardly.
    pub(super) fn start(recipe: Arc<Recipe>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(1);
        std::thread::Builder::new()
            .name("sandbox-maker".to_owned())
            .spawn(move || while sender.blocking_send(Namespace::make(&recipe)).is_ok() {})?;
        Ok(Self { ready: tokio::sync::Mutex::new(receiver) })
    }

    /// Takes one. Cancel safe.
    pub(super) async fn take(&self) -> Result<Namespace, StartError> {
        let received = self.ready.lock().await.recv().await;
        received.unwrap_or_else(|| Err(StartError::Namespace("its maker has gone".to_owned())))
    }
}
