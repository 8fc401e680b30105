//! Objects that are complete in themselves: they are judged when they are written, and their status says so.

use std::fmt::Debug;
use std::sync::Arc;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::conditions::{Conditions, Verdict};
use crate::config::Timings;
use crate::objects::{Change, Objects};
use crate::retry::Retries;

/// Reconciles at a time; each may compile templates.
const CONCURRENCY: u16 = 2;

/// A kind whose objects are judged by what they say alone.
pub(crate) trait Judge:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The field manager of their statuses.
    const FIELD_MANAGER: &str;
    /// The condition that tells the judgement.
    const READY: &str;

    /// Whether the object holds.
    fn judge(&self) -> Verdict;

    /// The conditions that it has.
    fn conditions(&self) -> &[Condition];

    /// Its status with other conditions, as far as it is ours.
    fn status(&self, conditions: Vec<Condition>) -> Value;
}

/// The objects of such a kind.
pub(crate) struct Judged<K: Judge> {
    context: Arc<Context<K>>,
    objects: Objects<K>,
}

struct Context<K: Judge> {
    client: Client,
    retries: Retries<ObjectRef<K>>,
}

/// A status could not be written; tried again.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status")]
struct WriteStatusError(#[source] Box<kube::Error>);

impl<K: Judge> Judged<K> {
    pub(crate) fn new(client: Client, timings: &Timings) -> Self {
        let context = Arc::new(Context { client, retries: Retries::new(timings) });
        Self { context, objects: Objects::new() }
    }

    /// Follows and judges the objects until `shutdown`. Runs once.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let watched = self.objects.watch(Api::all(self.context.client.clone()), &shutdown, |change| {
            if let Change::Deleted(object) = change {
                self.context.retries.forget(&ObjectRef::from_obj(object));
            }
        });
        let reconciled = self.objects.reconcile(
            Arc::clone(&self.context),
            CONCURRENCY,
            |object, context| reconcile(object, context).boxed(),
            |object, _, context| Action::requeue(context.retries.failed(ObjectRef::from_obj(object))),
            shutdown.clone(),
        );
        tokio::join!(watched, reconciled);
    }
}

async fn reconcile<K: Judge>(object: Arc<K>, context: Arc<Context<K>>) -> Result<Action, WriteStatusError> {
    let metadata = object.meta();
    let mut conditions = Conditions::new(object.conditions(), metadata.generation, Timestamp::now());
    conditions.set(K::READY, object.judge());
    let conditions = conditions.finish().0;
    // Compared as the API keeps them: times in whole seconds.
    let as_kept = |conditions: &[Condition]| serde_json::to_value(conditions).ok();
    if as_kept(&conditions) != as_kept(object.conditions()) {
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<K>::namespaced(context.client.clone(), namespace);
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name, "namespace": namespace, "uid": metadata.uid},
            "status": object.status(conditions),
        });
        let params = PatchParams::apply(K::FIELD_MANAGER).force();
        match api.patch_status(name, &params, &Patch::Apply(&patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => return Err(WriteStatusError(Box::new(source))),
        }
    }
    context.retries.forget(&ObjectRef::from_obj(object.as_ref()));
    Ok(Action::await_change())
}
