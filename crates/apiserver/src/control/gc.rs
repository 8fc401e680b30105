//! Garbage collection: what an object owned goes with it.
//!
//! All links between dependents and owners are in memory, kept up by one watch over everything; an object is judged
//! when it, or an owner of it, changes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use buildplane_store::{Change, Operation};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::Value;

use crate::error::ApiResult;
use crate::object;
use crate::server::Api;
use crate::verbs::{self, Deletion, FOREGROUND, ORPHAN, Propagation};

use super::cleanup::edit;

/// Who owns whom.
#[derive(Default)]
struct Links {
    /// uid of an owner → keys of its dependents.
    dependents: HashMap<String, HashSet<Arc<str>>>,
    /// Key of a dependent → uids of its owners.
    owners: HashMap<Arc<str>, Vec<String>>,
    /// uid → key of every object that has dependents or is being deleted with them; and all others too.
    present: HashMap<String, Arc<str>>,
}

pub(crate) async fn run(api: &Api) {
    loop {
        let from = api.store.revision();
        let mut links = Links::default();
        let mut todo = VecDeque::new();
        for (key, entry) in api.store.entries("/") {
            if links.see(&key, &entry.value) {
                todo.push_back(key);
            }
        }
        let Ok(mut watch) = api.store.watch("/", from).await else {
            tokio::time::sleep(super::AGAIN).await;
            continue;
        };
        let mut failed: HashSet<Arc<str>> = HashSet::new();
        loop {
            while let Some(key) = todo.pop_front() {
                if let Err(error) = judge(api, &links, &key).await {
                    tracing::warn!(%key, error = %error.message, "garbage collection failed");
                    failed.insert(key);
                }
                while let Some(change) = watch.ready() {
                    links.follow(&change, &mut todo);
                }
            }
            let change = async { watch.next().await };
            let next = if failed.is_empty() {
                change.await
            } else {
                let Ok(next) = tokio::time::timeout(super::AGAIN, change).await else {
                    todo.extend(failed.drain());
                    continue;
                };
                next
            };
            match next {
                Some(Ok(change)) => links.follow(&change, &mut todo),
                // Lagged: build the links anew.
                Some(Err(_)) | None => break,
            }
        }
        if api.shutdown.is_cancelled() {
            return;
        }
    }
}

/// The part of an object that matters here.
#[derive(serde::Deserialize)]
struct Seen {
    metadata: SeenMetadata,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenMetadata {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    owner_references: Vec<SeenOwner>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

#[derive(serde::Deserialize)]
struct SeenOwner {
    #[serde(default)]
    uid: String,
}

impl Links {
    /// Takes up the state of a key; tells whether it may have to be judged.
    fn see(&mut self, key: &Arc<str>, text: &[u8]) -> bool {
        let Ok(seen) = serde_json::from_slice::<Seen>(text) else { return false };
        self.present.insert(seen.metadata.uid, Arc::clone(key));
        let owners: Vec<String> = seen.metadata.owner_references.into_iter().map(|owner| owner.uid).collect();
        let known = self.owners.get(key);
        let owned = !owners.is_empty();
        if known.map_or(owned, |known| *known != owners) {
            self.forget(key);
            for owner in &owners {
                self.dependents.entry(owner.clone()).or_default().insert(Arc::clone(key));
            }
            if owned {
                self.owners.insert(Arc::clone(key), owners);
            }
        }
        owned || seen.metadata.deletion_timestamp.is_some()
    }

    fn forget(&mut self, key: &Arc<str>) {
        for owner in self.owners.remove(key).into_iter().flatten() {
            if let Some(dependents) = self.dependents.get_mut(&owner) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.dependents.remove(&owner);
                }
            }
        }
    }

    fn follow(&mut self, change: &Change, todo: &mut VecDeque<Arc<str>>) {
        match change.operation {
            Operation::Put => {
                if self.see(&change.key, &change.value) {
                    todo.push_back(Arc::clone(&change.key));
                }
            }
            Operation::Delete => {
                // Owners waiting for this one to go are looked at again, and so are those it owned.
                let owners = self.owners.get(&change.key).cloned().unwrap_or_default();
                self.forget(&change.key);
                todo.extend(owners.iter().filter_map(|owner| self.present.get(owner)).cloned());
                if let Ok(seen) = serde_json::from_slice::<Seen>(&change.value) {
                    self.present.remove(&seen.metadata.uid);
                    todo.extend(self.dependents.get(&seen.metadata.uid).into_iter().flatten().cloned());
                }
            }
        }
    }
}

/// Does what is due for one object: release it when it was waiting for dependents, remove it when its owners are gone.
async fn judge(api: &Api, links: &Links, key: &Arc<str>) -> ApiResult<()> {
    let Some(entry) = api.store.get(key) else { return Ok(()) };
    let kinds = api.kinds();
    let Some(kind) = kinds.of_key(key).cloned() else { return Ok(()) };
    let object = object::decode(&entry)?;
    if object::is_deleting(&object) {
        let finalizers = object::finalizers(&object);
        if finalizers.contains(&ORPHAN) {
            for dependent in dependents(links, &object) {
                disown(api, dependent, object::uid(&object)).await?;
            }
            return edit(api, &kind, &object, |object| object::remove_finalizer(object, ORPHAN)).await;
        }
        if finalizers.contains(&FOREGROUND) {
            let mut waiting = false;
            for dependent in dependents(links, &object) {
                waiting |= foreground(api, dependent, object::uid(&object)).await?;
            }
            if !waiting {
                return edit(api, &kind, &object, |object| object::remove_finalizer(object, FOREGROUND))
                    .await;
            }
        }
        return Ok(());
    }
    let Some(owners) = object["metadata"]["ownerReferences"].as_array().filter(|list| !list.is_empty())
    else {
        return Ok(());
    };
    let mut waiting = false;
    for owner in owners {
        match state(api, links, &object, owner) {
            Owner::Solid => return Ok(()),
            Owner::Waiting => waiting = true,
            Owner::Gone => {}
        }
    }
    let propagation = Some(if waiting { Propagation::Foreground } else { Propagation::Background });
    let uid = Some(object::uid(&object).to_owned());
    let deletion = Deletion { propagation, uid, ..Deletion::default() };
    verbs::remove(api, &kind, key, &deletion, Timestamp::now()).await.map(drop)
}

/// What an owner reference leads to.
enum Owner {
    Solid,
    /// Being deleted, dependents first.
    Waiting,
    Gone,
}

fn state(api: &Api, links: &Links, dependent: &Value, owner: &Value) -> Owner {
    let uid = owner["uid"].as_str().unwrap_or_default();
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let kinds = api.kinds();
    // A kind that is not served now may be served later: its objects are not known to be gone.
    let Some(kind) = kinds.find_kind(text("apiVersion"), text("kind")) else {
        return if links.present.contains_key(uid) {
            Owner::Solid
        } else {
            unserved(&kinds, text("apiVersion"))
        };
    };
    // Owners are in the dependent's own namespace, or in none.
    let namespace = kind.namespaced.then(|| object::namespace(dependent));
    let Some(found) = api.store.get(&kind.key(namespace, text("name"))) else { return Owner::Gone };
    let Ok(found) = object::decode(&found) else { return Owner::Solid };
    if object::uid(&found) != uid {
        return Owner::Gone;
    }
    let foreground = object::is_deleting(&found) && object::finalizers(&found).contains(&FOREGROUND);
    if foreground { Owner::Waiting } else { Owner::Solid }
}

fn unserved(kinds: &crate::kinds::Registry, api_version: &str) -> Owner {
    // The group is served but not the kind: it was deleted with its definition. An unknown group may be a stranger's.
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if kinds.versions(group).is_some() { Owner::Gone } else { Owner::Solid }
}

fn dependents<'a>(links: &'a Links, owner: &Value) -> impl Iterator<Item = &'a Arc<str>> {
    links.dependents.get(object::uid(owner)).into_iter().flatten()
}

/// Takes an owner out of a dependent's references.
async fn disown(api: &Api, key: &Arc<str>, owner: &str) -> ApiResult<()> {
    let Some(entry) = api.store.get(key) else { return Ok(()) };
    let Some(kind) = api.kinds().of_key(key).cloned() else { return Ok(()) };
    let object = object::decode(&entry)?;
    edit(api, &kind, &object, |object| {
        let metadata = object::metadata_mut(object);
        if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
            owners.retain(|reference| reference["uid"] != owner);
            if owners.is_empty() {
                metadata.remove("ownerReferences");
            }
        }
    })
    .await
}

/// Deletes a dependent of an owner that waits; true while the owner has to go on waiting for it.
async fn foreground(api: &Api, key: &Arc<str>, owner: &str) -> ApiResult<bool> {
    let Some(entry) = api.store.get(key) else { return Ok(false) };
    let Some(kind) = api.kinds().of_key(key).cloned() else { return Ok(false) };
    let object = object::decode(&entry)?;
    let references = object["metadata"]["ownerReferences"].as_array();
    let mut blocks = false;
    let mut others = false;
    for reference in references.into_iter().flatten() {
        if reference["uid"] == owner {
            blocks = reference["blockOwnerDeletion"] == true;
        } else {
            others = true;
        }
    }
    if others {
        // Somebody else keeps it: it only loses this owner.
        disown(api, key, owner).await?;
        return Ok(false);
    }
    if !object::is_deleting(&object) {
        let deletion = Deletion { propagation: Some(Propagation::Foreground), ..Deletion::default() };
        verbs::remove(api, &kind, key, &deletion, Timestamp::now()).await?;
    }
    Ok(blocks && api.store.get(key).is_some())
}
