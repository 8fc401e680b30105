//! Namespaces and definitions that are being deleted take their content with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use buildplane_store::{Change, Operation};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::ApiResult;
use crate::kinds::{CRD_GROUP, Kind, crd};
use crate::object;
use crate::server::Api;
use crate::verbs::{self, Deletion, Propagation};

const NAMESPACES: &str = "/core/namespaces/";
const ACCOUNTS: &str = "/core/serviceaccounts/";
const DEFINITIONS: &str = "/apiextensions.k8s.io/customresourcedefinitions/";

/// Empties terminating namespaces and definitions; gives each namespace its default ServiceAccount.
pub(crate) async fn run(api: &Api) {
    let waiting = AtomicBool::new(true);
    let matters = |change: &Change| {
        change.key.starts_with(NAMESPACES)
            || change.key.starts_with(DEFINITIONS)
            || (change.operation == Operation::Delete
                // Content that goes away may be the last of its namespace.
                && (waiting.load(Ordering::Relaxed) || (change.key.starts_with(ACCOUNTS) && change.key.ends_with("/default"))))
    };
    super::on_change(api, matters, || sweep(api, &waiting)).await;
}

/// True when nothing failed; `waiting` says whether something is on its way out.
async fn sweep(api: &Api, waiting: &AtomicBool) -> bool {
    let mut done = true;
    let (namespaces, definitions) = (marked(api, NAMESPACES), marked(api, DEFINITIONS));
    waiting.store(!namespaces.is_empty() || !definitions.is_empty(), Ordering::Relaxed);
    for namespace in namespaces {
        done &= report("namespace", &namespace, empty_namespace(api, &namespace).await);
    }
    for definition in definitions {
        done &= report("definition", &definition, empty_definition(api, &definition).await);
    }
    for namespace in without_account(api) {
        done &= report("service account", &json!({}), default_account(api, &namespace).await.map(|()| true));
    }
    done
}

fn report(what: &str, object: &Value, result: ApiResult<bool>) -> bool {
    match result {
        // Unfinished content announces its end by a change.
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(what, name = object::name(object), error = %error.message, "cleanup failed");
            false
        }
    }
}

/// Objects that are being deleted. Nearly none are, so most are not even parsed.
fn marked(api: &Api, prefix: &str) -> Vec<Value> {
    let mut entries = api.store.entries(prefix);
    entries.retain(|(_, entry)| object::mentions_deletion(&entry.value));
    entries.iter().filter_map(|(_, entry)| object::decode(entry).ok()).filter(object::is_deleting).collect()
}

fn keys(api: &Api, prefix: &str) -> Vec<Arc<str>> {
    api.store.entries(prefix).into_iter().map(|(key, _)| key).collect()
}

/// Deletes everything under a prefix; true when nothing was there.
async fn empty(api: &Api, kind: &Kind, prefix: &str, now: Timestamp) -> ApiResult<bool> {
    let keys = keys(api, prefix);
    let deletion = Deletion { propagation: Some(Propagation::Background), ..Deletion::default() };
    for key in &keys {
        verbs::remove(api, kind, key, &deletion, now).await?;
    }
    Ok(keys.is_empty())
}

async fn empty_namespace(api: &Api, namespace: &Value) -> ApiResult<bool> {
    let name = object::name(namespace);
    let now = Timestamp::now();
    let kinds = api.kinds();
    let mut is_empty = true;
    for kind in kinds.stored().iter().filter(|kind| kind.namespaced) {
        is_empty &= empty(api, kind, &kind.range(Some(name)), now).await?;
    }
    let left =
        kinds.stored().iter().any(|kind| kind.namespaced && !keys(api, &kind.range(Some(name))).is_empty());
    let Some(kind) = kinds.find("", "v1", "namespaces").filter(|_| is_empty || !left) else {
        return Ok(false);
    };
    edit(api, kind, namespace, |object| object["spec"]["finalizers"] = json!([])).await?;
    Ok(true)
}

async fn empty_definition(api: &Api, definition: &Value) -> ApiResult<bool> {
    if !object::finalizers(definition).contains(&crd::CLEANUP) {
        return Ok(true);
    }
    let kinds = api.kinds();
    let group = definition["spec"]["group"].as_str().unwrap_or_default();
    let plural = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
    let served =
        kinds.versions(group).into_iter().flatten().find_map(|version| kinds.find(group, version, plural));
    if let Some(kind) = served {
        empty(api, kind, &kind.prefix, Timestamp::now()).await?;
        if !keys(api, &kind.prefix).is_empty() {
            return Ok(false);
        }
    }
    let Some(kind) = kinds.find(CRD_GROUP, "v1", "customresourcedefinitions") else { return Ok(false) };
    edit(api, kind, definition, |object| object::remove_finalizer(object, crd::CLEANUP)).await?;
    Ok(true)
}

/// Changes an object that was read before; somebody else's change in between is met again in the next sweep.
pub(super) async fn edit(
    api: &Api,
    kind: &Kind,
    object: &Value,
    change: impl Fn(&mut Value),
) -> ApiResult<()> {
    let namespace = kind.namespaced.then(|| object::namespace(object));
    let key = kind.key(namespace, object::name(object));
    let Some(entry) = api.store.get(&key) else { return Ok(()) };
    let old = object::decode(&entry)?;
    if object::uid(&old) != object::uid(object) {
        return Ok(());
    }
    let mut new = old.clone();
    change(&mut new);
    let how = verbs::Change { kind, subresource: "", manager: None, now: Timestamp::now(), dry_run: false };
    match verbs::replace(api, &how, (&entry, &old), new).await {
        Ok(_) | Err(verbs::CommitError::Stale) => Ok(()),
        Err(verbs::CommitError::Refused(error)) => Err(error),
    }
}

fn without_account(api: &Api) -> Vec<String> {
    let names = keys(api, NAMESPACES);
    names
        .iter()
        .filter_map(|key| key.strip_prefix(NAMESPACES))
        .filter(|name| api.store.get(&format!("{ACCOUNTS}{name}/default")).is_none())
        .map(str::to_owned)
        .collect()
}

async fn default_account(api: &Api, namespace: &str) -> ApiResult<()> {
    let kinds = api.kinds();
    let Some(kind) = kinds.find("", "v1", "serviceaccounts") else { return Ok(()) };
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": namespace},
    });
    let how = verbs::Change { kind, subresource: "", manager: None, now: Timestamp::now(), dry_run: false };
    match verbs::create(api, &how, account).await {
        Ok(_) => Ok(()),
        // Taken, or the namespace is on its way out: both are fine.
        Err(error) if error.code.is_client_error() => Ok(()),
        Err(error) => Err(error),
    }
}
