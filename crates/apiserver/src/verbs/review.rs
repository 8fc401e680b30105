//! Reviews: questions about identities and permissions, answered and not stored.

use axum::body::Body;
use buildplane_apimachinery::rbac::{Attributes, Rule};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::auth::{self, Access};
use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::response;
use crate::identity::Identity;
use crate::verbs::{incoming, token};

pub(crate) async fn review(call: &mut Call, body: Body) -> ApiResult<Response<Body>> {
    let mut review = incoming::read(call, body).await?;
    if review["spec"].is_null() && call.kind.plural != "selfsubjectreviews" {
        review["spec"] = json!({});
    }
    incoming::check_types(&call.kind, &review)?;
    let spec = review["spec"].clone();
    review["status"] = match call.kind.plural.as_str() {
        "selfsubjectreviews" => json!({
            "userInfo": call.identity.info(),
        }),
        "tokenreviews" => token::review(call, &spec)?,
        "selfsubjectaccessreviews" => access(call, &call.identity, &spec)?,
        "subjectaccessreviews" => access(call, &subject(&spec)?, &spec)?,
        "localsubjectaccessreviews" => {
            let namespace = call.namespace.as_deref().unwrap_or_default();
            if spec["resourceAttributes"]["namespace"] != namespace {
                return Err(ApiError::bad_request(
                    "spec.resourceAttributes.namespace must match the namespace of the request",
                ));
            }
            access(call, &subject(&spec)?, &spec)?
        }
        "selfsubjectrulesreviews" => {
            let namespace = spec["namespace"].as_str().filter(|namespace| !namespace.is_empty());
            let Some(namespace) = namespace else {
                return Err(ApiError::bad_request("no namespace on request"));
            };
            rules(&call.api.authorizer.rules(&call.api, &call.identity, Some(namespace)))
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    review["metadata"]["creationTimestamp"] = Value::Null;
    Ok(response::json(StatusCode::CREATED, &review))
}

fn subject(spec: &Value) -> ApiResult<Identity> {
    let groups: Vec<String> = spec["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let user = spec["user"].as_str().unwrap_or_default();
    if user.is_empty() && groups.is_empty() {
        return Err(ApiError::bad_request("spec.user: at least one of user or group must be specified"));
    }
    // As it is asked: no group is added.
    Ok(Identity { groups, ..Identity::new(user, [""; 0]) })
}

fn access(call: &Call, identity: &Identity, spec: &Value) -> ApiResult<Value> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() == path.is_object() {
        return Err(ApiError::bad_request(
            "spec: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    }
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let allowed = if resource.is_object() {
        let [verb, group, plural, sub, name, namespace] =
            ["verb", "group", "resource", "subresource", "name", "namespace"]
                .map(|field| text(resource, field));
        let attributes = Attributes::Resource {
            verb: &verb,
            group: &group,
            resource: &plural,
            subresource: &sub,
            name: &name,
        };
        let namespace = (!namespace.is_empty()).then_some(namespace.as_str());
        auth::allows(&call.api, &Access { identity, namespace, attributes })
    } else {
        let (verb, path) = (text(path, "verb"), text(path, "path"));
        let attributes = Attributes::Path { verb: &verb, path: &path };
        auth::allows(&call.api, &Access { identity, namespace: None, attributes })
    };
    Ok(json!({"allowed": allowed}))
}

fn rules(held: &[Rule]) -> Value {
    let mut resources = vec![json!({
        "verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    })];
    let mut paths = vec![json!({
        "verbs": ["get"],
        "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"],
    })];
    for rule in held {
        if rule.non_resource_urls.is_empty() {
            let mut entry = Map::new();
            entry.insert("verbs".into(), json!(rule.verbs));
            entry.insert("apiGroups".into(), json!(rule.api_groups));
            entry.insert("resources".into(), json!(rule.resources));
            if !rule.resource_names.is_empty() {
                entry.insert("resourceNames".into(), json!(rule.resource_names));
            }
            resources.push(Value::Object(entry));
        } else {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
