//! Control groups, where this process may make them.
//!
//! They bound what a step's memory file systems and processes use together. Root may make them, in the unified hierarchy
//! or in the older one of each controller; an ordinary user usually may not, and then only the limits that need no
//! control group hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::debug;

/// Where groups for steps are made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cgroups {
    parents: Vec<Parent>,
}

#[derive(Clone, Debug)]
struct Parent {
    directory: PathBuf,
    hierarchy: Hierarchy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hierarchy {
    Unified,
    Memory,
    Pids,
}

/// The name of the directory this platform's groups live in.
const NAME: &str = "buildplane";

impl Cgroups {
    /// Finds what this process may use.
    pub(crate) fn detect() -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let mut parents = Vec::new();
        if let Some(parent) = unified(root) {
            parents.push(parent);
        } else {
            for (controller, hierarchy) in [("memory", Hierarchy::Memory), ("pids", Hierarchy::Pids)] {
                let directory = root.join(controller).join(NAME);
                // A directory made in a hierarchy has the controller's files; one made beside it has none.
                if make(&directory).is_ok() && directory.join("cgroup.procs").exists() {
                    parents.push(Parent { directory, hierarchy });
                }
            }
        }
        debug!(groups = parents.len(), "looked for control groups");
        Self { parents }
    }

    /// Makes a group for a step; none where no group can be made.
    pub(crate) fn make(&self, name: &str, memory: Option<u64>, processes: u32) -> io::Result<Option<Cgroup>> {
        let mut group = Cgroup { directories: Vec::new() };
        for parent in &self.parents {
            let directory = parent.directory.join(name);
            make(&directory)?;
            group.directories.push((directory.clone(), parent.hierarchy));
            let memory = memory.map(|bytes| bytes.to_string());
            let settings: &[(&str, Option<String>)] = match parent.hierarchy {
                Hierarchy::Unified => &[
                    ("memory.max", memory),
                    ("memory.swap.max", Some("0".to_owned())),
                    ("memory.oom.group", Some("1".to_owned())),
                    ("pids.max", Some(processes.to_string())),
                ],
                Hierarchy::Memory => &[("memory.limit_in_bytes", memory)],
                Hierarchy::Pids => &[("pids.max", Some(processes.to_string()))],
            };
            for (file, value) in settings {
                let path = directory.join(file);
                if let Some(value) = value.as_ref().filter(|_| path.exists()) {
                    fs::write(path, value)?;
                }
            }
        }
        Ok(if group.directories.is_empty() { None } else { Some(group) })
    }
}

/// The unified hierarchy at its root, as root on a machine that has it alone.
fn unified(root: &Path) -> Option<Parent> {
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).ok()?;
    let wanted = ["memory", "pids"];
    if !wanted.iter().all(|name| controllers.split_whitespace().any(|found| found == *name)) {
        return None;
    }
    let directory = root.join(NAME);
    // The root may hold processes and hand controllers down all the same; any other group may not.
    fs::write(root.join("cgroup.subtree_control"), "+memory +pids").ok()?;
    make(&directory).ok()?;
    fs::write(directory.join("cgroup.subtree_control"), "+memory +pids").ok()?;
    Some(Parent { directory, hierarchy: Hierarchy::Unified })
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// The group of one step.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directories: Vec<(PathBuf, Hierarchy)>,
}

impl Cgroup {
    /// The files a process joins the group through.
    pub(crate) fn entries(&self) -> impl Iterator<Item = PathBuf> {
        self.directories.iter().map(|(directory, _)| directory.join("cgroup.procs"))
    }

    /// Whether the kernel killed one of its processes for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.directories.iter().any(|(directory, hierarchy)| {
            let file = match hierarchy {
                Hierarchy::Unified => "memory.events",
                Hierarchy::Memory => "memory.oom_control",
                Hierarchy::Pids => return false,
            };
            let events = fs::read_to_string(directory.join(file)).unwrap_or_default();
            events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
        })
    }

    /// Removes the group, which must be empty.
    pub(crate) fn remove(self) {
        for (directory, _) in self.directories {
            if let Err(error) = fs::remove_dir(&directory) {
                debug!(%error, group = %directory.display(), "left a control group behind");
            }
        }
    }
}
