//! What no step may ask for, judged before anything is started.

use std::net::IpAddr;

use crate::{Mount, StepSpec};

/// Why a step is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStep {
    /// It has no program.
    #[error("it has no command")]
    NoCommand,
    /// Text that cannot be handed to a program, or is longer than the kernel takes.
    #[error("its {what} holds a NUL byte or is too long")]
    Text {
        /// Which text.
        what: &'static str,
    },
    /// A name that is not one.
    #[error("{name:?} is no name of {what}")]
    Name {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A path that is not absolute, not in its plain form, or leads upwards.
    #[error("the path {path:?} is not plain and absolute")]
    Path {
        /// The path.
        path: String,
    },
    /// A mount on a part of the root that is the executor's own.
    #[error("nothing can be mounted on {target}: it belongs to the sandbox")]
    Reserved {
        /// The path.
        target: String,
    },
    /// A mount inside another whose content a step decides, or twice on the same path.
    #[error("{inner} cannot be mounted inside {outer}")]
    Nested {
        /// The mount that is there.
        outer: String,
        /// The mount that was to be put into it.
        inner: String,
    },
    /// More files than a step may be given.
    #[error("it is given more than {limit} files")]
    TooManyFiles {
        /// The most.
        limit: usize,
    },
}

/// Longest argument or variable the kernel takes (`MAX_ARG_STRLEN`), with room for a name.
const TEXT_LIMIT: usize = 120 << 10;

/// Each file is a descriptor while the step is set up.
const FILE_LIMIT: usize = 256;

/// Top directories that are the sandbox's own.
const RESERVED: [&str; 10] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "proc", "sys", "dev"];

/// What of `/etc` is the sandbox's own.
pub(crate) const RESERVED_ETC: [&str; 17] = [
    "alternatives",
    "containers",
    "group",
    "hostname",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "mtab",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl",
];

pub(crate) fn validate(step: &StepSpec) -> Result<(), InvalidStep> {
    label("a step", &step.name)?;
    if step.command.first().is_none_or(String::is_empty) {
        return Err(InvalidStep::NoCommand);
    }
    step.command.iter().try_for_each(|argument| text("command", argument))?;
    for variable in &step.environment {
        text("environment", &variable.name)?;
        text("environment", &variable.value)?;
        if variable.name.is_empty() || variable.name.contains('=') {
            return Err(InvalidStep::Name { what: "a variable", name: variable.name.clone() });
        }
    }
    step.working_directory.iter().try_for_each(|directory| plain(directory))?;
    for output in &step.outputs {
        plain(&output.path)?;
        text("outputs", &output.name)?;
    }
    step.hosts.iter().try_for_each(|host| host_name(host.address, &host.name))?;
    mounts(&step.mounts)
}

fn mounts(mounts: &[Mount]) -> Result<(), InvalidStep> {
    let mut files_given = 0;
    for mount in mounts {
        let target = mount.target();
        plain(target)?;
        let mut parts = target.split('/').skip(1);
        let (top, second) = (parts.next().unwrap_or_default(), parts.next());
        let own_etc = top == "etc" && second.is_none_or(|name| RESERVED_ETC.contains(&name));
        if top.is_empty() || RESERVED.contains(&top) || own_etc {
            return Err(InvalidStep::Reserved { target: target.to_owned() });
        }
        if let Mount::Files { files, .. } = mount {
            files_given += files.len();
            files.iter().try_for_each(|file| plain(&format!("/{}", file.path)))?;
        }
    }
    if files_given > FILE_LIMIT {
        return Err(InvalidStep::TooManyFiles { limit: FILE_LIMIT });
    }
    // A path inside a volume may be a link that an earlier step put there.
    for (index, outer) in mounts.iter().enumerate() {
        let clash = mounts.iter().enumerate().find(|(other, inner)| {
            let same = *other > index && inner.target() == outer.target();
            same || (!matches!(outer, Mount::Memory { .. }) && lies_in(inner.target(), outer.target()))
        });
        if let Some((_, inner)) = clash {
            let (outer, inner) = (outer.target().to_owned(), inner.target().to_owned());
            return Err(InvalidStep::Nested { outer, inner });
        }
    }
    Ok(())
}

fn lies_in(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

fn text(what: &'static str, text: &str) -> Result<(), InvalidStep> {
    if text.contains('\0') || text.len() > TEXT_LIMIT { Err(InvalidStep::Text { what }) } else { Ok(()) }
}

/// Absolute, no empty, `.` or `..` part, no control characters; `/` itself is plain.
pub(crate) fn plain(path: &str) -> Result<(), InvalidStep> {
    let bad = || InvalidStep::Path { path: path.to_owned() };
    let rest = path.strip_prefix('/').ok_or_else(bad)?;
    let parts_plain = rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if parts_plain && path.len() <= 4096 && !path.chars().any(char::is_control) { Ok(()) } else { Err(bad()) }
}

fn label(what: &'static str, name: &str) -> Result<(), InvalidStep> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && name.chars().all(plain) {
        Ok(())
    } else {
        Err(InvalidStep::Name { what, name: name.to_owned() })
    }
}

fn host_name(address: IpAddr, name: &str) -> Result<(), InvalidStep> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !address.is_unspecified() && !name.is_empty() && name.len() <= 253 && name.chars().all(plain) {
        Ok(())
    } else {
        Err(InvalidStep::Name { what: "a host", name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    fn volume(target: &str) -> Mount {
        Mount::Volume { id: "v".parse().unwrap(), target: target.to_owned(), access: Access::ReadWrite }
    }

    fn memory(target: &str) -> Mount {
        Mount::Memory { target: target.to_owned(), size: 1 }
    }

    #[test]
    fn mounts_leave_the_sandbox_and_each_other_alone() {
        for (given, expected) in [
            (vec![volume("/workspace"), volume("/mnt/vol"), volume("/etc/git-secret")], "ok"),
            (vec![memory("/a"), volume("/a/b")], "ok"),
            (vec![volume("/workspace"), volume("/workspace-2")], "ok"),
            (vec![volume("/")], "reserved"),
            (vec![volume("/usr/local/bin")], "reserved"),
            (vec![volume("/proc")], "reserved"),
            (vec![volume("/etc")], "reserved"),
            (vec![volume("/etc/ssl/certs")], "reserved"),
            (vec![volume("/etc/passwd")], "reserved"),
            (vec![volume("/a/../usr")], "path"),
            (vec![volume("/a//b")], "path"),
            (vec![volume("/a/./b")], "path"),
            (vec![volume("/a/")], "path"),
            (vec![volume("a")], "path"),
            (vec![volume("/a\nb")], "path"),
            (vec![volume("/a"), memory("/a/b")], "nested"),
            (vec![memory("/a/b"), volume("/a")], "nested"),
            (vec![volume("/a"), volume("/a")], "nested"),
            (vec![memory("/a"), memory("/a")], "nested"),
        ] {
            let verdict = match mounts(&given) {
                Ok(()) => "ok",
                Err(InvalidStep::Reserved { .. }) => "reserved",
                Err(InvalidStep::Path { .. }) => "path",
                Err(InvalidStep::Nested { .. }) => "nested",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(verdict, expected, "{given:?}");
        }
    }
}
