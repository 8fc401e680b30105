//! Attempts to get out of a sandbox, each with the refusal it must meet.
//!
//! Every row runs in a step without capabilities and in one with those of an image build. A row passes when its output
//! holds one of the expected refusals and not the word `ESCAPED`: a tool that is missing, or a guard that is gone,
//! fails the row. The whole table runs as the user of the tests and, under root, again as an ordinary user.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use buildplane_executor::{End, StepSpec, Variable};
use buildplane_testing::OrdinaryUser;

use crate::support::{Sandbox, build_capabilities, volume};

/// What is attempted, and any of these must be the answer.
#[derive(Clone)]
struct Row {
    name: &'static str,
    script: String,
    refusals: &'static [&'static str],
}

fn row(name: &'static str, script: impl Into<String>, refusals: &'static [&'static str]) -> Row {
    Row { name, script: script.into(), refusals }
}

/// Calls the kernel directly: every Debian has perl, and no tool stands between the step and the refusal.
fn call(name: &'static str, number: i64, arguments: &str, refusals: &'static [&'static str]) -> Row {
    let script = format!(
        "perl -e 'my @a = ({arguments}); my $r = syscall({number}, @a); print $r == -1 ? \"$!\\n\" : \"ESCAPED\\n\"'"
    );
    row(name, script, refusals)
}

const NOT_PERMITTED: &[&str] = &["Operation not permitted", "Permission denied"];
const DENIED: &[&str] =
    &["Operation not permitted", "Permission denied", "permission denied", "must be superuser"];
const ABSENT: &[&str] = &["No such file or directory", "does not exist"];
const READ_ONLY: &[&str] = &["Read-only file system", "Permission denied"];
/// Not every kernel has it; a shell says it so.
const READ_ONLY_OR_ABSENT: &[&str] = &["Read-only file system", "Permission denied", "nonexistent"];
const NOT_IMPLEMENTED: &[&str] = &["Function not implemented"];
const NO_FAMILY: &[&str] = &["Address family not supported by protocol"];

/// Rows that must be refused whatever a step holds.
fn everywhere() -> Vec<Row> {
    [files(), kernel(), others(), limits(), calls()].into_iter().flatten().collect()
}

/// What a step can see and change.
fn files() -> Vec<Row> {
    vec![
        row("write to /usr", "touch /usr/owned && echo ESCAPED", READ_ONLY),
        row("write to the root", "touch /owned && echo ESCAPED", READ_ONLY),
        row("write to /etc", "touch /etc/owned && echo ESCAPED", READ_ONLY),
        row("change the certificates", ": >>/etc/ssl/certs/ca-certificates.crt && echo ESCAPED", READ_ONLY),
        row("/etc/shadow", "cat /etc/shadow && echo ESCAPED", ABSENT),
        row("the data directory", "ls $DATA && echo ESCAPED", ABSENT),
        row("a file everybody may read", "cat $OPEN && echo ESCAPED", ABSENT),
        row("the home directory", "cat $HOME_FILE && echo ESCAPED", ABSENT),
        row("other homes", "ls -A /home /root | grep -v : | grep . || echo empty", &["empty"]),
        row(
            "sockets under /run",
            "find /run /var/run/ -mindepth 1 ! -name fds | grep . || echo empty",
            &["empty"],
        ),
        row("a socket by its path", connect("$ENV{SOCKET}"), ABSENT),
        row("/sys", "ls -A /sys | grep . || echo empty", &["empty"]),
    ]
}

/// Switches of the kernel, and devices.
fn kernel() -> Vec<Row> {
    vec![
        row("core_pattern", "echo '|/bin/sh' >/proc/sys/kernel/core_pattern && echo ESCAPED", READ_ONLY),
        row("modprobe path", "echo /tmp/x >/proc/sys/kernel/modprobe && echo ESCAPED", READ_ONLY_OR_ABSENT),
        row("drop caches", "echo 1 >/proc/sys/vm/drop_caches && echo ESCAPED", READ_ONLY),
        row("sysrq", "echo h >/proc/sysrq-trigger && echo ESCAPED", READ_ONLY_OR_ABSENT),
        row("allow user namespaces", "echo 9 >/proc/sys/user/max_user_namespaces && echo ESCAPED", READ_ONLY),
        row("/dev/mem", "head -c 1 /dev/mem && echo ESCAPED", ABSENT),
        row(
            "kernel memory",
            "head -c 1 /proc/kcore && echo ESCAPED",
            &["Operation not permitted", "Permission denied", "No such file"],
        ),
        row("the kernel's log", "dmesg && echo ESCAPED", DENIED),
        row(
            "devices",
            "ls /dev | tr '\\n' ' '",
            &["fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"],
        ),
        row("make a device", "mknod /tmp/disk b 254 0 && echo ESCAPED", NOT_PERMITTED),
        row(
            "a disk of the host",
            "mknod /workspace/disk b 8 0 && cat /workspace/disk && echo ESCAPED",
            NOT_PERMITTED,
        ),
    ]
}

/// Other processes, other identities.
fn others() -> Vec<Row> {
    vec![
        row(
            "processes of others",
            "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null | grep -e it- -e victim -e 7341 \
             | grep -v grep || echo none",
            &["none"],
        ),
        row(
            "the environment of the platform",
            "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -e CARGO -e PLATFORM_SECRET || echo none",
            &["none"],
        ),
        row("files of another step", "find / -name victim-file 2>/dev/null | grep . || echo none", &["none"]),
        row("end every process", "trap '' TERM; kill -9 1; kill -TERM -1; echo sent", &["sent"]),
        row("a new user namespace", "unshare --user true && echo ESCAPED", NOT_PERMITTED),
        row("a new network namespace", "unshare --net true && echo ESCAPED", NOT_PERMITTED),
        row("another identity", "su nobody -c true && echo ESCAPED", &["su:", "not found", "cannot set"]),
        row("gain from set-user-id", "grep NoNewPrivs /proc/self/status", &["NoNewPrivs:\t1"]),
        row("filtered", "grep Seccomp: /proc/self/status", &["Seccomp:\t2"]),
        row("groups", "grep Groups: /proc/self/status", &["Groups:\t \n", "Groups:\t\n", "Groups:\t0 \n"]),
        row("more processes", "prlimit --nproc=unlimited true && echo ESCAPED", NOT_PERMITTED),
        row("the clock", "date -s @0 && echo ESCAPED", NOT_PERMITTED),
    ]
}

/// What a step may use up, and what it was started with.
fn limits() -> Vec<Row> {
    vec![
        row("fill /tmp", "head -c 100M /dev/zero >/tmp/fill && echo ESCAPED", &["No space left on device"]),
        row(
            "fill /dev/shm",
            "head -c 100M /dev/zero >/dev/shm/fill && echo ESCAPED",
            &["No space left on device"],
        ),
        row("fill /dev", "head -c 1M /dev/zero >/dev/fill && echo ESCAPED", &["No space left on device"]),
        row("fill /run", "head -c 100M /dev/zero >/run/fill && echo ESCAPED", &["No space left on device"]),
        row("type into a terminal", terminal(0x5412), NOT_PERMITTED),
        row("drive a console", terminal(0x541C), NOT_PERMITTED),
        row("a line discipline", terminal(0x5423), NOT_PERMITTED),
        row(
            "the terminal of the platform",
            "echo x >/dev/tty && echo ESCAPED",
            &["No such device or address"],
        ),
        row(
            "descriptors of the platform",
            "ls -l /proc/$$/fd | grep -o -- '-> /.*' | grep -v -e '-> /dev/null' -e '-> /proc/' || echo none",
            &["none"],
        ),
        row(
            // The first call claims success, which keeps build tools going; the second shows that nothing changed.
            "outlive the platform",
            format!(
                "exec perl -e 'my $b = \"\\0\" x 4; syscall({0}, 1, 0) == 0 or die $!; syscall({0}, 2, $b); \
                 print \"dies by \", unpack(\"i\", $b)'",
                libc::SYS_prctl
            ),
            &["dies by 9"],
        ),
        row(
            "fork without end",
            "perl -e 'while (1) { my $p = fork; last unless defined $p; $p or sleep 9 or exit; $n++ } print \"$! after $n\"; exit($n > 250)'",
            &["Resource temporarily unavailable"],
        ),
    ]
}

/// Calls that the filter refuses whatever a step holds.
fn calls() -> Vec<Row> {
    vec![
        call("keyctl", libc::SYS_keyctl, "0, 0, 0, 0, 0", NOT_PERMITTED),
        call("add_key", libc::SYS_add_key, r#""user", "a", "b", 1, -3"#, NOT_PERMITTED),
        call("request_key", libc::SYS_request_key, r#""user", "a", 0, 0"#, NOT_PERMITTED),
        call("bpf", libc::SYS_bpf, r#"0, "x" x 128, 128"#, NOT_PERMITTED),
        call("perf_event_open", libc::SYS_perf_event_open, r#""x" x 128, 0, -1, -1, 0"#, NOT_PERMITTED),
        call("userfaultfd", libc::SYS_userfaultfd, "1", NOT_PERMITTED),
        call("io_uring", libc::SYS_io_uring_setup, r#"1, "\0" x 120"#, NOT_IMPLEMENTED),
        call("ptrace of the first process", libc::SYS_ptrace, "16, 1, 0, 0", NOT_PERMITTED),
        call("process_vm_readv", libc::SYS_process_vm_readv, "1, 0, 0, 0, 0, 0", NOT_PERMITTED),
        call("process_vm_writev", libc::SYS_process_vm_writev, "1, 0, 0, 0, 0, 0", NOT_PERMITTED),
        call("pidfd_getfd", libc::SYS_pidfd_getfd, "0, 0, 0", NOT_PERMITTED),
        call("kcmp", libc::SYS_kcmp, "1, 1, 0, 0, 0", NOT_PERMITTED),
        call("setns", libc::SYS_setns, "0, 0", NOT_PERMITTED),
        call("open_by_handle_at", libc::SYS_open_by_handle_at, r#"0, "x" x 64, 0"#, NOT_PERMITTED),
        call("fanotify", libc::SYS_fanotify_init, "0, 0", NOT_PERMITTED),
        call("kexec", libc::SYS_kexec_load, "0, 0, 0, 0", NOT_PERMITTED),
        call("load a module", libc::SYS_init_module, r#""x", 1, """#, NOT_PERMITTED),
        call("load a module by descriptor", libc::SYS_finit_module, r#"0, "", 0"#, NOT_PERMITTED),
        call("reboot", libc::SYS_reboot, "0, 0, 0, 0", NOT_PERMITTED),
        call("swap", libc::SYS_swapon, r#""/tmp/x", 0"#, NOT_PERMITTED),
        call("accounting", libc::SYS_acct, "0", NOT_PERMITTED),
        call("the host's name", libc::SYS_sethostname, r#""owned", 5"#, NOT_PERMITTED),
        call("quotas", libc::SYS_quotactl, "0, 0, 0, 0", NOT_PERMITTED),
        call("the kernel's log by call", libc::SYS_syslog, "10, 0, 0", NOT_PERMITTED),
        call("hidden memory", libc::SYS_memfd_secret, "0", NOT_PERMITTED),
        call("clone a user namespace", libc::SYS_clone, "0x1000_0011, 0, 0, 0, 0", NOT_PERMITTED),
        call("clone3", libc::SYS_clone3, r#""\0" x 88, 88"#, NOT_IMPLEMENTED),
        call("unshare a user namespace", libc::SYS_unshare, "0x1000_0000", NOT_PERMITTED),
        call("unshare a time namespace", libc::SYS_unshare, "128", NOT_PERMITTED),
        call("the new mount calls", libc::SYS_fsopen, r#""tmpfs", 0"#, NOT_IMPLEMENTED),
        call("open_tree", libc::SYS_open_tree, r#"-100, "/", 0"#, NOT_IMPLEMENTED),
        call("mount_setattr", libc::SYS_mount_setattr, r#"-100, "/", 0, "\0" x 32, 32"#, NOT_IMPLEMENTED),
        call("a call nobody knows yet", 467, "0, 0, 0", NOT_IMPLEMENTED),
        call("executable data everywhere", libc::SYS_personality, "0x400000", NOT_PERMITTED),
        call("change the memory map", libc::SYS_prctl, "35, 0, 0, 0, 0", NOT_PERMITTED),
        call("AF_VSOCK", libc::SYS_socket, "40, 1, 0", NO_FAMILY),
        call("AF_ALG", libc::SYS_socket, "38, 5, 0", NO_FAMILY),
        call("AF_PACKET", libc::SYS_socket, "17, 3, 0", NO_FAMILY),
        call("AF_BLUETOOTH", libc::SYS_socket, "31, 3, 0", NO_FAMILY),
        call("packet filters", libc::SYS_socket, "16, 3, 12", &["Protocol not supported"]),
        call("raw packets", libc::SYS_socket, "2, 3, 1", NOT_PERMITTED),
    ]
}

/// What is refused to a step without capabilities already at the first call.
fn plain() -> Vec<Row> {
    vec![
        row("capabilities", "grep CapEff /proc/self/status", &["CapEff:\t0000000000000000"]),
        row("remount", "mount -o remount,rw,bind /usr && echo ESCAPED", DENIED),
        row("umount", "umount -l /usr && echo ESCAPED", DENIED),
        row("a mount namespace", "unshare --mount true && echo ESCAPED", NOT_PERMITTED),
        row("change root", "chroot /tmp /bin/true && echo ESCAPED", NOT_PERMITTED),
        row("give a file away", "touch /tmp/f && chown 1:1 /tmp/f && echo ESCAPED", NOT_PERMITTED),
        call("mount", libc::SYS_mount, r#""none", "/tmp", "tmpfs", 0, 0"#, NOT_PERMITTED),
        call("pivot_root", libc::SYS_pivot_root, r#""/tmp", "/tmp""#, NOT_PERMITTED),
        call("umount by call", libc::SYS_umount2, r#""/usr", 2"#, NOT_PERMITTED),
    ]
}

/// What a step with the capabilities of an image build tries with them, in mount tables of its own too.
fn build() -> Vec<Row> {
    vec![
        // 0, 1, 3-8, 10, 18, 21, 31: chown … setfcap, as `Capability::ALL`.
        row("capabilities", "grep CapEff /proc/self/status", &["CapEff:\t00000000802405fb"]),
        row("remount", "mount -o remount,rw,bind /usr && touch /usr/owned && echo ESCAPED", DENIED),
        row("remount in an own table", own_mounts("mount -o remount,rw,bind /usr && echo ESCAPED"), DENIED),
        row(
            "remount the root",
            own_mounts("mount -o remount,rw,bind / && touch /owned && echo ESCAPED"),
            DENIED,
        ),
        row(
            "remount certificates",
            own_mounts("mount -o remount,rw,bind /etc/ssl/certs && echo ESCAPED"),
            DENIED,
        ),
        row(
            "remount with set-user-id",
            own_mounts("mount -o remount,suid,dev,bind,ro /usr && echo ESCAPED"),
            DENIED,
        ),
        row("umount", "umount -l /usr && echo ESCAPED", DENIED),
        row(
            "umount in an own table",
            own_mounts("umount -l /usr && echo ESCAPED"),
            &["not mounted", "Invalid argument"],
        ),
        row(
            "umount the root",
            own_mounts("umount -l / && echo ESCAPED"),
            &["not mounted", "Invalid argument", "busy"],
        ),
        row(
            "umount what covers /proc",
            own_mounts(
                "umount -l /proc; umount -l /proc/sys; echo x >/proc/sys/kernel/core_pattern && echo ESCAPED",
            ),
            READ_ONLY,
        ),
        // The kernel may allow one of an own process namespace; it is as closed as the other.
        row(
            "a fresh /proc",
            "unshare --mount --pid --fork sh -c 'mount -t proc proc /tmp && echo x >/tmp/sys/kernel/core_pattern && echo ESCAPED'",
            DENIED,
        ),
        row("a fresh /sys", own_mounts("mount -t sysfs sysfs /tmp && echo ESCAPED"), DENIED),
        row("the devices of the host", own_mounts("mount -t devtmpfs dev /tmp && echo ESCAPED"), DENIED),
        row("kernel debugging", own_mounts("mount -t debugfs d /tmp && echo ESCAPED"), DENIED),
        row("kernel tracing", own_mounts("mount -t tracefs d /tmp && echo ESCAPED"), DENIED),
        row("a disk of the host", own_mounts("mount -t ext4 /dev/vda /tmp && echo ESCAPED"), DENIED),
        row(
            "a disk in a file",
            own_mounts("truncate -s 9M /tmp/d; mount -o loop /tmp/d /tmp && echo ESCAPED"),
            &["failed", "not permitted", "denied"],
        ),
    ]
}

/// The same, beyond mounts.
fn build_beyond_mounts() -> Vec<Row> {
    vec![
        row(
            "release_agent",
            "unshare --mount --cgroup sh -c 'mkdir /tmp/c; mount -t cgroup -o pids c /tmp/c; \
             mount -t cgroup -o memory c /tmp/c; echo /tmp/x >/tmp/c/release_agent && echo ESCAPED'",
            &["Permission denied", "nonexistent", "No such file", "not permitted"],
        ),
        row(
            "out of the control group",
            "unshare --mount --cgroup sh -c 'mkdir /tmp/c; mount -t cgroup2 c /tmp/c || mount -t cgroup -o pids c /tmp/c; \
             mkdir /tmp/c/new && echo ESCAPED; echo 1 >/tmp/c/cgroup.procs && echo ESCAPED'",
            &["Permission denied", "nonexistent", "No such file", "not permitted"],
        ),
        row(
            "the old way out of a chroot",
            "mkdir -p /tmp/jail; perl -e 'chroot \"/tmp/jail\" or die $!; chdir \"..\" for 1..99; chroot \".\" or die $!; \
             print -e $ENV{OPEN} ? \"ESCAPED\" : -e \"/usr/bin/perl\" ? \"own root\" : \"lost\"'",
            &["own root"],
        ),
        row("own a file of the host", "chown 0 /usr/bin/env && echo ESCAPED", READ_ONLY),
        row("change a file of the host", own_mounts("chmod u+s /usr/bin/env && echo ESCAPED"), READ_ONLY),
        row("a device by name", own_mounts("mknod /workspace/null c 1 3 && echo ESCAPED"), NOT_PERMITTED),
        row(
            "more processes as others",
            "perl -e 'for my $u (1..400) { my $p = fork; last unless defined $p; if (!$p) { $> = $u; sleep 9; exit } $n++ } \
             print \"$! after $n\"; exit($n > 250)'",
            &["Resource temporarily unavailable"],
        ),
        row("raise the limits", "prlimit --nproc=99999:99999 true && echo ESCAPED", NOT_PERMITTED),
    ]
}

/// A script in a mount table of its own, in which the kernel has locked everything that makes the root.
fn own_mounts(script: &str) -> String {
    format!("unshare --mount sh -c '{script}'")
}

/// Connects to a Unix socket.
fn connect(path: &str) -> String {
    format!(
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) or die $!; \
         print connect(S, pack_sockaddr_un(\"{path}\")) ? \"ESCAPED\" : \"$!\"'"
    )
}

/// Asks a terminal of the step's own for something only a filter refuses with this answer.
fn terminal(request: u32) -> String {
    format!(
        "perl -e 'open(T, \"+<\", \"/dev/ptmx\") or die $!; my $x = \"x\"; print ioctl(T, {request}, $x) ? \"ESCAPED\" : \"$!\"'"
    )
}

/// What is planted on the host for a step to look for.
struct Bait {
    variables: Vec<Variable>,
    _sockets: UnixListener,
    _home: tempfile::TempDir,
    _open: tempfile::TempDir,
}

impl Bait {
    fn plant(data: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let readable = |directory: &Path| {
            let path = directory.join("key");
            std::fs::write(&path, "key").unwrap();
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        };
        let home = tempfile::tempdir_in(std::env::var_os("HOME").unwrap()).unwrap();
        let open = tempfile::tempdir_in("/var/tmp").unwrap();
        let socket = open.path().join("socket");
        let sockets = UnixListener::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
        let variable = |name: &str, value: String| Variable { name: name.to_owned(), value };
        let variables = vec![
            variable("DATA", data.display().to_string()),
            variable("OPEN", readable(open.path())),
            variable("HOME_FILE", readable(home.path())),
            variable("SOCKET", socket.display().to_string()),
        ];
        Self { variables, _sockets: sockets, _home: home, _open: open }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_out() {
    let sandbox = Sandbox::with(|config| config.processes = 200);
    let bait = Bait::plant(sandbox.path());
    sandbox.make_volume("work").await;
    sandbox.make_volume("other").await;
    let core_pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();

    let (mut victim, victim_log) = sandbox.script("touch /work/victim-file; echo up; exec sleep 7341");
    victim.mounts = vec![volume("other", "/work")];
    victim.environment = vec![Variable { name: "VICTIM".to_owned(), value: "victim".to_owned() }];
    let mut victim = sandbox.start(victim).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while crate::support::text(&victim_log) != "up\n" {
        assert!(Instant::now() < deadline, "the other step never came up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let mut failures = String::new();
    let (mut tried, with_build) = (0, [false, true]);
    for building in with_build {
        let rows = everywhere().into_iter().chain(if building {
            [build(), build_beyond_mounts()].concat()
        } else {
            plain()
        });
        for Row { name, script, refusals } in rows {
            let set = |step: &mut StepSpec| {
                step.environment.clone_from(&bait.variables);
                step.mounts = vec![volume("work", "/workspace")];
                step.limits.scratch = 64 << 20;
                if building {
                    build_capabilities(step);
                }
            };
            let ended = sandbox.run_with(&format!("{{ {script}; }} 2>&1"), set).await;
            tried += 1;
            let met = refusals.iter().any(|refusal| ended.log.contains(refusal));
            let set_up = !matches!(ended.outcome.end, End::Failed(_));
            if !met || !set_up || ended.log.contains("ESCAPED") {
                let step = if building { "a building step" } else { "a plain step" };
                let _ = writeln!(
                    failures,
                    "- {name}, in {step}: expected one of {refusals:?}, got {:?}: {}",
                    ended.outcome.end, ended.log
                );
            }
        }
    }
    assert!(failures.is_empty(), "{tried} attempts, these were not refused as they must be:\n{failures}");
    assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), core_pattern);
    ids_own_nothing();
    victim.killer().kill();
    assert_eq!(victim.wait().await.end, End::Killed, "the other step lived until it was killed from here");
    println!("{tried} attempts refused as uid {}", rustix::process::geteuid().as_raw());
}

/// The step that is still there runs as ids of nobody, in no group of the host.
fn ids_own_nothing() {
    let status = std::fs::read_dir("/proc")
        .unwrap()
        .find_map(|entry| {
            let path = entry.ok()?.path();
            let found = std::fs::read(path.join("cmdline")).ok()? == b"sleep\x007341\0";
            found.then(|| std::fs::read_to_string(path.join("status")).ok())?
        })
        .unwrap();
    let ids = |field: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().map(|id| id.parse().unwrap()).collect()
    };
    let people = std::fs::read_to_string("/etc/passwd").unwrap();
    for id in ids("Uid:").into_iter().chain(ids("Gid:")).chain(ids("Groups:")) {
        assert!(id >= 65_536, "{status}");
        assert!(
            !people.lines().any(|line| line.split(':').nth(2) == Some(id.to_string().as_str())),
            "{status}"
        );
    }
}

/// What is known to be open in this version: written down as it is, so that closing it shows.
#[tokio::test(flavor = "multi_thread")]
async fn the_network_of_the_host_is_reached() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("buildplane-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let loopback = format!(
        "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0); \
         print connect(S, pack_sockaddr_in({}, inet_aton(\"127.0.0.1\"))) ? \"reached\" : \"$!\"'",
        listener.local_addr().unwrap().port()
    );
    // An abstract name starts with a NUL byte.
    let abstract_name = connect(&format!("\\0{name}")).replace("ESCAPED", "reached");
    for script in [loopback, abstract_name] {
        assert_eq!(sandbox.run(&script).await.log, "reached", "{script}");
    }
}

/// Under root the table runs again as an ordinary user that exists for it; else the user of the tests is one.
#[test]
fn nothing_gets_out_of_an_ordinary_users_sandbox_either() {
    if !rustix::process::geteuid().is_root() {
        println!(
            "the tests run as an ordinary user already; the half that needs root runs where they run as root"
        );
        return;
    }
    let user = OrdinaryUser::new();
    let program = user.home().join("suite");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    user.give(&program);
    let mut suite: Command = user.command(&program);
    suite.args([
        "--exact",
        "escape::nothing_gets_out",
        "escape::the_network_of_the_host_is_reached",
        "--nocapture",
    ]);
    suite
        .args(["build::buildah_builds_from_copy_and_run", "steps::steps_die_with_a_platform_that_is_killed"]);
    suite.args(["steps::volumes_carry_files_from_step_to_step_and_can_always_be_removed"]);
    suite.env("PLATFORM_SECRET", "secret").env("TMPDIR", user.home());
    let output = suite.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("5 passed"), "{said}");
    assert!(said.contains(&format!("attempts refused as uid {}", user.uid())), "{said}");
}
