//! What a Secret and a condition look like; no I/O.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};

use super::access;
use super::kinds::{Condition, Entry, ExternalSecret, SecretSyncStatus};

/// How an attempt ended.
pub(super) enum Outcome {
    Ready(&'static str),
    Failed(String),
}

/// The value of one key for builds of the namespace `reader`, or why there is none.
pub(super) fn entry(
    entry: &Entry,
    stored: Option<&Secret>,
    reader: Option<&str>,
) -> Result<ByteString, String> {
    let key = &entry.remote_ref.key;
    let Some(stored) = stored else {
        return Err(format!(
            "the stored secret {key:?} does not exist; create it in namespace openchoreo-secrets of the build plane"
        ));
    };
    let data = access::data_for(stored, reader)?;
    match &entry.remote_ref.property {
        Some(property) => data
            .get(property)
            .cloned()
            .ok_or_else(|| format!("the stored secret {key:?} has no property {property:?}")),
        None => match data.values().collect::<Vec<_>>().as_slice() {
            [only] => Ok((*only).clone()),
            several => Err(format!(
                "the stored secret {key:?} has {} properties; say which one in remoteRef.property",
                several.len()
            )),
        },
    }
}

/// The Secret of an ExternalSecret, owned by it.
pub(super) fn secret(object: &ExternalSecret, data: BTreeMap<String, ByteString>) -> Secret {
    let target = &object.spec.target;
    let template = target.template.clone().unwrap_or_default();
    Secret {
        metadata: ObjectMeta {
            name: Some(target.name.clone().unwrap_or_else(|| object.name_any())),
            namespace: object.namespace(),
            labels: (!template.metadata.labels.is_empty()).then_some(template.metadata.labels),
            annotations: (!template.metadata.annotations.is_empty()).then_some(template.metadata.annotations),
            owner_references: object.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some(template.type_.unwrap_or_else(|| "Opaque".to_owned())),
        ..Secret::default()
    }
}

/// The Ready condition; its time changes only when its status does.
pub(super) fn condition(outcome: Outcome, before: Option<&SecretSyncStatus>) -> Condition {
    let (status, reason, message) = match outcome {
        Outcome::Ready(message) => ("True", "SecretSynced", message.to_owned()),
        Outcome::Failed(message) => ("False", "SecretSyncedError", message),
    };
    let since = before
        .and_then(|before| before.conditions.iter().find(|condition| condition.status == status))
        .map_or_else(
            || Timestamp::now().round(jiff::Unit::Second).unwrap_or_else(|_| Timestamp::now()).to_string(),
            |c| c.last_transition_time.clone(),
        );
    Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since,
    }
}
