//! The two objects that are exchanged.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Fields of one head, which bound its size before the message's own bound does.
const MAX_HEADERS: usize = 256;

/// What breaks the protocol.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("not an object of the protocol")]
    Json(#[source] serde_json::Error),
    #[error("the body is not base64")]
    Body(#[source] base64::DecodeError),
    #[error("{0}")]
    Field(&'static str),
}

/// A request, gateway to agent.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) label: Option<Cow<'a, str>>,
    pub(super) target: Cow<'a, str>,
    pub(super) method: Method,
    pub(super) path: Cow<'a, str>,
    pub(super) query: Option<Cow<'a, str>>,
    pub(super) headers: HeaderMap,
}

/// The head of an answer, agent to gateway.
#[derive(Debug)]
pub(super) struct Response<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) failure: Option<Failure>,
}

/// Why the agent has no answer of the target's.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: Option<StatusCode>,
    pub(super) message: String,
}

/// A body that is decoded by whoever wants it, in the message that it came in.
#[derive(Debug, Default)]
pub(super) struct Encoded(Bytes);

impl Encoded {
    pub(super) fn decode(&self) -> Result<Bytes, FrameError> {
        STANDARD.decode(&self.0).map(Bytes::from).map_err(FrameError::Body)
    }

    fn of(text: &Bytes, field: &str) -> Self {
        let field = field.as_bytes();
        let within = text.as_ptr_range();
        let borrowed = within.start <= field.as_ptr() && field.as_ptr_range().end <= within.end;
        // One with escapes was unescaped into memory of its own.
        Self(if borrowed { text.slice_ref(field) } else { Bytes::copy_from_slice(field) })
    }
}

// === writing ===

impl Request<'_> {
    pub(super) fn write(&self, body: &[u8]) -> Utf8Bytes {
        write(self, body)
    }
}

impl Response<'_> {
    pub(super) fn write(&self, body: &[u8]) -> Utf8Bytes {
        write(self, body)
    }
}

/// The head as serde writes it, and the body encoded in its place.
fn write(head: &impl Serialize, body: &[u8]) -> Utf8Bytes {
    let encoded = body.len().div_ceil(3) * 4;
    let mut text = Vec::with_capacity(512 + encoded);
    // A map of texts and numbers always serializes.
    let _infallible = serde_json::to_writer(&mut text, head);
    if !body.is_empty() && text.pop().is_some() {
        text.extend_from_slice(br#","body":""#);
        let begin = text.len();
        text.resize(begin + encoded, 0);
        if let Some(room) = text.get_mut(begin..) {
            let _sized = STANDARD.encode_slice(body, room);
        }
        text.extend_from_slice(br#""}"#);
    }
    Utf8Bytes::try_from(text).unwrap_or_default()
}

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, label, target, method, path, query, headers } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("requestID", id)?;
        if let Some(label) = label {
            map.serialize_entry("gatewayRequestID", label)?;
        }
        map.serialize_entry("target", target)?;
        map.serialize_entry("method", method.as_str())?;
        map.serialize_entry("path", path)?;
        if let Some(query) = query {
            map.serialize_entry("query", query)?;
        }
        if !headers.is_empty() {
            map.serialize_entry("headers", &Headers(headers))?;
        }
        map.end()
    }
}

impl Serialize for Response<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, status, headers, failure } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("requestID", id)?;
        map.serialize_entry("statusCode", &status.as_u16())?;
        if !headers.is_empty() {
            map.serialize_entry("headers", &Headers(headers))?;
        }
        if let Some(Failure { code, message }) = failure {
            let code = code.map_or(0, |code| code.as_u16());
            map.serialize_entry("error", &serde_json::json!({ "code": code, "message": message }))?;
        }
        map.end()
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in self.0.keys() {
            // JSON cannot carry what is no text.
            let values: Vec<&str> =
                self.0.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            map.serialize_entry(name.as_str(), &values)?;
        }
        map.end()
    }
}

// === reading ===

/// Reads an answer; its body stays encoded.
pub(super) fn read_response(text: &Utf8Bytes) -> Result<(Response<'_>, Encoded), FrameError> {
    let fields: Fields<'_> = serde_json::from_str(text).map_err(FrameError::Json)?;
    let id = fields.id()?;
    // The agent's own failures come without a status of their own.
    let status = match (fields.status, &fields.failure) {
        (Some(status), _) if status != 0 => StatusCode::from_u16(status)
            .map_err(|_range| FrameError::Field("statusCode is no HTTP status"))?,
        (_, Some(_failure)) => StatusCode::BAD_GATEWAY,
        (_, None) => return Err(FrameError::Field("statusCode is missing")),
    };
    let body = encoded(text, fields.body.as_deref());
    Ok((Response { id, status, headers: fields.headers.unwrap_or_default(), failure: fields.failure }, body))
}

/// Reads a request; its body stays encoded.
pub(super) fn read_request(text: &Utf8Bytes) -> Result<(Request<'_>, Encoded), FrameError> {
    let fields: Fields<'_> = serde_json::from_str(text).map_err(FrameError::Json)?;
    let id = fields.id()?;
    let method = fields.method.as_deref().and_then(|method| method.parse().ok());
    let body = encoded(text, fields.body.as_deref());
    let request = Request {
        id,
        label: fields.label,
        target: fields.target.unwrap_or_default(),
        method: method.ok_or(FrameError::Field("method is missing or none"))?,
        path: fields.path.ok_or(FrameError::Field("path is missing"))?,
        query: fields.query.filter(|query| !query.is_empty()),
        headers: fields.headers.unwrap_or_default(),
    };
    Ok((request, body))
}

fn encoded(text: &Utf8Bytes, body: Option<&str>) -> Encoded {
    body.map(|body| Encoded::of(text.as_ref(), body)).unwrap_or_default()
}

/// The fields of both objects. Each may stand there once; what is unknown may not be nested deeply.
#[derive(Debug, Default)]
struct Fields<'a> {
    id: Option<Cow<'a, str>>,
    label: Option<Cow<'a, str>>,
    target: Option<Cow<'a, str>>,
    method: Option<Cow<'a, str>>,
    path: Option<Cow<'a, str>>,
    query: Option<Cow<'a, str>>,
    body: Option<Cow<'a, str>>,
    status: Option<u16>,
    headers: Option<HeaderMap>,
    failure: Option<Failure>,
}

impl<'a> Fields<'a> {
    fn id(&self) -> Result<Cow<'a, str>, FrameError> {
        self.id.clone().filter(|id| !id.is_empty()).ok_or(FrameError::Field("requestID is missing or empty"))
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(Text(key)) = map.next_key()? {
                    match &*key {
                        "requestID" => text_once(&mut fields.id, &mut map)?,
                        "gatewayRequestID" => text_once(&mut fields.label, &mut map)?,
                        "target" => text_once(&mut fields.target, &mut map)?,
                        "method" => text_once(&mut fields.method, &mut map)?,
                        "path" => text_once(&mut fields.path, &mut map)?,
                        "query" => text_once(&mut fields.query, &mut map)?,
                        // Go writes an absent list of bytes as null where a field is not left out.
                        "body" => {
                            let body: Option<Text<'de>> = map.next_value()?;
                            once(&mut fields.body, body.unwrap_or_default().0)?;
                        }
                        "statusCode" => once(&mut fields.status, map.next_value()?)?,
                        "headers" => {
                            let headers: Option<HeaderFields> = map.next_value()?;
                            once(&mut fields.headers, headers.unwrap_or_default().0)?;
                        }
                        "error" => {
                            if let Some(ErrorField(failure)) = map.next_value()? {
                                once(&mut fields.failure, failure)?;
                            }
                        }
                        _ => {
                            let Shallow = map.next_value()?;
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

fn text_once<'de, A: MapAccess<'de>>(field: &mut Option<Cow<'de, str>>, map: &mut A) -> Result<(), A::Error> {
    let Text(text) = map.next_value()?;
    once(field, text)
}

fn once<T, E: serde::de::Error>(field: &mut Option<T>, value: T) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_before) => Err(E::custom("a field stands there twice")),
    }
}

/// A text, borrowed from the message unless it holds escapes.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[derive(Default)]
struct HeaderFields(HeaderMap);

impl<'de> Deserialize<'de> for HeaderFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;
        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = HeaderFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of lists of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderFields, A::Error> {
                let mut headers = HeaderMap::new();
                while let Some(Text(name)) = map.next_key()? {
                    let name: HeaderName =
                        name.parse().map_err(|_invalid| A::Error::custom("a header's name is none"))?;
                    if headers.contains_key(&name) {
                        return Err(A::Error::custom("a header stands there twice"));
                    }
                    let values: Option<Vec<Text<'de>>> = map.next_value()?;
                    for Text(value) in values.unwrap_or_default() {
                        let value = HeaderValue::from_str(&value)
                            .map_err(|_invalid| A::Error::custom("a header's value is none"))?;
                        if headers.len() >= MAX_HEADERS {
                            return Err(A::Error::custom("too many headers"));
                        }
                        headers.append(name.clone(), value);
                    }
                }
                Ok(HeaderFields(headers))
            }
        }
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct ErrorField(Failure);

impl<'de> Deserialize<'de> for ErrorField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Raw {
            #[serde(default)]
            code: u16,
            #[serde(default)]
            message: String,
            #[serde(default, rename = "details")]
            _details: Option<Shallow>,
        }
        let Raw { code, message, .. } = Raw::deserialize(deserializer)?;
        let code =
            StatusCode::from_u16(code).ok().filter(|code| code.is_client_error() || code.is_server_error());
        Ok(Self(Failure { code, message }))
    }
}

/// Any value, read over. Unlike serde's own it recurses, so that serde_json's bound on nesting holds.
struct Shallow;

impl<'de> Deserialize<'de> for Shallow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShallowVisitor)
    }
}

struct ShallowVisitor;

impl<'de> Visitor<'de> for ShallowVisitor {
    type Value = Shallow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shallow, E> {
        Ok(Shallow)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shallow, E> {
        Ok(Shallow)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shallow, E> {
        Ok(Shallow)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shallow, E> {
        Ok(Shallow)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shallow, E> {
        Ok(Shallow)
    }

    fn visit_unit<E>(self) -> Result<Shallow, E> {
        Ok(Shallow)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shallow, A::Error> {
        while let Some(Shallow) = seq.next_element()? {}
        Ok(Shallow)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shallow, A::Error> {
        while let Some((Shallow, Shallow)) = map.next_entry()? {}
        Ok(Shallow)
    }
}

#[cfg(test)]
mod tests;
