//! Templates: what one step does, or which steps there are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::{Metadata, TemplateRef};
use crate::status::nullable;
use crate::text::AnyString;

/// One template. Exactly one of `container`, `script`, `steps` and `dag` is set, or one this version keeps in `other`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Its name within the object.
    #[serde(default)]
    pub name: String,
    /// What it takes.
    #[serde(default, skip_serializing_if = "Inputs::is_empty", deserialize_with = "nullable")]
    pub inputs: Inputs,
    /// What it hands back.
    #[serde(default, skip_serializing_if = "Outputs::is_empty", deserialize_with = "nullable")]
    pub outputs: Outputs,
    /// Labels and annotations of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// A step that runs a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// A step that runs a script in a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Groups of steps: one group after the other, the members of a group side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Vec<Step>>>,
    /// Tasks that depend on each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag: Option<Dag>,
    /// Volumes of its pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub volumes: Vec<Value>,
    /// The longest its pod may take: a number, or text that becomes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<AnyString>,
    /// Retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_strategy: Option<RetryStrategy>,
    /// Security settings of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Value>,
    /// The account its pod runs under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether its pod sees a token of that account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A container, as far as the engine looks into it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name, which Argo replaces by `main`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// When the image is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// The program and its first arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub command: Vec<String>,
    /// Further arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env: Vec<Value>,
    /// Environment variables taken from whole objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env_from: Vec<Value>,
    /// Where it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Which volumes it sees, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub volume_mounts: Vec<Value>,
    /// What it needs and may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Value>,
    /// Security settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Value>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A container that runs a script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// The script.
    #[serde(default)]
    pub source: String,
    /// The container, whose command is the interpreter.
    #[serde(flatten)]
    pub container: Container,
}

/// Tasks that depend on each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dag {
    /// The tasks.
    #[serde(default, deserialize_with = "nullable")]
    pub tasks: Vec<Step>,
    /// Whether to start nothing new after a failure (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<bool>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A step of a group, or a task of a DAG.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its name, by which others refer to its outputs.
    #[serde(default)]
    pub name: String,
    /// The template it runs, of the same object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The template it runs, of another object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<TemplateRef>,
    /// What the template is given.
    #[serde(default, skip_serializing_if = "Arguments::is_empty", deserialize_with = "nullable")]
    pub arguments: Arguments,
    /// Run it once for each of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_items: Option<Vec<Value>>,
    /// Run it once for each entry of this JSON list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_param: Option<String>,
    /// Run it only if this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Which bad ends of it count as a good one for what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_on: Option<ContinueOn>,
    /// Tasks of a DAG that have to be over first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub dependencies: Vec<String>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Which bad ends count as a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContinueOn {
    /// An error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub error: bool,
    /// A failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// When and how often to try again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryStrategy {
    /// How often to try again; nothing means without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<AnyString>,
    /// After which ends: `Always`, `OnFailure`, `OnError`, `OnTransientError`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<String>,
    /// How long to wait in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// How long to wait between attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// The first pause: seconds, or `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<AnyString>,
    /// By what each further pause grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<AnyString>,
    /// The longest all attempts may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<AnyString>,
    /// The longest pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<AnyString>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A named value: declared, given or handed back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What it is when nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<AnyString>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<AnyString>,
    /// Where its value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
    /// The values it may have.
    #[serde(rename = "enum", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub choices: Vec<AnyString>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<AnyString>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Parameter {
    /// A parameter with a value.
    pub fn with_value(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(AnyString(value.into())), ..Self::default() }
    }

    /// Its value as text.
    pub fn value_str(&self) -> Option<&str> {
        self.value.as_ref().map(AnyString::as_str)
    }
}

/// Where the value of a parameter comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValueFrom {
    /// A file in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A variable in scope, such as `{{steps.a.outputs.parameters.b}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What it is when the source has nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<AnyString>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

macro_rules! parameters {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident),* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The parameters.
            #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
            pub parameters: Vec<Parameter>,
            $(
            $(#[$fmeta])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<String>,
            )*
            /// Fields this version does not know.
            #[serde(flatten)]
            pub other: BTreeMap<String, Value>,
        }

        impl $name {
            /// Whether there is nothing in it.
            pub fn is_empty(&self) -> bool {
                self.parameters.is_empty() && self.other.is_empty() $(&& self.$field.is_none())*
            }
        }
    };
}

parameters!(
    /// What somebody gives.
    Arguments {}
);
parameters!(
    /// What a template takes.
    Inputs {}
);
parameters!(
    /// What a template or node hands back.
    Outputs {
        /// What a script printed.
        result,
        /// How its program ended.
        exit_code
    }
);
