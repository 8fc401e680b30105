//! Kubernetes protobuf bodies: kubectl and helm send some kinds so and do not fall back to JSON.
//!
//! `k8s\0` and a `runtime.Unknown` that holds the message. A message is decoded straight into JSON by a table of field
//! numbers; answers are always JSON, which such clients accept.

mod messages;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use messages::Field::{
    self, Bool, Bytes, FieldsV1, Int, Lists, Message, MicroTime, NonZero, Repeated, Text, Time,
};
use wire::Scalar;

const MAGIC: &[u8] = b"k8s\0";
/// No message of Kubernetes nests deeper than a handful.
const MAX_DEPTH: usize = 16;

/// Why a body is not a message we know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtobufError {
    #[error("the body does not start with the protobuf marker k8s\\0")]
    Magic,
    #[error("the protobuf message is malformed")]
    Malformed,
    #[error("{kind} of {api_version} cannot be read from protobuf; send it as JSON")]
    Unknown { api_version: String, kind: String },
    #[error("the protobuf message carries an encoding that is not known: {0}")]
    Encoding(String),
}

/// Decodes a body into the JSON form of its object.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw, mut encoding) =
        (String::new(), String::new(), &[][..], String::new());
    for field in wire::fields(envelope) {
        match field.ok_or(ProtobufError::Malformed)? {
            (1, Scalar::Bytes(meta)) => {
                for field in wire::fields(meta) {
                    match field.ok_or(ProtobufError::Malformed)? {
                        (1, Scalar::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Scalar::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Scalar::Bytes(bytes)) => raw = bytes,
            (3, Scalar::Bytes(bytes)) => encoding = text(bytes)?,
            _ => {}
        }
    }
    if !encoding.is_empty() {
        return Err(ProtobufError::Encoding(encoding));
    }
    let Some(table) = messages::of(&api_version, &kind) else {
        return Err(ProtobufError::Unknown { api_version, kind });
    };
    let mut object = message(table, raw, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

fn text(bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Malformed)
}

fn message(table: messages::Table, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Malformed);
    }
    let mut object = Map::new();
    for field in wire::fields(bytes) {
        let (number, scalar) = field.ok_or(ProtobufError::Malformed)?;
        // Fields of a newer Kubernetes are skipped, as protobuf wants it.
        let Some((_, name, field)) = table.iter().find(|(known, ..)| *known == number) else { continue };
        put(&mut object, name, field, &scalar, depth)?;
    }
    Ok(object)
}

fn put(
    object: &mut Map<String, Value>,
    name: &str,
    field: &Field,
    scalar: &Scalar<'_>,
    depth: usize,
) -> Result<(), ProtobufError> {
    match field {
        Repeated(item) => {
            let item = value(item, scalar, depth)?;
            let list = object.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().ok_or(ProtobufError::Malformed)?.push(item);
        }
        Field::Map(item) => {
            let (key, item) = entry(item, scalar, depth)?;
            let map = object.entry(name).or_insert_with(|| json!({}));
            map.as_object_mut().ok_or(ProtobufError::Malformed)?.insert(key, item);
        }
        Lists => {
            let (key, item) = entry(&Message(messages::STRINGS), scalar, depth)?;
            let map = object.entry(name).or_insert_with(|| json!({}));
            map.as_object_mut().ok_or(ProtobufError::Malformed)?.insert(key, item["items"].clone());
        }
        single => {
            let value = value(single, scalar, depth)?;
            // Go writes empty strings and zero times of fields that are not pointers.
            let absent = value.is_null()
                || value.as_str().is_some_and(str::is_empty)
                || (matches!(single, NonZero) && value == 0);
            if !absent {
                object.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn entry(item: &Field, scalar: &Scalar<'_>, depth: usize) -> Result<(String, Value), ProtobufError> {
    let Scalar::Bytes(bytes) = scalar else { return Err(ProtobufError::Malformed) };
    let (mut key, mut found) = (String::new(), value(item, &Scalar::Bytes(&[]), depth)?);
    for field in wire::fields(bytes) {
        match field.ok_or(ProtobufError::Malformed)? {
            (1, Scalar::Bytes(bytes)) => key = text(bytes)?,
            (2, scalar) => found = value(item, &scalar, depth)?,
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(field: &Field, scalar: &Scalar<'_>, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match (field, scalar) {
        (Text, Scalar::Bytes(bytes)) => text(bytes)?.into(),
        (Bytes, Scalar::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Bool, Scalar::Varint(number)) => (*number != 0).into(),
        (Int | NonZero, Scalar::Varint(number)) => number.cast_signed().into(),
        (Message(table), Scalar::Bytes(bytes)) => Value::Object(message(table, bytes, depth + 1)?),
        (Time, Scalar::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ")?,
        (MicroTime, Scalar::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
        (FieldsV1, Scalar::Bytes(bytes)) => fields_v1(bytes)?,
        _ => return Err(ProtobufError::Malformed),
    })
}

/// Seconds and nanoseconds; nothing at all is the zero time, which JSON leaves out.
fn time(bytes: &[u8], format: &str) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in wire::fields(bytes) {
        match field.ok_or(ProtobufError::Malformed)? {
            (1, Scalar::Varint(number)) => seconds = Some(number.cast_signed()),
            (2, Scalar::Varint(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Malformed)?;
    let time = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed)?;
    Ok(time.strftime(format).to_string().into())
}

fn fields_v1(bytes: &[u8]) -> Result<Value, ProtobufError> {
    for field in wire::fields(bytes) {
        if let (1, Scalar::Bytes(raw)) = field.ok_or(ProtobufError::Malformed)? {
            return serde_json::from_slice(raw).map_err(|_| ProtobufError::Malformed);
        }
    }
    Ok(json!({}))
}

#[cfg(test)]
mod tests;
