//! Objects: between text, value and store.

use buildplane_store::{Entry, Value as StoreValue};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, ApiResult};

/// The text of an object with the place for its `resourceVersion` left open, for the store to fill.
pub(crate) fn encode(object: &Value) -> StoreValue {
    let mut out = Vec::with_capacity(1_024);
    let mut hole = None;
    let Some(map) = object.as_object() else { return StoreValue::plain(out) };
    out.push(b'{');
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json(&mut out, key);
        out.push(b':');
        match value.as_object() {
            Some(metadata) if key == "metadata" => hole = Some(encode_metadata(&mut out, metadata)),
            _ => write_json(&mut out, value),
        }
    }
    out.push(b'}');
    match hole {
        Some(offset) => StoreValue::with_revision_at(out, offset),
        None => StoreValue::plain(out),
    }
}

fn encode_metadata(out: &mut Vec<u8>, metadata: &Map<String, Value>) -> usize {
    const NAME: &str = "resourceVersion";
    let mut hole = None;
    out.push(b'{');
    let mut first = true;
    for (key, value) in metadata.iter().filter(|(key, _)| *key != NAME) {
        if hole.is_none() && key.as_str() > NAME {
            hole = Some(open_hole(out, first));
            first = false;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        write_json(out, key);
        out.push(b':');
        write_json(out, value);
    }
    let hole = hole.unwrap_or_else(|| open_hole(out, first));
    out.push(b'}');
    hole
}

fn open_hole(out: &mut Vec<u8>, first: bool) -> usize {
    if !first {
        out.push(b',');
    }
    out.extend_from_slice(b"\"resourceVersion\":\"");
    let hole = out.len();
    out.push(b'"');
    hole
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Strings and Values always serialise, and a Vec takes everything.
    drop(serde_json::to_writer(out, value));
}

/// A stored object as a value.
pub(crate) fn decode(entry: &Entry) -> ApiResult<Value> {
    decode_bytes(&entry.value)
}

pub(crate) fn decode_bytes(bytes: &Bytes) -> ApiResult<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::internal(format_args!("stored object is unreadable: {error}")))
}

pub(crate) fn metadata(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.as_object()
}

pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    match metadata {
        Value::Object(map) => map,
        _ => unreachable!("metadata was made an object above"),
    }
}

/// A string of `metadata`, empty when absent.
pub(crate) fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    meta_str(object, "name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    meta_str(object, "namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    meta_str(object, "uid")
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether stored text may be of an object that is being deleted; most is told apart without parsing.
pub(crate) fn mentions_deletion(text: &[u8]) -> bool {
    const MARK: &[u8] = b"\"deletionTimestamp\"";
    text.windows(MARK.len()).any(|window| window == MARK)
}

pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

pub(crate) fn add_finalizer(object: &mut Value, finalizer: &str) {
    if finalizers(object).contains(&finalizer) {
        return;
    }
    let list = metadata_mut(object).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.push(finalizer.into());
    }
}

pub(crate) fn remove_finalizer(object: &mut Value, finalizer: &str) {
    let metadata = metadata_mut(object);
    if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        list.retain(|entry| entry != finalizer);
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
}

/// A time as Kubernetes writes it in `metav1.Time`.
pub(crate) fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The part of an object that selectors look at, read without building the rest.
#[derive(Deserialize)]
pub(crate) struct MetadataOnly {
    #[serde(default)]
    pub(crate) metadata: Labels,
}

#[derive(Deserialize, Default)]
pub(crate) struct Labels {
    #[serde(default)]
    pub(crate) labels: Option<Map<String, Value>>,
}

#[cfg(test)]
mod tests {
    use buildplane_store::{Expect, Store};

    use super::*;

    #[tokio::test]
    async fn stored_objects_carry_their_revision_wherever_metadata_stands() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), buildplane_store::Config::default()).unwrap();
        for object in [
            json!({"apiVersion": "v1", "data": {"resourceVersion": ""}, "metadata": {"name": "a", "uid": "u"}}),
            json!({"metadata": {"resourceVersion": "77"}, "spec": {}}),
            json!({"metadata": {"uid": "u"}}),
            json!({"metadata": {}}),
            json!({"metadata": {"annotations": {"k": "\"resourceVersion\":\"\""}}, "z": 1}),
        ] {
            let entry = store.write("k", encode(&object), Expect::Anything).await.unwrap();
            let mut expected = object.clone();
            expected["metadata"]["resourceVersion"] = entry.revision.to_string().into();
            assert_eq!(decode(&entry).unwrap(), expected);
        }
    }
}
