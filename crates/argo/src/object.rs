//! The objects themselves, usable through any Kubernetes client by way of `k8s_openapi`'s traits.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::read::{ReadError, read};
use crate::spec::WorkflowSpec;
use crate::status::WorkflowStatus;

/// The API group of Argo Workflows.
pub const GROUP: &str = "argoproj.io";
/// The version of the group.
pub const VERSION: &str = "v1alpha1";
/// Group and version.
pub const API_VERSION: &str = "argoproj.io/v1alpha1";

macro_rules! kind {
    ($(#[$meta:meta])* $name:ident, $kind:literal, $plural:literal, $list:literal, $scope:ident $(, $status:ident)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            #[serde(rename = "apiVersion", default = "api_version")]
            api_version: String,
            #[serde(default = $kind)]
            kind: String,
            /// Standard object metadata.
            #[serde(default)]
            pub metadata: ObjectMeta,
            /// The specification as it came from the API; [`Self::spec`] reads it.
            #[serde(rename = "spec", default, skip_serializing_if = "Value::is_null")]
            pub raw_spec: Value,
            $(
            /// The status as it came from the API; [`Self::status`] reads it.
            #[serde(rename = "status", default, skip_serializing_if = "Value::is_null")]
            pub $status: Value,
            )?
            /// Fields this version does not know.
            #[serde(flatten)]
            pub other: BTreeMap<String, Value>,
        }

        impl $name {
            fn kind() -> String {
                stringify!($name).to_owned()
            }

            /// An object with this metadata and specification.
            pub fn new(metadata: ObjectMeta, spec: Value) -> Self {
                Self {
                    api_version: api_version(),
                    kind: Self::kind(),
                    metadata,
                    raw_spec: spec,
                    $($status: Value::Null,)?
                    other: BTreeMap::new(),
                }
            }

            /// The specification in typed form.
            ///
            /// # Errors
            /// The path of the first field that does not have the type Argo's API gives it.
            pub fn spec(&self) -> Result<WorkflowSpec, ReadError> {
                if self.raw_spec.is_null() {
                    return Err(ReadError::new("spec", "is missing"));
                }
                read("spec", &self.raw_spec)
            }
        }

        impl k8s_openapi::Resource for $name {
            const API_VERSION: &'static str = API_VERSION;
            const GROUP: &'static str = GROUP;
            const KIND: &'static str = stringify!($name);
            const VERSION: &'static str = VERSION;
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = k8s_openapi::$scope;
        }

        impl k8s_openapi::ListableResource for $name {
            const LIST_KIND: &'static str = $list;
        }

        impl k8s_openapi::Metadata for $name {
            type Ty = ObjectMeta;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

kind!(
    /// A run: what to execute and how far it has come. Argo keeps its status in the object itself, not in a subresource.
    Workflow, "Workflow::kind", "workflows", "WorkflowList", NamespaceResourceScope, raw_status
);

kind!(
    /// Templates shared within one namespace.
    WorkflowTemplate, "WorkflowTemplate::kind", "workflowtemplates", "WorkflowTemplateList", NamespaceResourceScope
);

kind!(
    /// Templates shared by all namespaces.
    ClusterWorkflowTemplate, "ClusterWorkflowTemplate::kind", "clusterworkflowtemplates", "ClusterWorkflowTemplateList", ClusterResourceScope
);

impl Workflow {
    /// The status in typed form; a workflow nobody has looked at yet has an empty one.
    ///
    /// # Errors
    /// The path of the first field that does not have the type Argo's API gives it.
    pub fn status(&self) -> Result<WorkflowStatus, ReadError> {
        if self.raw_status.is_null() {
            Ok(WorkflowStatus::default())
        } else {
            read("status", &self.raw_status)
        }
    }
}

fn api_version() -> String {
    API_VERSION.to_owned()
}
