//! The rules for the spec of a Workflow: what would give a step more than its sandbox, wherever it stands.

use serde_json::{Map, Value};

use crate::fold::is_field;
use crate::manifest::doubled_keys;
use crate::run::SERVICE_ACCOUNT;
use crate::violation::Violation;

/// Nesting beyond this is refused; no manifest needs it.
const MAX_DEPTH: usize = 64;
/// More findings than these help nobody.
const MAX_VIOLATIONS: usize = 20;

/// Fields that may not be there at all, and why.
const FORBIDDEN: [(&str, &str); 11] = [
    ("podSpecPatch", "could change the pod past every check"),
    ("hostPath", "opens the host's files"),
    ("hostPort", "opens a port of the host"),
    ("hostIP", "opens a port of the host"),
    ("nodeName", "chooses a host past the scheduler"),
    ("artifactGC", "runs a pod under an account of its own"),
    ("serviceAccountToken", "hands out a token of the plane's API"),
    ("volumeName", "takes a volume that may be somebody else's"),
    ("sysctls", "changes the kernel's settings"),
    ("seLinuxOptions", "could lift the confinement of the container"),
    ("serviceAccount", "is an old name of serviceAccountName"),
];

/// Fields that may only say no.
const ONLY_FALSE: [&str; 9] = [
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "hostProcess",
    "privileged",
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "shareProcessNamespace",
    "insecureSkipTLS",
];

/// What a template may not be: each acts on the plane's API, or from the engine's own pod, instead of running a step.
const FORBIDDEN_TEMPLATES: [&str; 3] = ["resource", "http", "plugin"];

/// Where a pod may take a volume from.
const VOLUMES: [&str; 7] =
    ["name", "secret", "configMap", "emptyDir", "persistentVolumeClaim", "downwardAPI", "projected"];

/// Annotations through which container runtimes are told what a pod's fields would not say.
const RUNTIME_ANNOTATIONS: [&str; 3] =
    ["container.apparmor.security.beta.kubernetes.io/", "io.kubernetes.cri-o.", "run.oci."];

/// What the claim of a new volume may say; anything else could choose or copy a volume that is somebody else's.
const CLAIM: [&str; 5] =
    ["accessModes", "resources", "storageClassName", "volumeMode", "volumeAttributesClassName"];

/// Judges a Workflow's spec.
pub(crate) fn judge(spec: &Value, path: &str, violations: &mut Vec<Violation>) {
    Walk { violations }.value(spec, path, 0);
}

struct Walk<'v> {
    violations: &'v mut Vec<Violation>,
}

impl Walk<'_> {
    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation::new(path, message));
        }
    }

    fn value(&mut self, value: &Value, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            self.refuse(path, format!("is nested deeper than {MAX_DEPTH} levels"));
            return;
        }
        match value {
            Value::Object(fields) => self.object(fields, path, depth),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &format!("{path}[{index}]"), depth + 1);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, path: &str, depth: usize) {
        for doubled in doubled_keys(fields) {
            self.refuse(&format!("{path}.{doubled}"), "is there twice, in different case");
        }
        for (key, value) in fields {
            let path = format!("{path}.{key}");
            // Go folds some letters beyond ASCII to ASCII ones, such as the Kelvin sign.
            if !key.is_ascii() {
                self.refuse(&path, "is no field: its name is not ASCII");
                continue;
            }
            self.field(key, value, &path);
            self.value(value, &path, depth + 1);
        }
    }

    fn field(&mut self, key: &str, value: &Value, path: &str) {
        let is = |field: &str| is_field(key, field);
        if value.is_null() {
            return;
        }
        if let Some((_, why)) = FORBIDDEN.iter().find(|(field, _)| is(field)) {
            self.refuse(path, format!("is not allowed: it {why}; remove it"));
        } else if ONLY_FALSE.iter().any(|field| is(field)) && *value != Value::Bool(false) {
            self.refuse(path, "is not allowed on a build plane; remove it");
        } else if is("serviceAccountName") && value.as_str() != Some(SERVICE_ACCOUNT) {
            self.refuse(path, format!("must be {SERVICE_ACCOUNT}, the account of builds; or leave it out"));
        } else if is("capabilities") {
            self.capabilities(value, path);
        } else if (is("seccompProfile") || is("appArmorProfile")) && !is_runtime_default(value) {
            self.refuse(path, "is not allowed but for type RuntimeDefault; remove it");
        } else if RUNTIME_ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix)) {
            self.refuse(path, "is not allowed: it speaks to the container runtime; remove it");
        } else if is("volumeClaimTemplates") {
            self.claims(value, path);
        } else if is("procMount") && value.as_str() != Some("Default") {
            self.refuse(path, "is not allowed on a build plane; remove it");
        } else if is("volumes") {
            self.volumes(value, path);
        } else if is("templates") {
            for (index, template) in value.as_array().into_iter().flatten().enumerate() {
                self.template(template, &format!("{path}[{index}]"));
            }
        } else if is("inline") || is("templateDefaults") {
            self.template(value, path);
        }
    }

    fn capabilities(&mut self, value: &Value, path: &str) {
        let adds = value.as_object().into_iter().flatten().any(|(key, value)| {
            is_field(key, "add") && value.as_array().is_none_or(|names| !names.is_empty()) && !value.is_null()
        });
        if adds {
            self.refuse(path, "may not add any; steps that need them are templates of the plane's owner");
        }
    }

    fn volumes(&mut self, value: &Value, path: &str) {
        for (index, volume) in value.as_array().into_iter().flatten().enumerate() {
            for key in volume.as_object().into_iter().flat_map(Map::keys) {
                if !VOLUMES.iter().any(|known| is_field(key, known)) {
                    let path = format!("{path}[{index}].{key}");
                    self.refuse(
                        &path,
                        format!("is not allowed; a volume is one of {}", VOLUMES[1..].join(", ")),
                    );
                }
            }
        }
    }

    fn claims(&mut self, value: &Value, path: &str) {
        for (index, claim) in value.as_array().into_iter().flatten().enumerate() {
            let specs = claim.as_object().into_iter().flatten().filter(|(key, _)| is_field(key, "spec"));
            for (key, value) in specs.filter_map(|(_, spec)| spec.as_object()).flatten() {
                if !value.is_null() && !CLAIM.iter().any(|known| is_field(key, known)) {
                    let path = format!("{path}[{index}].spec.{key}");
                    self.refuse(&path, format!("is not allowed; a claim says {}", CLAIM.join(", ")));
                }
            }
        }
    }

    fn template(&mut self, template: &Value, path: &str) {
        for key in template.as_object().into_iter().flat_map(Map::keys) {
            if FORBIDDEN_TEMPLATES.iter().any(|kind| is_field(key, kind)) {
                let message = "is not allowed: a template runs a container or groups others";
                self.refuse(&format!("{path}.{key}"), message);
            }
        }
    }
}

fn is_runtime_default(profile: &Value) -> bool {
    profile.as_object().is_some_and(|fields| {
        fields.iter().all(|(key, value)| is_field(key, "type") && value.as_str() == Some("RuntimeDefault"))
    })
}
