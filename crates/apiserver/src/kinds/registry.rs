//! Which kinds are served now; replaced as a whole when a CustomResourceDefinition changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::kinds::{Kind, builtin};

/// All kinds, for looking up and for discovery.
pub(crate) struct Registry {
    /// group → version → plural.
    served: HashMap<String, HashMap<String, HashMap<String, Arc<Kind>>>>,
    /// In order of discovery: groups by name, their versions by preference.
    groups: BTreeMap<String, Vec<String>>,
    /// A number that changes with every change of what is served.
    pub(crate) generation: u64,
}

impl Registry {
    pub(crate) fn new(custom: Vec<Arc<Kind>>, generation: u64) -> Self {
        let mut served: HashMap<String, HashMap<String, HashMap<String, Arc<Kind>>>> = HashMap::new();
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for kind in builtin::kinds().chain(custom) {
            let versions = groups.entry(kind.group.clone()).or_default();
            if !versions.contains(&kind.version) {
                versions.push(kind.version.clone());
            }
            served
                .entry(kind.group.clone())
                .or_default()
                .entry(kind.version.clone())
                .or_default()
                .entry(kind.plural.clone())
                .or_insert(kind);
        }
        for versions in groups.values_mut() {
            versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        }
        Self { served, groups, generation }
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.served.get(group)?.get(version)?.get(plural)
    }

    /// The kind an owner reference or a body names.
    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.served.get(group)?.get(version)?.values().find(|found| found.kind == kind)
    }

    /// Groups other than the core group, with their versions, the preferred one first.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.groups.iter().map(|(group, versions)| (group.as_str(), versions.as_slice()))
    }

    pub(crate) fn versions(&self, group: &str) -> Option<&[String]> {
        self.groups.get(group).map(Vec::as_slice)
    }

    /// The kinds of a group version, by plural.
    pub(crate) fn kinds(&self, group: &str, version: &str) -> Vec<&Arc<Kind>> {
        let mut kinds: Vec<_> = self
            .served
            .get(group)
            .and_then(|v| v.get(version))
            .into_iter()
            .flat_map(HashMap::values)
            .collect();
        kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
        kinds
    }

    /// Each stored resource once, in its preferred version.
    pub(crate) fn stored(&self) -> Vec<Arc<Kind>> {
        let mut found: BTreeMap<&str, &Arc<Kind>> = BTreeMap::new();
        for (group, versions) in &self.groups {
            for version in versions {
                for kind in self.kinds(group, version).into_iter().filter(|kind| !kind.ephemeral) {
                    found.entry(&kind.prefix).or_insert(kind);
                }
            }
        }
        found.into_values().cloned().collect()
    }

    /// The kind stored under a key of the store.
    pub(crate) fn of_key(&self, key: &str) -> Option<&Arc<Kind>> {
        let mut parts = key.split('/').skip(1);
        let (group, plural) = (parts.next()?, parts.next()?);
        let group = if group == "core" { "" } else { group };
        self.versions(group)?.iter().find_map(|version| self.find(group, version, plural))
    }
}

/// Stable versions before beta before alpha, newer before older; other names last.
fn priority(version: &str) -> (u8, u32, u32) {
    let parsed = (|| {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest.get(..digits)?.parse().ok()?;
        let tail = rest.get(digits..)?;
        if tail.is_empty() {
            return Some((3, major, 0));
        }
        let (level, minor) = match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
            (Some(minor), _) => (2, minor),
            (_, Some(minor)) => (1, minor),
            _ => return None,
        };
        Some((level, major, minor.parse().ok()?))
    })();
    parsed.unwrap_or((0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_as_kubernetes_does() {
        let mut versions = vec!["foo10", "v1alpha2", "v11beta2", "v10", "v1", "v3beta1", "v2", "v12alpha1"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v11beta2", "v3beta1", "v12alpha1", "v1alpha2", "foo10"]);
    }
}
