//! Which fields of a Pod this node understands. Whatever else is set is refused by name, never ignored: a field that
//! asks for isolation, a probe or another image would otherwise seem to work.

use serde_json::Value;

/// Fields of `spec`; those in the second part change nothing here, whatever they say.
const SPEC: &[&str] = &[
    "activeDeadlineSeconds",
    "containers",
    "hostAliases",
    "restartPolicy",
    "securityContext",
    "volumes",
    // No token is ever mounted, no image pulled, nothing scheduled.
    "automountServiceAccountToken",
    "dnsPolicy",
    "enableServiceLinks",
    "hostname",
    "imagePullSecrets",
    "nodeName",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "schedulerName",
    "serviceAccount",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
];

const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "name",
    "resources",
    "securityContext",
    "terminationMessagePolicy",
    "volumeMounts",
    "workingDir",
    "imagePullPolicy",
    "ports",
    "terminationMessagePath",
];

const POD_SECURITY: &[&str] =
    &["runAsGroup", "runAsUser", "seccompProfile", "fsGroup", "fsGroupChangePolicy"];

const CONTAINER_SECURITY: &[&str] = &[
    "capabilities",
    "runAsGroup",
    "runAsUser",
    // Every step has these, whatever is said.
    "allowPrivilegeEscalation",
    "readOnlyRootFilesystem",
    "seccompProfile",
];

const VOLUME_MOUNT: &[&str] = &["mountPath", "name", "readOnly", "mountPropagation", "recursiveReadOnly"];
const VOLUME: &[&str] = &["configMap", "emptyDir", "name", "persistentVolumeClaim", "secret"];
const ENV_SOURCE: &[&str] = &["configMapKeyRef", "secretKeyRef"];

/// The path of the first field that is set and not understood.
pub(crate) fn first_unsupported(spec: &Value) -> Option<String> {
    let containers = items(spec, "containers").filter_map(|(path, container)| {
        let mounts =
            items(container, "volumeMounts").find_map(|(at, mount)| unknown(mount, VOLUME_MOUNT, &at));
        let env = items(container, "env").find_map(|(at, variable)| {
            unknown(variable.get("valueFrom")?, ENV_SOURCE, &format!("{at}.valueFrom"))
        });
        let security = container.get("securityContext");
        let security = security.and_then(|found| unknown(found, CONTAINER_SECURITY, "securityContext"));
        [unknown(container, CONTAINER, ""), security, mounts, env]
            .into_iter()
            .flatten()
            .next()
            .map(|field| format!("{path}.{field}"))
    });
    let pod_security =
        spec.get("securityContext").and_then(|found| unknown(found, POD_SECURITY, "securityContext"));
    let volumes = items(spec, "volumes").find_map(|(at, volume)| unknown(volume, VOLUME, &at));
    let found = unknown(spec, SPEC, "").or(pod_security).or(volumes).or_else(|| { containers }.next());
    found.map(|field| format!("spec.{field}"))
}

fn items<'a>(object: &'a Value, list: &'static str) -> impl Iterator<Item = (String, &'a Value)> {
    let entries = object.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    entries.iter().enumerate().map(move |(index, entry)| (format!("{list}[{index}]"), entry))
}

fn unknown(object: &Value, known: &[&str], at: &str) -> Option<String> {
    let (name, _) = object
        .as_object()?
        .iter()
        .find(|(name, value)| !known.contains(&name.as_str()) && !says_nothing(value))?;
    Some(if at.is_empty() { name.clone() } else { format!("{at}.{name}") })
}

/// Absent, off or empty: as good as not there.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_understood_is_named() {
        for (spec, expected) in [
            (json!({"containers": [{"name": "main", "image": "x"}]}), None),
            (json!({"hostNetwork": false, "initContainers": []}), None),
            (json!({"hostNetwork": true}), Some("spec.hostNetwork")),
            (json!({"initContainers": [{"name": "a"}]}), Some("spec.initContainers")),
            (json!({"runtimeClassName": "gvisor"}), Some("spec.runtimeClassName")),
            (json!({"securityContext": {}}), None),
            (json!({"securityContext": {"sysctls": [{"name": "a"}]}}), Some("spec.securityContext.sysctls")),
            (json!({"volumes": [{"name": "v", "emptyDir": {}}]}), None),
            (
                json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
                Some("spec.volumes[0].hostPath"),
            ),
            (
                json!({"containers": [{"livenessProbe": {"exec": {"command": ["a"]}}}]}),
                Some("spec.containers[0].livenessProbe"),
            ),
            (json!({"containers": [{"tty": true}]}), Some("spec.containers[0].tty")),
            (
                json!({"containers": [{"securityContext": {"privileged": true}}]}),
                Some("spec.containers[0].securityContext.privileged"),
            ),
            (
                json!({"containers": [{"volumeMounts": [{"name": "v"}, {"subPath": "a"}]}]}),
                Some("spec.containers[0].volumeMounts[1].subPath"),
            ),
            (
                json!({"containers": [{"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]}]}),
                Some("spec.containers[0].env[0].valueFrom.fieldRef"),
            ),
        ] {
            assert_eq!(first_unsupported(&spec).as_deref(), expected, "{spec}");
        }
    }
}
