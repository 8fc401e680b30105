//! Fetches what a run points at on the control plane.

use std::collections::BTreeMap;

use buildplane_api::conditions::run::reason;
use buildplane_api::{SecretReference, Workflow};
use kube::{Api, Client};
use serde_json::{Map, Value, json};

use super::problem::Problem;
use crate::error::chain;
use crate::lookup::find;

/// The run's Workflow.
pub(super) async fn workflow(client: &Client, namespace: &str, name: &str) -> Result<Workflow, Problem> {
    match find(&Api::<Workflow>::namespaced(client.clone(), namespace), name).await {
        Ok(Some(workflow)) => Ok(workflow),
        Ok(None) => Err(Problem::change(
            reason::WORKFLOW_NOT_FOUND,
            format!(
                "Workflow {name} does not exist in namespace {namespace}; create it, or correct spec.workflow.name"
            ),
        )),
        Err(error) => Err(Problem::retry(
            reason::WORKFLOW_NOT_FOUND,
            format!("Workflow {name} could not be looked up: {}", chain(&error)),
        )),
    }
}

/// The objects that a Workflow's templates read, by id.
pub(super) async fn external_refs(
    client: &Client,
    namespace: &str,
    names: BTreeMap<String, String>,
) -> Result<Map<String, Value>, Problem> {
    let api = Api::<SecretReference>::namespaced(client.clone(), namespace);
    let mut found = Map::new();
    for (id, name) in names {
        match find(&api, &name).await {
            Ok(Some(reference)) => found.insert(id, json!({"spec": reference.spec})),
            Ok(None) => {
                return Err(Problem::change(
                    reason::EXTERNAL_REF_NOT_FOUND,
                    format!(
                        "SecretReference {name}, which the Workflow calls {id}, does not exist in namespace {namespace}; \
                         create it, or correct the parameter that names it"
                    ),
                ));
            }
            Err(error) => {
                return Err(Problem::retry(
                    reason::EXTERNAL_REF_NOT_FOUND,
                    format!("SecretReference {name} could not be looked up: {}", chain(&error)),
                ));
            }
        };
    }
    Ok(found)
}
