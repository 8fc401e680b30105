//! Fields that are refused because the engine would have to ignore them, and names and values that cannot work.
//!
//! What only concerns placement, metrics or archiving on a cluster is left out without harm and is listed here.

use std::collections::{BTreeMap, BTreeSet};

use buildplane_argo::WorkflowSpec;
use buildplane_argo::template::{Container, Parameter, RetryStrategy, Step, Template};
use serde_json::Value;

use crate::core::limits::Limits;
use crate::core::validate::{Invalid, is_number_or_variable};

const ELSEWHERE: &str = "remove it, or run this workflow where Argo Workflows runs";

/// Fields without meaning on a machine of one's own.
const HARMLESS_IN_WORKFLOW: [&str; 15] = [
    "archiveLogs",
    "artifactGC",
    "artifactRepositoryRef",
    "dnsConfig",
    "dnsPolicy",
    "executor",
    "imagePullSecrets",
    "metrics",
    "podDisruptionBudget",
    "podPriority",
    "podPriorityClassName",
    "priority",
    "schedulerName",
    "templates",
    "tolerations",
];
const HARMLESS_IN_TEMPLATE: [&str; 8] = [
    "annotations",
    "archiveLocation",
    "executor",
    "metrics",
    "priorityClassName",
    "schedulerName",
    "tolerations",
    "failFast",
];
const HARMLESS_IN_CONTAINER: [&str; 4] =
    ["ports", "resizePolicy", "terminationMessagePath", "terminationMessagePolicy"];
/// The kinds of volumes a step can have.
const VOLUMES: [&str; 4] = ["secret", "emptyDir", "persistentVolumeClaim", "configMap"];

pub(crate) fn workflow(spec: &WorkflowSpec) -> Result<(), Invalid> {
    unsupported("spec", &spec.other, &HARMLESS_IN_WORKFLOW)?;
    if spec.template_defaults.as_ref().is_some_and(|value| !is_inert(value)) {
        return refuse("spec.templateDefaults", "write its fields into the templates");
    }
    if spec.retry_strategy.is_some() {
        return refuse("spec.retryStrategy", "write it into the templates");
    }
    if spec.automount_service_account_token == Some(true) {
        return refuse("spec.automountServiceAccountToken", "steps get no token: remove it");
    }
    one_of("spec.shutdown", spec.shutdown.as_deref(), &["Stop", "Terminate"])?;
    one_of(
        "spec.volumeClaimGC.strategy",
        spec.volume_claim_gc.as_ref().and_then(|gc| gc.strategy.as_deref()),
        &["OnWorkflowCompletion", "OnWorkflowSuccess"],
    )?;
    if let Some(gc) = &spec.pod_gc {
        unsupported("spec.podGC", &gc.other, &[])?;
        one_of(
            "spec.podGC.strategy",
            gc.strategy.as_deref(),
            &["OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess"],
        )?;
        if gc
            .delete_delay_duration
            .as_deref()
            .is_some_and(|text| crate::core::retry::duration(text).is_none())
        {
            return Err(Invalid::field("spec.podGC.deleteDelayDuration", "is no duration such as 30s"));
        }
    }
    if spec.parallelism.is_some_and(|limit| limit < 1) {
        return Err(Invalid::field("spec.parallelism", "must be at least 1"));
    }
    if spec.active_deadline_seconds.is_some_and(|seconds| seconds < 1) {
        return Err(Invalid::field("spec.activeDeadlineSeconds", "must be at least 1"));
    }
    unsupported("spec.arguments", &spec.arguments.other, &[])?;
    for parameter in &spec.arguments.parameters {
        let path = format!("spec.arguments.parameters.{}", parameter.name);
        named("spec.arguments.parameters", &parameter.name)?;
        if parameter.value_from.is_some() {
            return refuse(format!("{path}.valueFrom"), "give the value itself");
        }
        if parameter.value.is_none() && parameter.default.is_none() {
            return Err(Invalid::field(path, "was not supplied: give it a value"));
        }
    }
    unique(
        "spec.arguments.parameters",
        spec.arguments.parameters.iter().map(|parameter| parameter.name.as_str()),
    )?;
    unique("spec.templates", spec.templates.iter().map(|template| template.name.as_str()))?;
    volumes("spec.volumes", &spec.volumes)?;
    for (index, claim) in spec.volume_claim_templates.iter().enumerate() {
        let path = format!("spec.volumeClaimTemplates[{index}]");
        named(&format!("{path}.metadata.name"), claim["metadata"]["name"].as_str().unwrap_or_default())?;
        if !claim["spec"].is_object() {
            return Err(Invalid::field(format!("{path}.spec"), "is missing"));
        }
    }
    Ok(())
}

pub(crate) fn template(path: &str, template: &Template) -> Result<(), Invalid> {
    named(&format!("{path}.name"), &template.name)?;
    unsupported(path, &template.other, &HARMLESS_IN_TEMPLATE)?;
    if template.automount_service_account_token == Some(true) {
        return refuse(format!("{path}.automountServiceAccountToken"), "steps get no token: remove it");
    }
    let kinds = [
        ("container", template.container.is_some()),
        ("script", template.script.is_some()),
        ("steps", template.steps.is_some()),
        ("dag", template.dag.is_some()),
    ];
    let kinds: Vec<&str> = kinds.iter().filter(|(_, there)| *there).map(|(kind, _)| *kind).collect();
    match kinds.as_slice() {
        [_] => {}
        [] => return Err(Invalid::field(path, "has nothing to run: add container, script, steps or dag")),
        many => {
            return Err(Invalid::field(
                path,
                format!("has {} at once: keep one of them", many.join(" and ")),
            ));
        }
    }
    inputs_and_outputs(path, template)?;
    volumes(&format!("{path}.volumes"), &template.volumes)?;
    if let Some(seconds) = &template.active_deadline_seconds
        && !is_number_or_variable(seconds)
    {
        return Err(Invalid::field(format!("{path}.activeDeadlineSeconds"), "is no number of seconds"));
    }
    if let Some(strategy) = &template.retry_strategy {
        retry(&format!("{path}.retryStrategy"), strategy)?;
    }
    if let Some(found) = &template.container {
        container(&format!("{path}.container"), found)?;
    }
    if let Some(script) = &template.script {
        container(&format!("{path}.script"), &script.container)?;
        if script.container.command.is_empty() {
            return Err(Invalid::field(format!("{path}.script.command"), "is missing: name the interpreter"));
        }
    }
    for (index, group) in template.steps.iter().flatten().enumerate() {
        unique(&format!("{path}.steps[{index}]"), group.iter().map(|step| step.name.as_str()))?;
    }
    let all_steps = template.steps.iter().flatten().flatten().map(|step| step.name.as_str());
    unique(&format!("{path}.steps"), all_steps)?;
    if let Some(dag) = &template.dag {
        unsupported(&format!("{path}.dag"), &dag.other, &[])?;
        unique(&format!("{path}.dag.tasks"), dag.tasks.iter().map(|task| task.name.as_str()))?;
    }
    Ok(())
}

fn inputs_and_outputs(path: &str, template: &Template) -> Result<(), Invalid> {
    unsupported(&format!("{path}.inputs"), &template.inputs.other, &[])?;
    unsupported(&format!("{path}.outputs"), &template.outputs.other, &[])?;
    let is_leaf = template.container.is_some() || template.script.is_some();
    for input in &template.inputs.parameters {
        let path = format!("{path}.inputs.parameters.{}", input.name);
        parameter(&path, input)?;
        if input.value_from.is_some() {
            return refuse(format!("{path}.valueFrom"), "give the value itself, or a default");
        }
    }
    for output in &template.outputs.parameters {
        let path = format!("{path}.outputs.parameters.{}", output.name);
        parameter(&path, output)?;
        let from = output.value_from.as_ref();
        let (file, variable) =
            (from.and_then(|from| from.path.as_ref()), from.and_then(|from| from.parameter.as_ref()));
        match (is_leaf, file, variable) {
            (true, Some(file), _) if file.starts_with('/') => {}
            (true, Some(_), _) => {
                return Err(Invalid::field(format!("{path}.valueFrom.path"), "must start with a slash"));
            }
            (true, None, _) => {
                return Err(Invalid::field(
                    format!("{path}.valueFrom.path"),
                    "is missing: name the file to read",
                ));
            }
            (false, _, Some(_)) => {}
            (false, _, None) => {
                let problem = "is missing: name a variable such as {{steps.a.outputs.parameters.b}}";
                return Err(Invalid::field(format!("{path}.valueFrom.parameter"), problem));
            }
        }
    }
    let names = |list: &[Parameter]| list.iter().map(|parameter| parameter.name.clone()).collect::<Vec<_>>();
    unique(
        &format!("{path}.inputs.parameters"),
        names(&template.inputs.parameters).iter().map(String::as_str),
    )?;
    unique(
        &format!("{path}.outputs.parameters"),
        names(&template.outputs.parameters).iter().map(String::as_str),
    )
}

fn parameter(path: &str, parameter: &Parameter) -> Result<(), Invalid> {
    named(path, &parameter.name)?;
    unsupported(path, &parameter.other, &[])?;
    match &parameter.value_from {
        Some(from) => unsupported(&format!("{path}.valueFrom"), &from.other, &[]),
        None => Ok(()),
    }
}

pub(crate) fn step(path: &str, step: &Step, limits: &Limits) -> Result<(), Invalid> {
    named(path, &step.name)?;
    unsupported(path, &step.other, &[])?;
    unsupported(&format!("{path}.arguments"), &step.arguments.other, &[])?;
    if step.with_items.is_some() && step.with_param.is_some() {
        return Err(Invalid::field(path, "has withItems and withParam at once: keep one of them"));
    }
    let members = step.with_items.as_ref().map_or(0, Vec::len);
    if members > limits.items {
        let problem =
            format!("has {members} members, more than the {} allowed: make the loop smaller", limits.items);
        return Err(Invalid::field(format!("{path}.withItems"), problem));
    }
    if !step.dependencies.is_empty() && path.contains(".steps[") {
        return refuse(format!("{path}.dependencies"), "use a dag");
    }
    for argument in &step.arguments.parameters {
        let path = format!("{path}.arguments.parameters.{}", argument.name);
        parameter(&path, argument)?;
        if argument.value_from.as_ref().is_some_and(|from| from.path.is_some()) {
            return refuse(format!("{path}.valueFrom.path"), "give the value itself");
        }
    }
    unique(
        &format!("{path}.arguments.parameters"),
        step.arguments.parameters.iter().map(|given| given.name.as_str()),
    )
}

fn container(path: &str, container: &Container) -> Result<(), Invalid> {
    unsupported(path, &container.other, &HARMLESS_IN_CONTAINER)?;
    if container.image.is_empty() {
        return Err(Invalid::field(format!("{path}.image"), "is missing: name an image"));
    }
    for (index, variable) in container.env.iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        if variable["name"].as_str().unwrap_or_default().is_empty() {
            return Err(Invalid::field(format!("{path}.name"), "is missing"));
        }
        match variable.get("value") {
            None | Some(Value::String(_) | Value::Null) => {}
            Some(_) => {
                return Err(Invalid::field(format!("{path}.value"), "must be a string: put it in quotes"));
            }
        }
    }
    Ok(())
}

fn retry(path: &str, strategy: &RetryStrategy) -> Result<(), Invalid> {
    unsupported(path, &strategy.other, &[])?;
    one_of(
        &format!("{path}.retryPolicy"),
        strategy.retry_policy.as_deref(),
        &["Always", "OnFailure", "OnError", "OnTransientError"],
    )?;
    if strategy.limit.as_ref().is_some_and(|limit| !is_number_or_variable(limit)) {
        return Err(Invalid::field(format!("{path}.limit"), "is no number"));
    }
    let Some(backoff) = &strategy.backoff else { return Ok(()) };
    unsupported(&format!("{path}.backoff"), &backoff.other, &[])?;
    if backoff.duration.is_none() {
        return Err(Invalid::field(format!("{path}.backoff.duration"), "is missing"));
    }
    for (field, text) in
        [("duration", &backoff.duration), ("maxDuration", &backoff.max_duration), ("cap", &backoff.cap)]
    {
        if text.as_ref().is_some_and(|text| crate::core::retry::duration(text.as_str()).is_none()) {
            return Err(Invalid::field(format!("{path}.backoff.{field}"), "is no duration such as 30s"));
        }
    }
    match &backoff.factor {
        Some(factor) if factor.as_str().parse::<u32>().is_err() => {
            Err(Invalid::field(format!("{path}.backoff.factor"), "is no whole number"))
        }
        Some(_) | None => Ok(()),
    }
}

fn volumes(path: &str, volumes: &[Value]) -> Result<(), Invalid> {
    for (index, volume) in volumes.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let fields = volume.as_object().ok_or_else(|| Invalid::field(&path, "is no object"))?;
        named(&format!("{path}.name"), fields.get("name").and_then(Value::as_str).unwrap_or_default())?;
        for (field, value) in fields {
            if field != "name" && !is_inert_source(field, value) && !VOLUMES.contains(&field.as_str()) {
                return refuse(
                    format!("{path}.{field}"),
                    "use secret, configMap, emptyDir, persistentVolumeClaim or volumeClaimTemplates",
                );
            }
        }
    }
    unique(path, volumes.iter().filter_map(|volume| volume["name"].as_str()))
}

/// `emptyDir: {}` says something, other empty values do not.
fn is_inert_source(field: &str, value: &Value) -> bool {
    field != "emptyDir" && value.is_null()
}

fn unsupported(path: &str, other: &BTreeMap<String, Value>, harmless: &[&str]) -> Result<(), Invalid> {
    // An empty `suspend` means to wait for somebody.
    let says = |field: &str, value: &Value| !is_inert(value) || (field == "suspend" && value.is_object());
    let found = other.iter().find(|(field, value)| !harmless.contains(&field.as_str()) && says(field, value));
    match found {
        Some((field, _)) => refuse(format!("{path}.{field}"), ELSEWHERE),
        None => Ok(()),
    }
}

fn refuse(path: impl Into<String>, remedy: &'static str) -> Result<(), Invalid> {
    Err(Invalid::Unsupported { path: path.into(), remedy })
}

/// Whether a value means the same as its absence.
fn is_inert(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn one_of(path: &str, value: Option<&str>, allowed: &[&str]) -> Result<(), Invalid> {
    match value {
        Some(value) if !value.is_empty() && !allowed.contains(&value) => {
            Err(Invalid::field(path, format!("\"{value}\" is none of {}", allowed.join(", "))))
        }
        Some(_) | None => Ok(()),
    }
}

/// Names become parts of node and variable names.
fn named(path: &str, name: &str) -> Result<(), Invalid> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() {
        return Err(Invalid::field(path, "has no name"));
    }
    if name.len() > 128 || !name.bytes().all(plain) {
        let shown: String = name.chars().take(128).collect();
        let problem = format!("\"{shown}\" is no name: use up to 128 letters, digits, - and _");
        return Err(Invalid::field(path, problem));
    }
    Ok(())
}

fn unique<'n>(path: &str, names: impl Iterator<Item = &'n str>) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Invalid::field(path, format!("\"{name}\" is there twice: rename one of them")));
        }
    }
    Ok(())
}
