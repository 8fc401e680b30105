//! Which crate may depend on which. A new edge is an architecture change: it is made here and in
//! ARCHITECTURE.md, on purpose.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

const PREFIX: &str = "buildplane-";

/// Every crate and what it may depend on; `*` is any. Test dependencies are free.
const ALLOWED: &[(&str, &[&str])] = &[
    ("admission", &["api", "template"]),
    ("agent", &["api", "serve", "tls", "traces", "tunnel", "wire"]),
    ("api", &[]),
    ("apimachinery", &["expr"]),
    ("apiserver", &["apimachinery", "serve", "store", "tls"]),
    ("argo", &[]),
    ("bench", &["*"]),
    ("cli", &["*"]),
    ("controllers", &["admission", "api", "argo", "template"]),
    ("engine", &["argo"]),
    ("executor", &[]),
    ("expr", &[]),
    ("gateway", &["api", "serve", "tls", "traces", "tunnel", "wire"]),
    ("node", &["executor"]),
    ("platform", &["*"]),
    ("serve", &["tls"]),
    ("store", &[]),
    ("template", &["expr"]),
    ("testing", &["*"]),
    ("tls", &[]),
    ("traces", &[]),
    ("tunnel", &[]),
    ("wire", &["api"]),
];

/// Libraries that only some crates may use: (library, crates, why).
const DOORS: &[(&str, &[&str], &str)] = &[
    ("cel", &["expr"], "expressions go through crates/expr, so that the engine can be replaced"),
    ("rusqlite", &["store"], "only the store knows its database"),
    ("rcgen", &["tls"], "certificates are issued in crates/tls"),
    ("rustls-webpki", &["tls"], "certificates are verified in crates/tls"),
    (
        "tokio-rustls",
        &["tls", "serve"],
        "TLS connections are made through crates/tls and accepted in crates/serve",
    ),
];

/// The edges and doors that the workspace breaks.
pub(crate) fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for (name, dependencies) in packages(root)? {
        let Some(crate_name) = name.strip_prefix(PREFIX) else { continue };
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == crate_name) else {
            problems.push(format!("crate {crate_name} is not in the table of edges (xtask/src/edges.rs)"));
            continue;
        };
        for dependency in &dependencies {
            if let Some(target) = dependency.strip_prefix(PREFIX)
                && !allowed.contains(&"*")
                && !allowed.contains(&target)
            {
                problems.push(format!("crate {crate_name} must not depend on {target}"));
            }
            for (library, crates, why) in DOORS {
                if dependency == library && !crates.contains(&crate_name) {
                    problems.push(format!("crate {crate_name} must not depend on {library}: {why}"));
                }
            }
        }
    }
    Ok(problems)
}

/// Package names with the names of their ordinary dependencies.
fn packages(root: &Path) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--locked"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cannot read cargo metadata")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Ok(list(&metadata["packages"])
        .iter()
        .map(|package| {
            let dependencies = list(&package["dependencies"]);
            let ordinary = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            (text(&package["name"]), ordinary.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect())
}
