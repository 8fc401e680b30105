//! Workflows: whether their schema and templates hold, told when they are written instead of when a run needs them.

use std::sync::Arc;

use buildplane_api::Workflow;
use buildplane_api::conditions::workflow::{self, reason};
use buildplane_api::workflow::WorkflowStatus;
use futures::FutureExt as _;
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::conditions::{Conditions, Verdict};
use crate::config::Timings;
use crate::objects::{Change, Objects};
use crate::retry::Retries;
use crate::runs::compile;

/// The field manager of Workflow statuses.
const FIELD_MANAGER: &str = "workflow-controller";
/// Reconciles at a time; each compiles templates.
const CONCURRENCY: u16 = 2;

/// The Workflows.
pub(crate) struct Workflows {
    context: Arc<Context>,
    objects: Objects<Workflow>,
}

struct Context {
    client: Client,
    retries: Retries<ObjectRef<Workflow>>,
}

/// A status could not be written; tried again.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status")]
struct WriteStatusError(#[source] Box<kube::Error>);

impl Workflows {
    pub(crate) fn new(client: Client, timings: &Timings) -> Self {
        let context = Arc::new(Context { client, retries: Retries::new(timings) });
        Self { context, objects: Objects::new() }
    }

    /// Follows and reconciles the Workflows until `shutdown`. Runs once.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let watched = self.objects.watch(Api::all(self.context.client.clone()), &shutdown, |change| {
            if let Change::Deleted(workflow) = change {
                self.context.retries.forget(&ObjectRef::from_obj(workflow));
            }
        });
        let reconciled = self.objects.reconcile(
            Arc::clone(&self.context),
            CONCURRENCY,
            |workflow, context| reconcile(workflow, context).boxed(),
            |workflow, _, context| Action::requeue(context.retries.failed(ObjectRef::from_obj(workflow))),
            shutdown.clone(),
        );
        tokio::join!(watched, reconciled);
    }
}

async fn reconcile(object: Arc<Workflow>, context: Arc<Context>) -> Result<Action, WriteStatusError> {
    let status = tell(&object, Timestamp::now());
    // Compared as the API keeps it: times in whole seconds.
    let as_kept = |status: &WorkflowStatus| serde_json::to_value(status).ok();
    if as_kept(&status) != object.status.as_ref().and_then(as_kept) {
        let metadata = &object.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let api = Api::<Workflow>::namespaced(
            context.client.clone(),
            metadata.namespace.as_deref().unwrap_or_default(),
        );
        let patch = json!({
            "apiVersion": Workflow::api_version(&()),
            "kind": Workflow::kind(&()),
            "metadata": {"name": name, "namespace": metadata.namespace, "uid": metadata.uid},
            "status": status,
        });
        match api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => return Err(WriteStatusError(Box::new(source))),
        }
    }
    context.retries.forget(&ObjectRef::from_obj(object.as_ref()));
    Ok(Action::await_change())
}

fn tell(object: &Workflow, now: Timestamp) -> WorkflowStatus {
    let before = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut conditions = Conditions::new(before, object.metadata.generation, now);
    let verdict = match compile(object) {
        Ok(_) => Verdict::holds(
            reason::WORKFLOW_VALID,
            "schema and templates hold; what they render is judged per run",
        ),
        Err(message) => Verdict::fails(reason::WORKFLOW_INVALID, message),
    };
    conditions.set(workflow::READY, verdict);
    WorkflowStatus { observed_generation: object.metadata.generation, conditions: conditions.finish().0 }
}
