//! Workflows: whether their schema and templates hold, told when they are written instead of when a run needs them.

use buildplane_api::Workflow;
use buildplane_api::conditions::workflow::{self, reason};
use buildplane_api::workflow::WorkflowStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use crate::conditions::Verdict;
use crate::judged::Judge;
use crate::runs::compile;

impl Judge for Workflow {
    const FIELD_MANAGER: &str = "workflow-controller";
    const READY: &str = workflow::READY;

    fn judge(&self) -> Verdict {
        match compile(self) {
            Ok(_) => Verdict::holds(
                reason::WORKFLOW_VALID,
                "schema and templates hold; what they render is judged per run",
            ),
            Err(message) => Verdict::fails(reason::WORKFLOW_INVALID, message),
        }
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn status(&self, conditions: Vec<Condition>) -> Value {
        json!(WorkflowStatus { observed_generation: self.metadata.generation, conditions })
    }
}
