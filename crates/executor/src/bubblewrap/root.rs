//! The root a step sees: an allow-list, built from nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::arguments::Arguments;
use super::namespace::{DEVICES, SHARED, VOLUMES};
use crate::{Access, Capability, Mount, SharedMount, StepSpec};

/// What of `/etc` a step sees as the host has it: where certificates, libraries, protocols and alternatives are.
/// Every name here stands under one of [`crate::validate::RESERVED_ETC`].
const ETC: [&str; 10] = [
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];

/// Directories beside `/usr` that are links into it where the host has merged them, directories where it has not.
const BESIDE_USR: [&str; 7] = ["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"];

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const NSSWITCH: &str =
    "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n";
/// Image tools want a policy to be there; whose image is trusted is decided by whoever gives a step its credentials.
const POLICY: &str = "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n";

/// `/run`, `/home` and shared memory need little.
const SMALL: u64 = 64 << 20;

/// Writes down everything a step sees.
pub(super) fn describe(
    arguments: &mut Arguments,
    step: &StepSpec,
    shared: &[SharedMount],
) -> std::io::Result<()> {
    system(arguments);
    etc(arguments, step)?;
    scratch(arguments, step.limits.scratch);
    for (index, mount) in shared.iter().enumerate() {
        arguments.push(["--ro-bind", &format!("{SHARED}/{index}"), &mount.target]);
    }
    let mut mounts: Vec<_> = step.mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target());
    for mount in mounts {
        self::mount(arguments, mount)?;
    }
    arguments.push(["--remount-ro", "/"]);
    Ok(())
}

fn system(arguments: &mut Arguments) {
    arguments.push(["--ro-bind", "/usr", "/usr"]);
    for name in BESIDE_USR {
        let path = format!("/{name}");
        match fs::read_link(&path) {
            Ok(target) => arguments.push(["--symlink", &target.to_string_lossy(), &path]),
            Err(_) if Path::new(&path).is_dir() => arguments.push(["--ro-bind", &path, &path]),
            Err(_) => {}
        }
    }
    arguments.push(["--proc", "/proc"]);
    arguments.push(["--dev-bind", DEVICES, "/dev"]);
    memory(arguments, "1777", SMALL, "/dev/shm");
    // Image tools want to bind it; the host's would show its hardware and its control groups.
    arguments.push(["--dir", "/sys"]);
}

fn etc(arguments: &mut Arguments, step: &StepSpec) -> std::io::Result<()> {
    for name in ETC {
        let path = format!("/etc/{name}");
        if Path::new(&path).exists() {
            arguments.push(["--ro-bind", &path, &path]);
        }
    }
    arguments.push(["--symlink", "../usr/lib/os-release", "/etc/os-release"]);
    arguments.push(["--symlink", "/proc/self/mounts", "/etc/mtab"]);
    let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    for (path, content) in [
        ("/etc/passwd", PASSWD.to_owned()),
        ("/etc/group", GROUP.to_owned()),
        ("/etc/nsswitch.conf", NSSWITCH.to_owned()),
        ("/etc/containers/policy.json", POLICY.to_owned()),
        ("/etc/hostname", format!("{}\n", step.name)),
        ("/etc/hosts", hosts(step)),
        ("/etc/resolv.conf", resolver(&resolv)),
    ] {
        arguments.file(path, 0o444, content.as_bytes())?;
    }
    Ok(())
}

fn scratch(arguments: &mut Arguments, size: u64) {
    memory(arguments, "1777", size, "/tmp");
    memory(arguments, "0755", size, "/var");
    for directory in ["/var/cache", "/var/lib", "/var/log"] {
        arguments.push(["--dir", directory]);
    }
    arguments.push(["--perms", "1777", "--dir", "/var/tmp"]);
    arguments.push(["--symlink", "../run", "/var/run"]);
    memory(arguments, "0755", SMALL, "/run");
    memory(arguments, "0755", SMALL, "/home");
    memory(arguments, "0700", size, "/root");
}

fn memory(arguments: &mut Arguments, permissions: &str, size: u64, target: &str) {
    arguments.push(["--perms", permissions, "--size", &size.max(4096).to_string(), "--tmpfs", target]);
}

fn mount(arguments: &mut Arguments, mount: &Mount) -> std::io::Result<()> {
    match mount {
        Mount::Volume { id, target, access } => {
            let bind = match access {
                Access::ReadWrite => "--bind",
                Access::ReadOnly => "--ro-bind",
            };
            arguments.push([bind, &format!("{VOLUMES}/{id}"), target]);
        }
        Mount::Memory { target, size } => memory(arguments, "1777", *size, target),
        Mount::Files { target, files } => {
            let bytes: usize = files.iter().map(|file| file.bytes.len() + (8 << 10)).sum();
            memory(arguments, "0755", (bytes as u64) + (64 << 10), target);
            for file in files {
                arguments.file(&format!("{target}/{}", file.path), file.mode, &file.bytes)?;
            }
            arguments.push(["--remount-ro", target]);
        }
    }
    Ok(())
}

fn hosts(step: &StepSpec) -> String {
    let mut hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    let _ = writeln!(hosts, "127.0.1.1 {}", step.name);
    for host in &step.hosts {
        let _ = writeln!(hosts, "{} {}", host.address, host.name);
    }
    hosts
}

/// The host's name servers and search list, and nothing else that may stand in the file.
fn resolver(host: &str) -> String {
    let known = |line: &&str| {
        line.split_whitespace()
            .next()
            .is_some_and(|word| matches!(word, "nameserver" | "search" | "domain" | "options"))
    };
    host.lines().filter(known).fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

/// What bubblewrap drops and keeps: everything goes but what was asked for.
pub(super) fn capabilities(arguments: &mut Arguments, asked: &[Capability]) {
    arguments.push(["--cap-drop", "ALL"]);
    for capability in asked {
        arguments.push(["--cap-add", capability.name()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::RESERVED_ETC;

    #[test]
    fn no_mount_can_reach_what_the_sandbox_puts_into_etc() {
        for name in ETC {
            let top = name.split('/').next().unwrap();
            assert!(RESERVED_ETC.contains(&top), "{name}");
        }
    }

    #[test]
    fn only_resolver_lines_are_taken_over() {
        let host = "# made by x\nnameserver 1.1.1.1\nsearch example.org\nsortlist 1.2.3.4\n";
        assert_eq!(resolver(host), "nameserver 1.1.1.1\nsearch example.org\n");
    }
}
