//! Requests to the API, each with a deadline, and what their errors mean.

use std::sync::Arc;
use std::time::Duration;

use buildplane_argo::{ClusterWorkflowTemplate, Workflow, WorkflowTemplate, labels};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::Value;

use crate::core::observed::{PodView, Reference};
use crate::driver::cache::Key;

const FIELD_MANAGER: &str = "workflow-engine";

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("failed to {what}")]
    Failed {
        what: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("no answer within {limit:?} to the request to {what}")]
    TimedOut { what: &'static str, limit: Duration },
    #[error("{what} is malformed")]
    Malformed {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("{kind} {name} still belongs to an earlier workflow of this name")]
    NameTaken { kind: &'static str, name: String },
    #[error("the core asks for the same thing over and over")]
    Circle,
}

/// What became of the creation of an object.
pub(crate) enum Created {
    /// It exists now, or did already.
    Exists(Box<PodView>),
    /// The API will not have it.
    Refused(String),
}

/// What became of a write of the status.
pub(crate) enum Written {
    Done(Box<Workflow>),
    /// Somebody else wrote first; this is theirs.
    Stale(Box<Workflow>),
    Gone,
}

/// The requests the engine makes.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
    timeout: Duration,
}

impl Requests {
    pub(crate) fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// Looks one thing up: a pod, or the specification of a template object.
    pub(crate) async fn look(
        &self,
        namespace: &str,
        reference: &Reference,
    ) -> Result<Option<Found>, RequestError> {
        let found = match reference {
            Reference::Pod(name) => {
                let api = self.pods(namespace);
                let pod = self.within("read a pod", api.get_opt(name)).await?;
                pod.map(|pod| Found::Pod(Arc::new(view(&pod).1)))
            }
            Reference::Template(name) => {
                let api = Api::<WorkflowTemplate>::namespaced(self.client.clone(), namespace);
                let template = self.within("read a WorkflowTemplate", api.get_opt(name)).await?;
                template.map(|template| Found::Template(Arc::new(template.raw_spec)))
            }
            Reference::ClusterTemplate(name) => {
                let api = Api::<ClusterWorkflowTemplate>::all(self.client.clone());
                let template = self.within("read a ClusterWorkflowTemplate", api.get_opt(name)).await?;
                template.map(|template| Found::Template(Arc::new(template.raw_spec)))
            }
        };
        Ok(found)
    }

    /// Creates a pod unless there is one of its name, whoever's.
    pub(crate) async fn create_pod(&self, namespace: &str, pod: &Value) -> Result<Created, RequestError> {
        let api = self.pods(namespace);
        let pod: DynamicObject = serde_json::from_value(pod.clone())
            .map_err(|source| RequestError::Malformed { what: "the pod of a step", source })?;
        match self.within("create a pod", api.create(&parameters(), &pod)).await {
            Ok(created) => Ok(Created::Exists(Box::new(view(&created).1))),
            Err(error) if status(&error) == Some(409) && reason(&error) == Some("AlreadyExists") => {
                let name = pod.metadata.name.unwrap_or_default();
                let existing = self.within("read a pod", api.get(&name)).await?;
                Ok(Created::Exists(Box::new(view(&existing).1)))
            }
            Err(error) => refusal(error).map(Created::Refused),
        }
    }

    /// Creates a claim unless the workflow has it; answers why not when the API will not have it.
    pub(crate) async fn create_claim(
        &self,
        owner: &Workflow,
        claim: &Value,
    ) -> Result<Option<(String, String)>, RequestError> {
        let namespace = owner.metadata.namespace.as_deref().unwrap_or_default();
        let name = claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let api = self.claims(namespace);
        let claim: DynamicObject = match serde_json::from_value(claim.clone()) {
            Ok(claim) => claim,
            Err(error) => return Ok(Some((name, error.to_string()))),
        };
        match self.within("create a claim", api.create(&parameters(), &claim)).await {
            Ok(_) => Ok(None),
            Err(error) if status(&error) == Some(409) && reason(&error) == Some("AlreadyExists") => {
                let existing = self.within("read a claim", api.get(&name)).await?;
                let owners = existing.metadata.owner_references.unwrap_or_default();
                let has = |test: &dyn Fn(&str, &str) -> bool| {
                    owners.iter().any(|owner| owner.kind == "Workflow" && test(&owner.name, &owner.uid))
                };
                let own_name = owner.metadata.name.as_deref().unwrap_or_default();
                if has(&|_, uid| Some(uid) == owner.metadata.uid.as_deref()) {
                    Ok(None)
                } else if has(&|name, _| name == own_name) {
                    Err(RequestError::NameTaken { kind: "claim", name })
                } else {
                    Ok(Some((name, "there is one of this name that belongs to something else".to_owned())))
                }
            }
            Err(error) => Ok(Some((name, refusal(error)?))),
        }
    }

    /// Removes a pod, but no other that may have taken its name since.
    pub(crate) async fn delete_pod(&self, namespace: &str, pod: &PodView) -> Result<(), RequestError> {
        let precondition = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
        let parameters = DeleteParams::default().preconditions(precondition);
        let api = self.pods(namespace);
        removed(self.within("remove a pod", api.delete(&pod.name, &parameters)).await)
    }

    /// Removes a claim of this workflow.
    pub(crate) async fn delete_claim(&self, owner: &Workflow, name: &str) -> Result<(), RequestError> {
        let api = self.claims(owner.metadata.namespace.as_deref().unwrap_or_default());
        let Some(claim) = self.within("read a claim", api.get_opt(name)).await? else { return Ok(()) };
        let owners = claim.metadata.owner_references.as_deref().unwrap_or_default();
        if !owners.iter().any(|reference| Some(&reference.uid) == owner.metadata.uid.as_ref()) {
            return Ok(());
        }
        let precondition = Preconditions { uid: claim.metadata.uid, resource_version: None };
        let parameters = DeleteParams::default().preconditions(precondition);
        removed(self.within("remove a claim", api.delete(name, &parameters)).await)
    }

    /// Removes a workflow; what it owns goes with it.
    pub(crate) async fn delete_workflow(&self, workflow: &Workflow) -> Result<(), RequestError> {
        let metadata = &workflow.metadata;
        let api = self.workflows(metadata.namespace.as_deref().unwrap_or_default());
        let precondition = Preconditions { uid: metadata.uid.clone(), resource_version: None };
        let parameters = DeleteParams::background().preconditions(precondition);
        let name = metadata.name.as_deref().unwrap_or_default();
        removed(self.within("remove a workflow", api.delete(name, &parameters)).await)
    }

    /// Writes a workflow if nobody else has in the meantime.
    pub(crate) async fn write(&self, workflow: &Workflow) -> Result<Written, RequestError> {
        let api = self.workflows(workflow.metadata.namespace.as_deref().unwrap_or_default());
        let name = workflow.metadata.name.as_deref().unwrap_or_default();
        match self.within("write a workflow", api.replace(name, &parameters(), workflow)).await {
            Ok(written) => Ok(Written::Done(Box::new(written))),
            Err(error) => match status(&error) {
                Some(409) => {
                    let current = self.within("read a workflow", api.get_opt(name)).await?;
                    Ok(current.map_or(Written::Gone, |current| Written::Stale(Box::new(current))))
                }
                Some(404) => Ok(Written::Gone),
                Some(_) | None => Err(error),
            },
        }
    }

    async fn within<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, RequestError> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(|source| RequestError::Failed { what, source: Box::new(source) }),
            Err(_) => Err(RequestError::TimedOut { what, limit: self.timeout }),
        }
    }

    fn workflows(&self, namespace: &str) -> Api<Workflow> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn pods(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<Pod>(&()))
    }

    fn claims(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<PersistentVolumeClaim>(&());
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}

/// What was looked up.
pub(crate) enum Found {
    Pod(Arc<PodView>),
    Template(Arc<Value>),
}

/// What the engine reads of a pod, and the workflow it says it belongs to.
pub(crate) fn view(pod: &DynamicObject) -> (Key, PodView) {
    let workflow = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::WORKFLOW));
    let key = Key {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: workflow.cloned().unwrap_or_default(),
    };
    let value = serde_json::to_value(pod).unwrap_or(Value::Null);
    (key, PodView::read(&value))
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn removed<T>(answer: Result<T, RequestError>) -> Result<(), RequestError> {
    match answer {
        Ok(_) => Ok(()),
        // Gone already, or another object by now.
        Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The message of an answer that will not change by asking again; other errors stay errors.
fn refusal(error: RequestError) -> Result<String, RequestError> {
    match (&error, status(&error)) {
        (RequestError::Failed { source, .. }, Some(400 | 403 | 413 | 415 | 422)) => {
            let kube::Error::Api(status) = source.as_ref() else { return Err(error) };
            Ok(status.message.clone())
        }
        _ => Err(error),
    }
}

fn status(error: &RequestError) -> Option<u16> {
    api_status(error).map(|status| status.code)
}

fn reason(error: &RequestError) -> Option<&str> {
    api_status(error).map(|status| status.reason.as_str())
}

fn api_status(error: &RequestError) -> Option<&kube::core::Status> {
    let RequestError::Failed { source, .. } = error else { return None };
    let kube::Error::Api(status) = source.as_ref() else { return None };
    Some(status)
}
