//! Tokens: asked for (`serviceaccounts/token`), and held up for review (`tokenreviews`).

use axum::body::Body;
use buildplane_apimachinery::field::FieldError;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::response;
use crate::kinds;
use crate::object;
use crate::tokens::{Claims, Private, Reference};
use crate::verbs::incoming;

const MIN_SECONDS: i64 = 600;
/// What Kubernetes takes at most; the server's own limit then shortens it without a word, as there.
const MAX_SECONDS: i64 = 1 << 32;
const DEFAULT_SECONDS: i64 = 3_600;
const MAX_AUDIENCES: usize = 16;
const MAX_AUDIENCE_BYTES: usize = 256;

/// `POST …/serviceaccounts/{name}/token`
pub(crate) async fn request(call: &mut Call, body: Body) -> ApiResult<Response<Body>> {
    let kind = kinds::token_request();
    let dry_run = call.query.dry_run()?;
    let mut request = incoming::read_as(call, kind, body).await?;
    let spec = &mut request["spec"];
    if spec["expirationSeconds"].is_null() {
        spec["expirationSeconds"] = DEFAULT_SECONDS.into();
    }
    if spec["audiences"].as_array().is_none_or(Vec::is_empty) {
        spec["audiences"] = json!(call.api.tokens.audiences());
    }
    incoming::check_types(kind, &request)?;
    let errors = invalid(&request["spec"]);
    if !errors.is_empty() {
        return Err(ApiError::invalid(kind, object::name(&request), &errors));
    }
    let account = stored(call, "serviceaccounts", &call.name)
        .ok_or_else(|| ApiError::not_found(&call.kind, &call.name))?;
    let wanted = object::name(&request);
    if !wanted.is_empty() && wanted != call.name {
        return Err(ApiError::bad_request(
            "name in the TokenRequest must match the name of the service account in the path",
        ));
    }
    let namespace = call.namespace.clone().unwrap_or_default();
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    let seconds =
        seconds.min(i64::try_from(call.api.config.max_token_lifetime.as_secs()).unwrap_or(MAX_SECONDS));
    let (pod, secret) = bound_object(call, &request["spec"]["boundObjectRef"])?;
    let expires = call
        .now
        .checked_add(SignedDuration::from_secs(seconds))
        .map_err(|error| ApiError::internal(format_args!("the token would never end: {error}")))?;
    let reference = Reference { name: call.name.clone(), uid: object::uid(&account).to_owned() };
    let audiences = request["spec"]["audiences"].as_array().into_iter().flatten();
    let claims = Claims {
        aud: audiences.filter_map(Value::as_str).map(str::to_owned).collect(),
        exp: expires.as_second(),
        iat: call.now.as_second(),
        iss: call.api.tokens.issuer().to_owned(),
        jti: Uuid::new_v4().to_string(),
        private: Private { namespace: namespace.clone(), pod, secret, serviceaccount: reference },
        nbf: call.now.as_second(),
        sub: format!("system:serviceaccount:{namespace}:{}", call.name),
    };
    // A rehearsal makes nothing that could be used.
    let token =
        if dry_run { String::new() } else { call.api.tokens.sign(&claims).map_err(ApiError::internal)? };
    let metadata = object::metadata_mut(&mut request);
    metadata.insert("name".into(), call.name.clone().into());
    metadata.insert("namespace".into(), namespace.into());
    metadata.insert("creationTimestamp".into(), object::time(call.now).into());
    request["spec"]["expirationSeconds"] = seconds.into();
    request["status"] = json!({"token": token, "expirationTimestamp": object::time(whole(expires))});
    Ok(response::json(StatusCode::CREATED, &request))
}

/// The moment as the token's claim has it, in whole seconds.
fn whole(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

fn invalid(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    let mut refuse = |why| errors.push(FieldError::invalid("spec.expirationSeconds", seconds, why));
    if seconds < MIN_SECONDS {
        refuse("may not specify a duration less than 10 minutes");
    }
    if seconds > MAX_SECONDS {
        refuse("may not specify a duration larger than 2^32 seconds");
    }
    let audiences = spec["audiences"].as_array().map(Vec::as_slice).unwrap_or_default();
    if audiences.len() > MAX_AUDIENCES {
        errors.push(FieldError::too_many("spec.audiences", audiences.len() as u64, MAX_AUDIENCES as u64));
    }
    for (index, audience) in audiences.iter().enumerate() {
        let audience = audience.as_str().unwrap_or_default();
        if audience.is_empty() {
            errors.push(FieldError::required(format!("spec.audiences[{index}]"), ""));
        } else if audience.len() > MAX_AUDIENCE_BYTES {
            errors.push(FieldError::too_long(format!("spec.audiences[{index}]"), MAX_AUDIENCE_BYTES as u64));
        }
    }
    errors
}

fn stored(call: &Call, plural: &str, name: &str) -> Option<Value> {
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let entry = call.api.store.get(&format!("/core/{plural}/{namespace}/{name}"))?;
    object::decode(&entry).ok()
}

/// The Pod or Secret without which the token is to be worth nothing.
fn bound_object(call: &Call, bound: &Value) -> ApiResult<(Option<Reference>, Option<Reference>)> {
    if bound.is_null() {
        return Ok((None, None));
    }
    let text = |field: &str| bound[field].as_str().unwrap_or_default();
    let plural = match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => "pods",
        ("v1", "Secret") => "secrets",
        (version, kind) => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount \"{}\" to object of type {version}, Kind={kind}; v1 Pod and v1 Secret can be",
                call.name
            )));
        }
    };
    let (name, asked) = (text("name"), text("uid"));
    let kinds = call.api.kinds();
    let Some(kind) = kinds.find("", "v1", plural) else { return Err(ApiError::no_such_resource()) };
    let found = stored(call, plural, name).ok_or_else(|| ApiError::not_found(kind, name))?;
    let uid = object::uid(&found);
    if !asked.is_empty() && asked != uid {
        return Err(ApiError::conflict(
            kind,
            name,
            &format!(
                "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    if plural == "pods" && found["spec"]["serviceAccountName"].as_str().unwrap_or("default") != call.name {
        return Err(ApiError::bad_request(format!(
            "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.",
            call.name
        )));
    }
    let reference = Some(Reference { name: name.to_owned(), uid: uid.to_owned() });
    Ok(if plural == "pods" { (reference, None) } else { (None, reference) })
}

/// `POST …/tokenreviews`: the status of one.
pub(crate) fn review(call: &Call, spec: &Value) -> ApiResult<Value> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let asked: Vec<String> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let wanted = if asked.is_empty() { call.api.tokens.audiences() } else { &asked };
    Ok(match call.api.tokens.verify(&call.api, token, wanted) {
        Ok(verified) => json!({
            "authenticated": true, "user": verified.identity.info(), "audiences": verified.audiences,
        }),
        Err(refusal) => {
            tracing::debug!(%refusal, "a reviewed token was refused");
            json!({"user": {}, "error": format!("invalid bearer token: {refusal}")})
        }
    })
}
