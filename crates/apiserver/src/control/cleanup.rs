//! Namespaces and definitions that are being deleted take their content with them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::ApiResult;
use crate::kinds::{CRD_GROUP, Kind, crd};
use crate::object;
use crate::server::Api;
use crate::verbs::{self, Change, Deletion, Propagation};

const NAMESPACES: &str = "/core/namespaces/";
const DEFINITIONS: &str = "/apiextensions.k8s.io/customresourcedefinitions/";

/// Empties terminating namespaces and definitions; gives each namespace its default ServiceAccount.
pub(crate) async fn run(api: &Api) {
    // Content that goes away may be the last of its namespace: every change matters.
    super::on_change(api, "/", || sweep(api)).await;
}

/// True when nothing is left to wait for.
async fn sweep(api: &Api) -> bool {
    let mut done = true;
    for namespace in marked(api, NAMESPACES) {
        done &= report("namespace", &namespace, empty_namespace(api, &namespace).await);
    }
    for definition in marked(api, DEFINITIONS) {
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
    let mut found = Vec::new();
    api.store.scan(prefix, |_, entry| {
        if object::mentions_deletion(&entry.value) {
            found.extend(object::decode(entry).ok().filter(object::is_deleting));
        }
        true
    });
    found
}

fn keys(api: &Api, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    api.store.scan(prefix, |key, _| {
        found.push(key.to_string());
        true
    });
    found
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
    let how = Change { kind, subresource: "", manager: None, now: Timestamp::now(), dry_run: false };
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
        .filter(|name| api.store.get(&format!("/core/serviceaccounts/{name}/default")).is_none())
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
    let how = Change { kind, subresource: "", manager: None, now: Timestamp::now(), dry_run: false };
    match verbs::create(api, &how, account).await {
        Ok(_) => Ok(()),
        // Taken, or the namespace is on its way out: both are fine.
        Err(error) if error.code.is_client_error() => Ok(()),
        Err(error) => Err(error),
    }
}
