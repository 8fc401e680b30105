//! The resources that `get` and `describe` know by name, and where they are served.

use crate::failure::{Failure, Result};

/// A kind as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// In CamelCase.
    pub(crate) name: &'static str,
    /// The last part of its URL.
    pub(crate) plural: &'static str,
    /// Everything else that means it on the command line, in lower case.
    aliases: &'static [&'static str],
    pub(crate) scope: Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Namespaced,
    Cluster,
}

pub(crate) const GROUP: &str = "openchoreo.dev";
const VERSION: &str = "v1alpha1";

const fn namespaced(name: &'static str, plural: &'static str, aliases: &'static [&'static str]) -> Kind {
    Kind { name, plural, aliases, scope: Scope::Namespaced }
}

const fn cluster(name: &'static str, plural: &'static str, aliases: &'static [&'static str]) -> Kind {
    Kind { name, plural, aliases, scope: Scope::Cluster }
}

pub(crate) const WORKFLOW_RUN: Kind = namespaced("WorkflowRun", "workflowruns", &["wfr", "run", "runs"]);
pub(crate) const WORKFLOW: Kind = namespaced("Workflow", "workflows", &["wf"]);
pub(crate) const BUILD_PLANE: Kind = namespaced("BuildPlane", "buildplanes", &["bp"]);
pub(crate) const CLUSTER_BUILD_PLANE: Kind =
    cluster("ClusterBuildPlane", "clusterbuildplanes", &["cbp", "cbps"]);

/// Everything that can be named, most used first.
pub(crate) const KINDS: &[Kind] = &[
    WORKFLOW_RUN,
    WORKFLOW,
    BUILD_PLANE,
    CLUSTER_BUILD_PLANE,
    namespaced("ObservabilityPlane", "observabilityplanes", &["op"]),
    cluster("ClusterObservabilityPlane", "clusterobservabilityplanes", &["cop", "cops"]),
    namespaced("DataPlane", "dataplanes", &["dp", "dps"]),
    cluster("ClusterDataPlane", "clusterdataplanes", &["cdp", "cdps"]),
    namespaced("Workload", "workloads", &[]),
    namespaced("Component", "components", &["comp", "comps"]),
    namespaced("Project", "projects", &["proj", "projs"]),
    namespaced("SecretReference", "secretreferences", &[]),
];

impl Kind {
    /// Finds the kind that a user means by its plural, singular or short name.
    pub(crate) fn find(name: &str) -> Result<Self> {
        let wanted = name.to_ascii_lowercase();
        let wanted = wanted.strip_suffix(&format!(".{GROUP}")).unwrap_or(&wanted);
        KINDS
            .iter()
            .find(|kind| {
                kind.plural == wanted
                    || kind.name.eq_ignore_ascii_case(wanted)
                    || kind.aliases.contains(&wanted)
            })
            .copied()
            .ok_or_else(|| {
                let known: Vec<_> = KINDS.iter().map(|kind| kind.plural).collect();
                Failure::new(format!("unknown resource type {name:?}"))
                    .hint(format!("known are {}", known.join(", ")))
            })
    }

    /// The lower-case kind, as in `workflowrun.openchoreo.dev/name`.
    pub(crate) fn singular(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The URL path of the collection; `None` as namespace means all of them.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        match (self.scope, namespace) {
            (Scope::Namespaced, Some(namespace)) => {
                format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{}", self.plural)
            }
            _ => format!("/apis/{GROUP}/{VERSION}/{}", self.plural),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_finds_its_kind() {
        for (spelling, kind) in [
            ("workflowruns", "WorkflowRun"),
            ("WorkflowRun", "WorkflowRun"),
            ("wfr", "WorkflowRun"),
            ("runs", "WorkflowRun"),
            ("workflowruns.openchoreo.dev", "WorkflowRun"),
            ("bp", "BuildPlane"),
            ("CBPS", "ClusterBuildPlane"),
        ] {
            assert_eq!(Kind::find(spelling).map(|found| found.name).ok(), Some(kind), "{spelling}");
        }
        assert!(Kind::find("pods").is_err());
    }

    #[test]
    fn paths_follow_the_scope() {
        assert_eq!(
            WORKFLOW_RUN.path(Some("org1")),
            "/apis/openchoreo.dev/v1alpha1/namespaces/org1/workflowruns"
        );
        assert_eq!(WORKFLOW_RUN.path(None), "/apis/openchoreo.dev/v1alpha1/workflowruns");
        assert_eq!(
            CLUSTER_BUILD_PLANE.path(Some("org1")),
            "/apis/openchoreo.dev/v1alpha1/clusterbuildplanes"
        );
    }
}
