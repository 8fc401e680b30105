//! Narrowing the agent to the custom resources that its owner has registered: the list `allowedPlanes` of its policy file,
//! which lies in a ConfigMap of the agent's namespace.
//!
//! The file is the owner's, with comments of theirs, so it is edited as text; what comes out is read again and compared
//! before it is written.

use buildplane_api::CrRef;
use buildplane_wire::{AllowedPlanes, PlanePattern};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use serde::Deserialize;

use super::RegisterArgs;
use super::steps::{BUILD_PLANE, step};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::runs::FIELD_MANAGER;

/// Where the agent's policy lies on its cluster.
pub(super) const POLICY_CONFIG_MAP: &str = "cluster-agent-policy";
/// Its key.
pub(super) const POLICY_KEY: &str = "policy.yaml";
const LIST: &str = "allowedPlanes";
/// How often somebody else may have been faster.
const ATTEMPTS: usize = 5;

/// The policy file with the list changed, and what has been added to it. Nothing when there was nothing to add.
pub(super) struct Narrowed {
    pub(super) text: String,
    pub(super) added: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    allowed_planes: AllowedPlanes,
}

/// Adds custom resources to the list of a policy file. Where there is no list yet, everybody was served: then `others`,
/// who rely on that, are written down too.
pub(super) fn narrow(text: &str, wanted: &CrRef, others: &[CrRef]) -> Result<Option<Narrowed>> {
    let before = read(text)?;
    let mut added = Vec::new();
    if before.is_narrowed() {
        if before.permits(wanted) {
            return Ok(None);
        }
    } else {
        added.extend(others.iter().filter(|other| *other != wanted).map(ToString::to_string));
    }
    added.push(wanted.to_string());
    let edited = insert(text, &before, &added);
    let expected: Vec<PlanePattern> = {
        let added = added.iter().map(|pattern| pattern.parse().context("a reference is no pattern"));
        before.patterns().unwrap_or_default().iter().cloned().map(Ok).chain(added).collect::<Result<_>>()?
    };
    let after = read(&edited)?;
    let same = after.patterns().is_some_and(|patterns| {
        patterns.len() == expected.len() && expected.iter().all(|pattern| patterns.contains(pattern))
    });
    if !same {
        return Err(Failure::new(format!(
            "{LIST} of the policy file cannot be edited by a program as it is written"
        ))
        .hint(format!("add these to it by hand: {}", added.join(", ")))
        .exit(ExitStatus::Refused));
    }
    Ok(Some(Narrowed { text: edited, added }))
}

/// Whether a policy file leaves anybody out.
pub(super) fn is_narrowed(text: &str) -> Result<bool> {
    Ok(read(text)?.is_narrowed())
}

fn read(text: &str) -> Result<AllowedPlanes> {
    if text.trim().is_empty() {
        return Ok(AllowedPlanes::default());
    }
    let file: File = serde_saphyr::from_str(text)
        .context("the agent's policy file cannot be read")
        .hint("mend it, or give --no-narrow")?;
    Ok(file.allowed_planes)
}

/// The text with lines for the patterns: below an existing list of lines, else in place of what stands there, else at the
/// top.
fn insert(text: &str, before: &AllowedPlanes, added: &[String]) -> String {
    let items =
        |indent: &str| added.iter().fold(String::new(), |text, new| format!("{text}{indent}- {new}\n"));
    let mut lines = text.split_inclusive('\n');
    let mut out = String::new();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix(LIST).and_then(|rest| rest.trim_start().strip_prefix(':')) else {
            out.push_str(line);
            continue;
        };
        let value = rest.split(" #").next().unwrap_or(rest).trim();
        if value.is_empty() || value.starts_with('#') {
            out.push_str(line.trim_end_matches('\n'));
            out.push('\n');
            let rest: String = lines.collect();
            let first =
                rest.lines().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
            let indent = first
                .filter(|line| line.trim_start().starts_with("- "))
                .map_or("  ", |line| &line[..line.len() - line.trim_start().len()]);
            out.push_str(&items(indent));
            out.push_str(&rest);
        } else {
            // A list on one line becomes one of several.
            out.push_str(LIST);
            out.push_str(":\n");
            for pattern in before.patterns().unwrap_or_default() {
                out.push_str("  - \"");
                out.push_str(&pattern.to_string());
                out.push_str("\"\n");
            }
            out.push_str(&items("  "));
            out.extend(lines);
        }
        return out;
    }
    format!("{LIST}:\n{}{out}", items("  "))
}

/// The agent's policy file, if there is one.
pub(super) async fn policy(build_plane: &Client, args: &RegisterArgs) -> Result<(Option<ConfigMap>, String)> {
    let (namespace, context) = (&args.agent_namespace, &args.from_context);
    let api: Api<ConfigMap> = Api::namespaced(build_plane.clone(), namespace);
    let existing = api.get_opt(POLICY_CONFIG_MAP).await.context(cannot(namespace, context)).hint(NO_RIGHT)?;
    let text = existing.as_ref().and_then(|map| map.data.as_ref()?.get(POLICY_KEY)).cloned();
    Ok((existing, text.unwrap_or_default()))
}

fn cannot(namespace: &str, context: &str) -> String {
    format!("build plane ({context}): cannot narrow the agent by ConfigMap {namespace}/{POLICY_CONFIG_MAP}")
}

/// The policy file on the build plane with the custom resource in it; written unless it is there already.
pub(super) async fn apply(
    build_plane: &Client,
    args: &RegisterArgs,
    wanted: &CrRef,
    others: &[CrRef],
) -> Result<()> {
    let (namespace, context) = (&args.agent_namespace, &args.from_context);
    let cannot = || cannot(namespace, context);
    let api: Api<ConfigMap> = Api::namespaced(build_plane.clone(), namespace);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    for _ in 0..ATTEMPTS {
        let (existing, text) = policy(build_plane, args).await?;
        let Some(narrowed) = narrow(&text, wanted, others).context(cannot())? else {
            return step(BUILD_PLANE, context, format_args!("the agent serves {wanted} already"));
        };
        let written = match existing {
            Some(mut map) => {
                map.data.get_or_insert_default().insert(POLICY_KEY.to_owned(), narrowed.text);
                api.replace(POLICY_CONFIG_MAP, &parameters, &map).await
            }
            None => api.create(&parameters, &config_map(namespace, narrowed.text)).await,
        };
        match written {
            Ok(_) => {
                for added in &narrowed.added {
                    let why = if *added == wanted.to_string() { "" } else { ", which it served before" };
                    step(
                        BUILD_PLANE,
                        context,
                        format_args!("{LIST} of the agent's policy: {added} added{why}"),
                    )?;
                }
                return Ok(());
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(Failure::from(error).context(cannot()).hint(NO_RIGHT)),
        }
    }
    Err(Failure::new("somebody else goes on changing it").context(cannot()).exit(ExitStatus::Refused))
}

const NO_RIGHT: &str = "--no-narrow leaves the agent's policy as it is";

/// The ConfigMap with a policy file.
pub(super) fn config_map(namespace: &str, policy: String) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(POLICY_CONFIG_MAP.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([(POLICY_KEY.to_owned(), policy)].into()),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cr(text: &str) -> CrRef {
        text.parse().expect("a literal reference")
    }

    #[track_caller]
    fn narrowed(text: &str) -> String {
        let others = [cr("clusterbuildplane/_cluster/default"), cr("buildplane/org/mine")];
        let result = narrow(text, &cr("buildplane/org/mine"), &others);
        result
            .unwrap_or_else(|failure| panic!("{failure}"))
            .map_or_else(String::new, |narrowed| narrowed.text)
    }

    #[test]
    fn a_list_gains_an_entry_and_everything_else_stays() {
        for (before, after) in [
            // Nobody was left out so far: those that are served stay.
            ("", "allowedPlanes:\n  - clusterbuildplane/_cluster/default\n  - buildplane/org/mine\n"),
            (
                "# ours\nrules: [] # all of them\n",
                "allowedPlanes:\n  - clusterbuildplane/_cluster/default\n  - buildplane/org/mine\n# ours\nrules: [] # all of them\n",
            ),
            // Other tenants' entries stay, in the order and form they have.
            (
                "rules: []\nallowedPlanes: # who\n# tenants\n- buildplane/a/*\n- kind: BuildPlane\n  name: x\npaths: []\n",
                "rules: []\nallowedPlanes: # who\n- buildplane/org/mine\n# tenants\n- buildplane/a/*\n- kind: BuildPlane\n  name: x\npaths: []\n",
            ),
            (
                "allowedPlanes:\n    - buildplane/a/b",
                "allowedPlanes:\n    - buildplane/org/mine\n    - buildplane/a/b",
            ),
            ("allowedPlanes: []\nrules: []\n", "allowedPlanes:\n  - buildplane/org/mine\nrules: []\n"),
            (
                "allowedPlanes: [buildplane/a/b] # x\n",
                "allowedPlanes:\n  - \"buildplane/a/b\"\n  - buildplane/org/mine\n",
            ),
            // It is there already, or covered.
            ("allowedPlanes: [buildplane/org/mine]\n", ""),
            ("allowedPlanes:\n  - buildplane/*/mine\n", ""),
        ] {
            assert_eq!(narrowed(before), after, "{before}");
        }
    }

    #[test]
    fn what_cannot_be_edited_safely_is_left_alone() {
        for text in [
            "allowedPlanes: [buildplane/a/b,\n  buildplane/c/d]\n",
            "{allowedPlanes: [buildplane/a/b]}\n",
            "\"allowedPlanes\": [buildplane/a/b]\n",
            "allowedPlanes: {}\n",
            "rules: [\n",
        ] {
            assert!(narrow(text, &cr("buildplane/org/mine"), &[]).is_err(), "{text}");
        }
    }
}
