//! The options that a request's query may name. A list of what is allowed: an option that is new in some Kubernetes
//! version may mean anything.

use buildplane_wire::{Attributes, CanonicalQuery, Verb};

/// Mean nothing for what is done.
const ALWAYS: &[&str] = &["pretty", "timeout"];
const READ: &[&str] = &["resourceVersion"];
const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
/// Not `ignoreStoreReadErrorWithClusterBreakingPotential`.
const DELETE: &[&str] =
    &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy", "resourceVersion"];
const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
];
/// Not `insecureSkipTLSVerifyBackend`.
const LOG: &[&str] = &[
    "container",
    "follow",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "stream",
    "tailLines",
    "timestamps",
];
const ATTACH: &[&str] = &["command", "container", "stderr", "stdin", "stdout", "tty"];
const PORT_FORWARD: &[&str] = &["ports"];
const PATH: &[&str] = &["exclude", "hash", "verbose"];

/// These stand there once for each value.
const REPEATED: &[&str] = &["command", "ports"];

/// Judges the options of a request.
pub(super) fn judge(attributes: &Attributes, query: &CanonicalQuery) -> Result<(), String> {
    let (allowed, what) = match attributes {
        Attributes::Path { path, .. } => (PATH, format!("the path {path}")),
        Attributes::Resource(resource) => {
            let allowed = match (resource.subresource.as_deref(), resource.verb) {
                (Some("log"), Verb::Get) => LOG,
                (Some("exec" | "attach"), _) => ATTACH,
                (Some("portforward"), _) => PORT_FORWARD,
                // What a proxy is asked is for whoever stands behind it; no option is ours to judge.
                (Some("proxy"), _) => return Ok(()),
                (_, Verb::Get) => READ,
                (_, Verb::List | Verb::Watch) => LIST,
                (_, Verb::Create | Verb::Update) => WRITE,
                (_, Verb::Patch) => PATCH,
                (_, Verb::Delete) => DELETE,
                (_, Verb::DeleteCollection) => DELETE_COLLECTION,
            };
            (allowed, resource.to_string())
        }
    };
    for key in query.keys() {
        let name: String = key.chars().take(64).collect();
        if !allowed.contains(&key) && !ALWAYS.contains(&key) {
            return Err(format!("rule options does not allow the option {name:?} to {what}"));
        }
        // Readers differ in which of two they take.
        if !REPEATED.contains(&key) && query.values(key).count() > 1 {
            return Err(format!("rule options allows the option {name:?} once"));
        }
    }
    // Everything else that it could say is for later versions to mean.
    if query.values("dryRun").any(|value| !matches!(value, "" | "All")) {
        return Err("rule options allows dryRun=All only".to_owned());
    }
    Ok(())
}
