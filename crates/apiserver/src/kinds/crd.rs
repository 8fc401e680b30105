//! CustomResourceDefinitions: what they define, what they get as defaults and status, what is wrong with them.

use std::sync::{Arc, OnceLock};

use buildplane_apimachinery::field::FieldError;
use buildplane_apimachinery::schema::Schema;
use buildplane_apimachinery::table::Columns;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::{Kind, Registry, Source};
use crate::object;

/// Keeps a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The kinds a definition serves. Nothing while its names are refused.
pub(crate) fn kinds(crd: &Value) -> Vec<Arc<Kind>> {
    if !condition(crd, "Established") {
        return Vec::new();
    }
    let spec = &crd["spec"];
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let storage = versions.iter().find(|version| version["storage"] == true);
    let storage_version = storage.and_then(|version| version["name"].as_str()).unwrap_or_default();
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| {
            let mut kind = kind(spec, version, storage_version);
            kind.terminating = object::is_deleting(crd);
            Arc::new(kind)
        })
        .collect()
}

fn kind(spec: &Value, version: &Value, storage_version: &str) -> Kind {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let names = &spec["names"];
    let (group, name, plural) = (text(&spec["group"]), text(&version["name"]), text(&names["plural"]));
    let columns = version["additionalPrinterColumns"].as_array().map(Vec::as_slice).unwrap_or_default();
    Kind {
        kind: text(&names["kind"]),
        list_kind: text(&names["listKind"]),
        singular: text(&names["singular"]),
        short_names: list(&names["shortNames"]),
        categories: list(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        storage_version: storage_version.to_owned(),
        has_status: version["subresources"]["status"].is_object(),
        subresources: &[],
        ephemeral: false,
        read_only: false,
        api_version: format!("{group}/{name}"),
        prefix: format!("/{group}/{plural}/"),
        columns: Columns::from_crd(columns).unwrap_or_else(|error| {
            tracing::warn!(%plural, %group, %error, "printer columns cannot be used");
            Columns::new(Vec::new())
        }),
        source: Source::Custom(Box::new(version["schema"]["openAPIV3Schema"].clone())),
        deprecation: (version["deprecated"] == true).then(|| {
            version["deprecationWarning"].as_str().map_or_else(
                || format!("{group}/{name} {} is deprecated", text(&names["kind"])),
                str::to_owned,
            )
        }),
        terminating: false,
        selectable: version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|field| field["jsonPath"].as_str())
            .map(|path| path.trim_start_matches('.').to_owned())
            .collect(),
        schema: OnceLock::new(),
        group,
        version: name,
        plural,
    }
}

pub(crate) fn condition(crd: &Value, kind: &str) -> bool {
    crd["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Fills in what Kubernetes does.
pub(crate) fn default(crd: &mut Value) {
    let spec = &mut crd["spec"];
    if spec["names"].is_object() {
        let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
        let names = &mut spec["names"];
        if names["singular"].as_str().unwrap_or_default().is_empty() {
            names["singular"] = kind.to_lowercase().into();
        }
        if names["listKind"].as_str().unwrap_or_default().is_empty() {
            names["listKind"] = format!("{kind}List").into();
        }
    }
    if spec.is_object() && spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
}

/// What is wrong with a definition.
pub(crate) fn validate(crd: &Value) -> Vec<FieldError> {
    let spec = &crd["spec"];
    let mut errors = Vec::new();
    let (group, plural) = (spec["group"].as_str().unwrap_or_default(), &spec["names"]["plural"]);
    let plural = plural.as_str().unwrap_or_default();
    let expected = format!("{plural}.{group}");
    if object::name(crd) != expected {
        let why = "must be spec.names.plural+\".\"+spec.group".to_owned();
        errors.push(FieldError::invalid("metadata.name", object::name(crd), why));
    }
    for (field, value) in [
        ("spec.group", group),
        ("spec.names.plural", plural),
        ("spec.names.kind", spec["names"]["kind"].as_str().unwrap_or_default()),
    ] {
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        errors.push(FieldError::not_supported(
            "spec.scope",
            spec["scope"].as_str().unwrap_or_default(),
            ["Cluster", "Namespaced"],
        ));
    }
    if spec["conversion"]["strategy"].as_str().is_some_and(|strategy| strategy != "None") {
        let why = "conversion webhooks are not supported; use strategy None".to_owned();
        errors.push(FieldError::forbidden("spec.conversion.strategy", why));
    }
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", Value::Null, why));
    }
    for (index, version) in versions.iter().enumerate() {
        let field = format!("spec.versions[{index}]");
        let schema = &version["schema"]["openAPIV3Schema"];
        if schema.is_object() {
            if let Err(error) = Schema::from_crd(schema) {
                let field = format!("{field}.schema.openAPIV3Schema");
                errors.push(FieldError::invalid(field, Value::Null, error.to_string()));
            }
        } else {
            let field = format!("{field}.schema.openAPIV3Schema");
            errors.push(FieldError::required(field, "schemas are required"));
        }
        let columns = version["additionalPrinterColumns"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Err(error) = Columns::from_crd(columns) {
            let field = format!("{field}.additionalPrinterColumns");
            errors.push(FieldError::invalid(field, Value::Null, error.to_string()));
        }
    }
    errors
}

/// Writes the status a controller would write a moment later: names accepted or in conflict, established.
pub(crate) fn establish(crd: &mut Value, registry: &Registry, now: Timestamp) {
    let conflict = conflict(crd, registry);
    let (accepted, reason, message) = match &conflict {
        None => ("True", "NoConflicts", "no conflicts found".to_owned()),
        Some((reason, message)) => ("False", *reason, message.clone()),
    };
    let (established, why, text) = match &conflict {
        None => ("True", "InitialNamesAccepted", "the initial names have been accepted"),
        Some(_) => ("False", "NotAccepted", "not all names are accepted"),
    };
    set_condition(crd, "NamesAccepted", [accepted, reason, &message], now);
    if established == "True" || !condition(crd, "Established") {
        set_condition(crd, "Established", [established, why, text], now);
    }
    let names = crd["spec"]["names"].clone();
    let storage = crd["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|version| version["storage"] == true)
        .map(|version| version["name"].clone());
    let status = &mut crd["status"];
    if conflict.is_none() {
        status["acceptedNames"] = names;
    } else if status["acceptedNames"].is_null() {
        status["acceptedNames"] = json!({"kind": "", "plural": ""});
    }
    let stored = status.as_object_mut().map(|map| map.entry("storedVersions").or_insert_with(|| json!([])));
    if let (Some(Value::Array(stored)), Some(storage)) = (stored, storage)
        && !stored.contains(&storage)
    {
        stored.push(storage);
    }
}

fn conflict(crd: &Value, registry: &Registry) -> Option<(&'static str, String)> {
    let spec = &crd["spec"];
    let group = spec["group"].as_str()?;
    let plural = spec["names"]["plural"].as_str()?;
    let others: Vec<_> = registry
        .versions(group)?
        .iter()
        .flat_map(|version| registry.kinds(group, version))
        .filter(|other| other.plural != plural || !other.is_custom())
        .collect();
    let text = |field: &str| spec["names"][field].as_str().unwrap_or_default();
    for other in &others {
        if other.kind == text("kind") {
            return Some(("KindConflict", format!("\"{}\" is already in use", other.kind)));
        }
        if other.list_kind == text("listKind") {
            return Some(("ListKindConflict", format!("\"{}\" is already in use", other.list_kind)));
        }
        if other.plural == plural {
            return Some(("PluralConflict", format!("\"{plural}\" is already in use")));
        }
        let short = spec["names"]["shortNames"].as_array();
        for name in short.into_iter().flatten().filter_map(Value::as_str) {
            if other.short_names.iter().any(|taken| taken == name) {
                return Some(("ShortNamesConflict", format!("\"{name}\" is already in use")));
            }
        }
    }
    None
}

fn set_condition(crd: &mut Value, kind: &str, [status, reason, message]: [&str; 3], now: Timestamp) {
    if !crd["status"].is_object() {
        crd["status"] = json!({});
    }
    let list = &mut crd["status"]["conditions"];
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let mut wanted = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": object::time(now),
    });
    match list.iter_mut().find(|condition| condition["type"] == kind) {
        Some(found) => {
            if found["status"] == status {
                wanted["lastTransitionTime"] = found["lastTransitionTime"].clone();
            }
            *found = wanted;
        }
        None => list.push(wanted),
    }
}
