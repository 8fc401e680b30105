//! Runs one step in a sandbox: its logs, limits and exit. Knows nothing of workflows, Pods or networks beyond the step.
//!
//! [`Executor`] is the face, [`Bubblewrap`] the one implementation: steps in bubblewrap sandboxes over the host's tools.
//! Start reading at [`StepSpec`] (what is asked for) and [`Outcome`] (what comes of it); the way from one to the other is
//! `bubblewrap/launch.rs` (start), `bubblewrap/supervise.rs` (watch), `bubblewrap/namespace.rs` (where it lives).
//!
//! # What holds in a step
//!
//! A step is hostile code. What keeps it in, whether the platform runs as root or as an ordinary user:
//!
//! - **Ids.** A user namespace maps subordinate ids only (`/etc/subuid`), none of which owns anything on this machine.
//!   Supplementary groups are dropped. No further user namespace can be made.
//! - **Root.** An allow-list, built from nothing: `/usr` and its links, named files of `/etc`, generated `passwd`,
//!   `group`, `hosts`, `resolv.conf`, `nsswitch.conf`; empty `/run`, `/var`, `/home`, `/root`, `/tmp` in memory; own
//!   `/proc` and `/dev`; an empty `/sys`. `/` itself is read-only.
//! - **Mounts.** They belong to an outer user namespace, the step's program runs in an inner one: with `CAP_SYS_ADMIN` it
//!   can make a mount table of its own, in which the kernel has locked every mount that makes the root.
//! - **Processes.** Own PID, IPC, UTS and control-group namespaces and a session of its own. All of them end with the
//!   step, with a kill, and with this process, also when it is killed.
//! - **Kernel.** `no_new_privs` and a seccomp filter (`bubblewrap/seccomp.rs`).
//! - **Secrets** arrive in descriptors and exist in the step's memory alone, never in an argument list or in the
//!   environment of this process. Descriptors this process was started with do not reach a step.
//! - **Limits.** Time, processes, size of every memory file system, free space on the disk; memory where control groups
//!   can be made (root).
//!
//! What does **not** hold yet: the network is the host's. A step reaches what any local user reaches over IP, loopback
//! included, and abstract Unix sockets; every listener of the platform therefore authenticates its callers. Path-named
//! Unix sockets of the host are out of reach, since their paths are. Memory is unlimited for an ordinary user's steps
//! apart from their memory file systems, and a step that holds `CAP_SYS_ADMIN` can make more of those. Disk space is
//! watched (twice a second), not reserved.
//!
//! # Building images
//!
//! `buildah bud --isolation chroot --storage-driver vfs` (1.28) with FROM, COPY `--chown`, RUN and USER needs exactly
//! [`Capability::ALL`]; found by leaving out one at a time:
//!
//! | capability | what fails without it |
//! |---|---|
//! | `SYS_ADMIN` | the start: buildah makes a mount table of its own for RUN |
//! | `SYS_CHROOT`, `DAC_OVERRIDE` | COPY |
//! | `CHOWN`, `FOWNER`, `FSETID`, `SETUID`, `SETGID`, `SETPCAP`, `SETFCAP`, `KILL`, `NET_BIND_SERVICE` | RUN: they are the set buildah gives to the commands it runs |
//!
//! `MKNOD`, `AUDIT_WRITE` and `NET_RAW` are not needed and cannot be asked for. A template asks with
//! `securityContext.capabilities.add: [CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, NET_BIND_SERVICE, SETFCAP, SETGID,
//! SETPCAP, SETUID, SYS_ADMIN, SYS_CHROOT]`; never with `privileged`.
//!
//! Storage must be on a volume (`--root`, `--runroot`): vfs copies whole trees, and `/var` is memory. `TMPDIR` likewise
//! for large contexts. `/etc/containers/policy.json` is there; `registries.conf` is not, unless it is mounted
//! ([`SharedMount`]). Pushing to a volume's `oci:` directory, `skopeo` and `git` need no capability.

mod bubblewrap;
mod capability;
mod cgroup;
mod executor;
mod kill;
mod log;
mod mount;
mod probe;
mod step;
mod subordinate;
mod validate;

pub use bubblewrap::{Bubblewrap, Config};
pub use capability::{Capability, UnknownCapability};
pub use executor::{End, Executor, Killer, Outcome, StartError, StepHandle, VolumeError};
pub use log::{CHUNK, LogProgress, LogWriter, Truncation};
pub use mount::{HostEntry, SharedMount};
pub use probe::{Missing, probe};
pub use step::{Access, FileContent, InvalidVolumeId, Limits, Mount, Output, StepSpec, Variable, VolumeId};
pub use validate::InvalidStep;
