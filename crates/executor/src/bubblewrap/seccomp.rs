//! The system-call filter of a step, as classic BPF.
//!
//! What is named here is refused; everything else up to [`LAST_KNOWN`] is allowed, and calls that are newer than this
//! list do not exist for a step. The user namespace and its mount table are the walls; the filter takes away the parts
//! of the kernel that a build never needs and that walls have been broken through before. It is installed after
//! everything privileged has been done, right before the step's program starts, and `no_new_privs` keeps it there.

use libc::{c_long, c_ulong};

use crate::Capability;

/// The last system call that was looked at when this list was made (`removexattrat`); numbers from 424 on are the same
/// on every architecture.
const LAST_KNOWN: u32 = 466;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;
const EPROTONOSUPPORT: u32 = 93;

/// Makes the filter for a step that asks for `capabilities`: the bytes `bwrap --seccomp` reads.
pub(super) fn filter(capabilities: &[Capability]) -> Vec<u8> {
    let may_mount = capabilities.contains(&Capability::SysAdmin);
    let mut program = Program::default();
    program.prologue();
    for number in never_allowed() {
        program.refuse(number, EPERM);
    }
    for number in absent() {
        program.refuse(number, ENOSYS);
    }
    if !may_mount {
        for number in [libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root] {
            program.refuse(number, EPERM);
        }
    }
    let namespaces = if may_mount { FORBIDDEN_NAMESPACES } else { ALL_NAMESPACES };
    program.refuse_flags(libc::SYS_clone, namespaces);
    program.refuse_flags(libc::SYS_unshare, namespaces | NEW_TIME);
    program.allow_values(libc::SYS_socketpair, &[AF_UNIX], EAFNOSUPPORT);
    program.sockets();
    program.ioctls();
    program.prctls();
    program.allow_values(libc::SYS_personality, &PERSONALITIES, EPERM);
    program.give(ALLOW);
    program.into_bytes()
}

const NEW_USER: u32 = 0x1000_0000;
const NEW_NET: u32 = 0x4000_0000;
const NEW_TIME: u32 = 0x80;
/// Mount, cgroup, UTS, IPC, user, PID and network namespaces.
const ALL_NAMESPACES: u32 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | NEW_USER | 0x2000_0000 | NEW_NET;
/// What even an image build may not have: a user namespace brings every capability back, a network namespace opens
/// the kernel's packet filters.
const FORBIDDEN_NAMESPACES: u32 = NEW_USER | NEW_NET;

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;

/// Standard Linux, 32-bit `uname`, 2.6 `uname`, no address randomisation (debuggers, reproducible builds), and the query.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x0002_0000, 0x0004_0000, 0xffff_ffff];

/// Calls that answer `EPERM`.
fn never_allowed() -> Vec<c_long> {
    let mut calls = vec![
        // Keys are shared by everything that runs under the same id.
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        // Programs in the kernel, and views into it.
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_kexec_load,
        libc::SYS_kexec_file_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_syslog,
        libc::SYS_memfd_secret,
        // The machine's state.
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_vhangup,
        libc::SYS_nfsservctl,
        // Other processes.
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_kcmp,
        libc::SYS_pidfd_getfd,
        libc::SYS_move_pages,
        libc::SYS_migrate_pages,
        libc::SYS_setns,
        // Files by number instead of by path: the escape out of any root directory.
        libc::SYS_open_by_handle_at,
        libc::SYS_fanotify_init,
        libc::SYS_lookup_dcookie,
    ];
    calls.extend(never_allowed_here());
    calls
}

#[cfg(target_arch = "x86_64")]
fn never_allowed_here() -> [c_long; 7] {
    [
        libc::SYS_iopl,
        libc::SYS_ioperm,
        libc::SYS_modify_ldt,
        libc::SYS_uselib,
        libc::SYS_ustat,
        libc::SYS_sysfs,
        libc::SYS__sysctl,
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn never_allowed_here() -> [c_long; 0] {
    []
}

/// Calls that answer `ENOSYS`, so that callers fall back to an older one whose arguments can be looked at.
fn absent() -> [c_long; 11] {
    [
        libc::SYS_clone3,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
    ]
}

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// Offset of the system call's number in `struct seccomp_data`.
const NUMBER: u32 = 0;
/// Offset of the architecture.
const ARCH: u32 = 4;

/// Offset of the low half of an argument. Every argument that is looked at is an `int` for the kernel, so the high half
/// says nothing.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// A program being written. Every rule leaves the system call's number in the accumulator.
#[derive(Default)]
struct Program {
    instructions: Vec<Instruction>,
}

struct Instruction {
    code: u16,
    on_true: u8,
    on_false: u8,
    operand: u32,
}

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

impl Program {
    fn push(&mut self, code: u16, on_true: u8, on_false: u8, operand: u32) {
        self.instructions.push(Instruction { code, on_true, on_false, operand });
    }

    fn load(&mut self, offset: u32) {
        self.push(LOAD, 0, 0, offset);
    }

    fn give(&mut self, action: u32) {
        self.push(RETURN, 0, 0, action);
    }

    /// Other architectures of the same machine (32-bit, x32) have other numbers: none of their calls exists.
    fn prologue(&mut self) {
        self.load(ARCH);
        self.push(IF_EQUAL, 1, 0, ARCHITECTURE);
        self.give(ERRNO | ENOSYS);
        self.load(NUMBER);
        self.push(IF_GREATER, 0, 1, LAST_KNOWN);
        self.give(ERRNO | ENOSYS);
    }

    fn refuse(&mut self, number: c_long, errno: u32) {
        self.push(IF_EQUAL, 0, 1, operand(number));
        self.give(ERRNO | errno);
    }

    /// Refuses a call whose first argument has any of these bits.
    fn refuse_flags(&mut self, number: c_long, flags: u32) {
        self.push(IF_EQUAL, 0, 4, operand(number));
        self.load(argument(0));
        self.push(IF_ANY_BIT, 0, 1, flags);
        self.give(ERRNO | EPERM);
        self.give(ALLOW);
    }

    /// Allows a call for these values of its first argument only.
    fn allow_values(&mut self, number: c_long, values: &[u32], errno: u32) {
        let length = u8::try_from(values.len()).unwrap_or(u8::MAX);
        self.push(IF_EQUAL, 0, length + 3, operand(number));
        self.load(argument(0));
        for (value, rest) in values.iter().zip((0..length).rev()) {
            self.push(IF_EQUAL, rest + 1, 0, *value);
        }
        self.give(ERRNO | errno);
        self.give(ALLOW);
    }

    /// Local, IPv4, IPv6, and of netlink the routing tables that resolvers read.
    fn sockets(&mut self) {
        self.push(IF_EQUAL, 0, 10, operand(libc::SYS_socket));
        self.load(argument(0));
        self.push(IF_EQUAL, 7, 0, AF_UNIX);
        self.push(IF_EQUAL, 6, 0, AF_INET);
        self.push(IF_EQUAL, 5, 0, AF_INET6);
        self.push(IF_EQUAL, 1, 0, AF_NETLINK);
        self.give(ERRNO | EAFNOSUPPORT);
        self.load(argument(2));
        self.push(IF_EQUAL, 1, 0, 0);
        self.give(ERRNO | EPROTONOSUPPORT);
        self.give(ALLOW);
    }

    /// Typing into a terminal, driving a console, changing a line discipline.
    fn ioctls(&mut self) {
        const TIOCSTI: u32 = 0x5412;
        const TIOCLINUX: u32 = 0x541C;
        const TIOCSETD: u32 = 0x5423;
        self.push(IF_EQUAL, 0, 6, operand(libc::SYS_ioctl));
        self.load(argument(1));
        self.push(IF_EQUAL, 2, 0, TIOCSTI);
        self.push(IF_EQUAL, 1, 0, TIOCLINUX);
        self.push(IF_EQUAL, 0, 1, TIOCSETD);
        self.give(ERRNO | EPERM);
        self.give(ALLOW);
    }

    /// The signal a process gets when its parent dies is how a sandbox dies with the platform, so a step may not clear
    /// it; build tools set it for their own children and give up when that fails, so the call claims success.
    fn prctls(&mut self) {
        const PR_SET_PDEATHSIG: u32 = 1;
        const PR_SET_MM: u32 = 35;
        self.push(IF_EQUAL, 0, 6, operand(libc::SYS_prctl));
        self.load(argument(0));
        self.push(IF_EQUAL, 0, 1, PR_SET_PDEATHSIG);
        self.give(ERRNO);
        self.push(IF_EQUAL, 0, 1, PR_SET_MM);
        self.give(ERRNO | EPERM);
        self.give(ALLOW);
    }

    fn into_bytes(self) -> Vec<u8> {
        self.instructions
            .into_iter()
            .flat_map(|instruction| {
                let code = instruction.code.to_ne_bytes().into_iter();
                code.chain([instruction.on_true, instruction.on_false])
                    .chain(instruction.operand.to_ne_bytes())
            })
            .collect()
    }
}

/// System call numbers are small and positive.
fn operand(number: c_long) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The kernel's own type for the flags of `clone`; the filter looks at its low half, as the kernel does.
const _: () = assert!(size_of::<c_ulong>() == 8, "the filter is written for 64-bit machines");
