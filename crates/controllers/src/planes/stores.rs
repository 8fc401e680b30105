//! The ClusterSecretStores that planes name, watched on the planes themselves.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use buildplane_api::names::{CrRef, PlaneId, is_subdomain};
use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, watcher};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::chain;
use crate::gateway::{GatewayClient, Subscriber};
use crate::retry::jittered;

/// How long a plane's status waits for the first answer; what comes later is told later.
const FIRST_ANSWER: Duration = Duration::from_millis(100);
/// Where External Secrets is not installed, or nothing can be read, it is tried again this soon, then ever more rarely.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// The versions of the API that are known, the best first.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// A ClusterSecretStore on a plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretStore {
    Ready,
    NotReady(String),
    NotFound,
    NotInstalled,
    Unreachable(String),
}

/// The stores that are watched: at most one for each plane object.
pub(crate) struct Stores {
    gateway: GatewayClient,
    watched: Mutex<HashMap<CrRef, Watched>>,
    subscribers: OnceLock<Vec<Arc<dyn Subscriber>>>,
    shutdown: CancellationToken,
}

struct Watched {
    plane_id: PlaneId,
    name: String,
    seen: watch::Receiver<Option<SecretStore>>,
    _stop: DropGuard,
}

impl Stores {
    pub(crate) fn new(gateway: GatewayClient, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { gateway, watched: Mutex::default(), subscribers: OnceLock::new(), shutdown })
    }

    /// Who is told that a store changed. Once.
    pub(crate) fn tell(&self, subscribers: Vec<Arc<dyn Subscriber>>) {
        let _told_before = self.subscribers.set(subscribers);
    }

    /// How a store is; from now on its plane object is looked at again when it changes.
    pub(super) async fn look(self: &Arc<Self>, cr: &CrRef, plane_id: &PlaneId, name: &str) -> SecretStore {
        if !is_subdomain(name) {
            self.release(cr);
            return SecretStore::NotFound;
        }
        let mut seen = self.watch(cr, plane_id, name);
        let first = tokio::time::timeout(FIRST_ANSWER, seen.wait_for(Option::is_some)).await;
        match first {
            Ok(Ok(store)) => store.clone(),
            Ok(Err(_)) | Err(_) => None,
        }
        .unwrap_or_else(|| SecretStore::Unreachable("the plane has not answered yet".to_owned()))
    }

    /// The store of an object is not of interest, or cannot be seen.
    pub(super) fn release(&self, cr: &CrRef) {
        self.lock().remove(cr);
    }

    fn watch(
        self: &Arc<Self>,
        cr: &CrRef,
        plane_id: &PlaneId,
        name: &str,
    ) -> watch::Receiver<Option<SecretStore>> {
        let mut watched = self.lock();
        if let Some(known) = watched.get(cr).filter(|known| known.plane_id == *plane_id && known.name == name)
        {
            return known.seen.clone();
        }
        let stop = self.shutdown.child_token();
        let (tell, seen) = watch::channel(None);
        let client = self.gateway.plane(plane_id, cr);
        let known = Watched {
            plane_id: plane_id.clone(),
            name: name.to_owned(),
            seen: seen.clone(),
            _stop: stop.clone().drop_guard(),
        };
        watched.insert(cr.clone(), known);
        let (stores, cr, name) = (Arc::clone(self), cr.clone(), name.to_owned());
        tokio::spawn(async move {
            let told = |store: SecretStore| {
                let changed = tell.send_if_modified(|seen| {
                    let is_new = seen.as_ref() != Some(&store);
                    *seen = Some(store);
                    is_new
                });
                if changed {
                    for subscriber in stores.subscribers.get().into_iter().flatten() {
                        subscriber.changed(std::slice::from_ref(&cr));
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow(client, &name, told) => {}
            }
        });
        seen
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CrRef, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows one store for as long as it is polled.
async fn follow(client: Client, name: &str, told: impl Fn(SecretStore)) {
    let mut wait = FIRST_RETRY;
    let mut version = VERSIONS.into_iter().cycle();
    let mut not_served = 0;
    loop {
        let ended = follow_version(client.clone(), version.next().unwrap_or(VERSIONS[0]), name, |store| {
            wait = FIRST_RETRY;
            told(store);
        })
        .await;
        if matches!(ended, SecretStore::NotInstalled) {
            not_served += 1;
            if not_served % VERSIONS.len() != 0 {
                continue;
            }
        } else {
            version = VERSIONS.into_iter().cycle();
            not_served = 0;
        }
        told(ended);
        tokio::time::sleep(jittered(wait)).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

/// Follows a store in one version of its API, up to the first failure.
async fn follow_version(
    client: Client,
    version: &str,
    name: &str,
    mut told: impl FnMut(SecretStore),
) -> SecretStore {
    let kind = GroupVersionKind::gvk("external-secrets.io", version, "ClusterSecretStore");
    let kind = ApiResource::from_gvk_with_plural(&kind, "clustersecretstores");
    let api: Api<DynamicObject> = Api::all_with(client, &kind);
    let mut events = pin!(watcher(api, watcher::Config::default().fields(&format!("metadata.name={name}"))));
    let mut listed = SecretStore::NotFound;
    loop {
        match events.next().await {
            Some(Ok(watcher::Event::Init)) => listed = SecretStore::NotFound,
            Some(Ok(watcher::Event::InitApply(store))) => {
                if store.metadata.name.as_deref() == Some(name) {
                    listed = readiness(&store.data);
                }
            }
            Some(Ok(watcher::Event::InitDone)) => told(listed.clone()),
            Some(Ok(watcher::Event::Apply(store))) if store.metadata.name.as_deref() == Some(name) => {
                told(readiness(&store.data));
            }
            Some(Ok(watcher::Event::Delete(store))) if store.metadata.name.as_deref() == Some(name) => {
                told(SecretStore::NotFound);
            }
            Some(Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_))) => {}
            // A watch that ends is taken up again by the watcher; what it says now is no news about the store.
            Some(Err(watcher::Error::WatchError(status))) if status.code == 410 => {}
            Some(Err(error)) => return failure(&error),
            None => return SecretStore::Unreachable("the watch ended".to_owned()),
        }
    }
}

fn failure(error: &watcher::Error) -> SecretStore {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            if status.code == 404 =>
        {
            SecretStore::NotInstalled
        }
        error => SecretStore::Unreachable(chain(error)),
    }
}

fn readiness(store: &Value) -> SecretStore {
    let conditions = store.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    match ready {
        Some(ready) if ready["status"] == "True" => SecretStore::Ready,
        Some(ready) => SecretStore::NotReady(ready["message"].as_str().unwrap_or("no message").to_owned()),
        None => SecretStore::NotReady("it has not been looked at yet".to_owned()),
    }
}
