//! Which ids a sandbox may run as.
//!
//! `/etc/subuid` and `/etc/subgid` give a user ranges of ids that nobody else has. A sandbox is mapped to such a range
//! and to nothing else, under root too: whatever breaks out of it owns no file and no process of this machine.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::Missing;

/// How many ids a sandbox has: what images expect (`nobody` is 65534).
pub(crate) const COUNT: u32 = 65_536;

/// Ids below this belong to the system and to people (`login.defs` ends people at 60000, `nobody` is 65534).
const FIRST: u32 = 65_536;

/// First ids of the ranges a sandbox is mapped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subordinate {
    pub(crate) first_uid: u32,
    pub(crate) first_gid: u32,
}

/// The two tables, and who is asking.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) user: String,
    pub(crate) uid: u32,
    pub(crate) subuid: String,
    pub(crate) subgid: String,
    pub(crate) passwd: String,
    pub(crate) group: String,
}

impl Tables {
    /// Reads the tables of this machine for the user this process runs as.
    pub(crate) fn read() -> io::Result<Self> {
        let uid = rustix::process::geteuid().as_raw();
        let passwd = read_or_empty(Path::new("/etc/passwd"))?;
        let user = name_of(&passwd, uid).unwrap_or_else(|| uid.to_string());
        Ok(Self {
            user,
            uid,
            subuid: read_or_empty(Path::new("/etc/subuid"))?,
            subgid: read_or_empty(Path::new("/etc/subgid"))?,
            passwd,
            group: read_or_empty(Path::new("/etc/group"))?,
        })
    }

    /// Chooses the ranges to use, or says what to do to have some.
    pub(crate) fn choose(&self) -> Result<Subordinate, Missing> {
        let uids = choose(&self.own(&self.subuid), &self.foreign(&self.subuid), &ids(&self.passwd));
        let gids = choose(&self.own(&self.subgid), &self.foreign(&self.subgid), &ids(&self.group));
        if let (Some(users), Some(groups)) = (uids, gids) {
            Ok(Subordinate { first_uid: users, first_gid: groups })
        } else {
            Err(self.missing(uids.is_none(), gids.is_none()))
        }
    }

    fn missing(&self, uids: bool, gids: bool) -> Missing {
        let what = match (uids, gids) {
            (true, false) => "user ids (/etc/subuid)",
            (false, _) => "group ids (/etc/subgid)",
            (true, true) => "user and group ids (/etc/subuid, /etc/subgid)",
        };
        let taken: Vec<_> =
            ranges(&self.subuid).chain(ranges(&self.subgid)).map(|(_, range)| range).collect();
        let first = taken.iter().map(|range| range.end).max().unwrap_or(0).max(100_000);
        let last = u64::from(first) + u64::from(COUNT) - 1;
        let mut remedy = "usermod".to_owned();
        if uids {
            let _ = write!(remedy, " --add-subuids {first}-{last}");
        }
        if gids {
            let _ = write!(remedy, " --add-subgids {first}-{last}");
        }
        Missing {
            what: format!("user {:?} has no range of {COUNT} subordinate {what} that is its own", self.user),
            remedy: format!("as root: {remedy} {}", self.user),
        }
    }

    fn is_own(&self, owner: &str) -> bool {
        owner == self.user || owner == self.uid.to_string()
    }

    fn own(&self, table: &str) -> Vec<Range<u32>> {
        ranges(table).filter(|(owner, _)| self.is_own(owner)).map(|(_, range)| range).collect()
    }

    fn foreign(&self, table: &str) -> Vec<Range<u32>> {
        ranges(table).filter(|(owner, _)| !self.is_own(owner)).map(|(_, range)| range).collect()
    }
}

/// The first range that is long enough, starts where nothing of the system is, overlaps no one else's range, and holds
/// no id that a user or group of this machine has.
fn choose(own: &[Range<u32>], foreign: &[Range<u32>], taken: &[u32]) -> Option<u32> {
    own.iter()
        .filter(|range| range.start >= FIRST && range.end - range.start >= COUNT)
        .map(|range| range.start..range.start + COUNT)
        .find(|range| {
            !foreign.iter().any(|other| other.start < range.end && range.start < other.end)
                && !taken.iter().any(|id| range.contains(id))
        })
        .map(|range| range.start)
}

/// `owner:first:count`, skipping what does not read so.
fn ranges(table: &str) -> impl Iterator<Item = (&str, Range<u32>)> {
    table.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        Some((owner, first..first.checked_add(count)?))
    })
}

/// The ids of `/etc/passwd` or `/etc/group`.
fn ids(table: &str) -> Vec<u32> {
    table.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
}

fn name_of(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(uid.as_str()))?;
    line.split(':').next().map(str::to_owned)
}

fn read_or_empty(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(subuid: &str, passwd: &str) -> Result<u32, String> {
        let tables = Tables {
            user: "ann".to_owned(),
            uid: 1000,
            subuid: subuid.to_owned(),
            subgid: "ann:900000:65536".to_owned(),
            passwd: passwd.to_owned(),
            group: String::new(),
        };
        tables.choose().map(|chosen| chosen.first_uid).map_err(|missing| missing.remedy)
    }

    #[test]
    fn only_ids_that_own_nothing_are_chosen() {
        let none =
            |first: u32| Err(format!("as root: usermod --add-subuids {first}-{} ann", first + COUNT - 1));
        let ann = "ann:x:1000:1000::/home/ann:/bin/sh\n";
        for (subuid, passwd, expected) in [
            ("ann:100000:65536", ann, Ok(100_000)),
            ("1000:100000:65536", ann, Ok(100_000)),
            ("bob:100000:65536\nann:165536:65536", ann, Ok(165_536)),
            // Too short, absent, damaged, of somebody else.
            ("ann:100000:1000", ann, none(965_536)),
            ("", ann, none(965_536)),
            ("ann:x:65536\nann\n::", ann, none(965_536)),
            ("bob:1000000:65536", ann, none(1_065_536)),
            // Among the system's own ids, or running over the end.
            ("ann:0:65536", ann, none(965_536)),
            ("ann:1000:200000", ann, none(965_536)),
            ("ann:4294967000:65536", ann, none(965_536)),
            // Shared with somebody else.
            ("ann:100000:65536\nbob:120000:65536", ann, none(965_536)),
            // A user lives in the range; the next range is free.
            ("ann:100000:65536\nann:300000:65536", "eve:x:100007:1::/:", Ok(300_000)),
        ] {
            assert_eq!(choice(subuid, passwd), expected, "{subuid:?}");
        }
    }
}
