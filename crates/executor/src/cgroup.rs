//! Control groups, where this process may make them.
//!
//! They bound what a step's memory file systems and processes use together. Root may make them, in the unified hierarchy
//! or in the older one of each controller; an ordinary user usually may not, and then only the limits that need no
//! control group hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use tracing::debug;

/// Where groups for steps are made. The directory they share is removed when the last of them has gone.
#[derive(Debug, Default)]
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
        let candidates = if root.join("cgroup.controllers").exists() {
            vec![Parent { directory: root.join(NAME), hierarchy: Hierarchy::Unified }]
        } else {
            [("memory", Hierarchy::Memory), ("pids", Hierarchy::Pids)]
                .map(|(controller, hierarchy)| Parent {
                    directory: root.join(controller).join(NAME),
                    hierarchy,
                })
                .to_vec()
        };
        let parents: Vec<_> = candidates.into_iter().filter(|parent| parent.prepare().is_ok()).collect();
        parents.iter().for_each(Parent::sweep);
        debug!(groups = parents.len(), "looked for control groups");
        Self { parents }
    }

    /// Makes a group for a step; none where no group can be made.
    pub(crate) fn make(&self, name: &str, memory: Option<u64>, processes: u32) -> io::Result<Option<Cgroup>> {
        let mut group = Cgroup { directories: Vec::new() };
        for parent in &self.parents {
            // Another platform that ended may have removed it.
            parent.prepare()?;
            let directory = parent.directory.join(name);
            make(&directory)?;
            group.directories.push((directory.clone(), parent.hierarchy));
            for (file, value) in parent.hierarchy.settings(memory, processes) {
                let path = directory.join(file);
                if path.exists() {
                    fs::write(path, value)?;
                }
            }
        }
        Ok(if group.directories.is_empty() { None } else { Some(group) })
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for parent in &self.parents {
            // Another platform may have its steps there.
            let _ = fs::remove_dir(&parent.directory);
        }
    }
}

impl Parent {
    /// Makes the directory and has the controllers handed down to it.
    fn prepare(&self) -> io::Result<()> {
        if self.hierarchy == Hierarchy::Unified {
            if let Some(root) = self.directory.parent() {
                // The root may hold processes and hand controllers down all the same; any other group may not.
                fs::write(root.join("cgroup.subtree_control"), "+memory +pids")?;
            }
            make(&self.directory)?;
            fs::write(self.directory.join("cgroup.subtree_control"), "+memory +pids")?;
        } else {
            make(&self.directory)?;
        }
        // A directory beside a hierarchy instead of in one has no such file; one of another user cannot be written.
        Ok(access(self.directory.join("cgroup.procs"), Access::WRITE_OK)?)
    }

    /// Removes the groups of platforms that were killed. A group with processes in it cannot be removed.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.split_once('-')).map(|(pid, _)| pid);
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

impl Hierarchy {
    fn settings(self, memory: Option<u64>, processes: u32) -> Vec<(&'static str, String)> {
        let processes = ("pids.max", processes.to_string());
        let limit = |file| memory.map(|bytes| (file, bytes.to_string()));
        match self {
            Self::Unified => {
                let all_or_none = [("memory.swap.max", "0".to_owned()), ("memory.oom.group", "1".to_owned())];
                limit("memory.max").into_iter().chain(all_or_none).chain([processes]).collect()
            }
            Self::Memory => limit("memory.limit_in_bytes").into_iter().collect(),
            Self::Pids => vec![processes],
        }
    }
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
