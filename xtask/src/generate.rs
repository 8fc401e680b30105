//! Files written from Rust definitions: the CRDs of the control-plane chart.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use kube::ResourceExt as _;

const CRDS: &str = "charts/buildplane-control-plane/crds";

/// Writes every generated file and removes those that no definition stands behind any more.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    let folder = root.join(CRDS);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {CRDS}"))?;
    let files = files()?;
    for name in present(root)?.into_iter().filter(|name| !files.contains_key(name)) {
        fs::remove_file(folder.join(&name)).with_context(|| format!("cannot remove {CRDS}/{name}"))?;
    }
    for (name, text) in files {
        fs::write(folder.join(&name), text).with_context(|| format!("cannot write {CRDS}/{name}"))?;
    }
    Ok(())
}

/// The generated files that differ from what would be written now.
pub(crate) fn stale(root: &Path) -> anyhow::Result<Vec<String>> {
    let files = files()?;
    let remedy = "run `make generate` and commit the result";
    let mut problems: Vec<String> = present(root)?
        .into_iter()
        .filter(|name| !files.contains_key(name))
        .map(|name| format!("{CRDS}/{name} has no definition any more; {remedy}"))
        .collect();
    for (name, text) in files {
        if fs::read_to_string(root.join(CRDS).join(&name)).ok().as_deref() != Some(text.as_str()) {
            problems.push(format!("{CRDS}/{name} is stale; {remedy}"));
        }
    }
    Ok(problems)
}

fn files() -> anyhow::Result<BTreeMap<String, String>> {
    buildplane_api::crds()
        .iter()
        .map(|crd| {
            let text =
                serde_saphyr::to_string(crd).with_context(|| format!("cannot write {}", crd.name_any()))?;
            let header =
                "# Generated from crates/api by `make generate`; edit the Rust definitions instead.\n";
            Ok((format!("{}.yaml", crd.name_any()), format!("{header}{text}")))
        })
        .collect()
}

fn present(root: &Path) -> anyhow::Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(root.join(CRDS)) else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
