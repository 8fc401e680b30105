//! Discovery: which groups, versions and resources there are; the aggregated form and the one before it.

use axum::body::Body;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};
use crate::http::response;
use crate::kinds::{Kind, Registry, token_request};
use crate::server::Api;

/// The Kubernetes whose behaviour is served.
pub(crate) const GIT_VERSION: &str = "v1.36.0+buildplane";

pub(crate) fn version() -> Response<Body> {
    response::json(
        StatusCode::OK,
        &json!({
            "major": "1", "minor": "36", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
            "minCompatibilityMinor": "36",
        }),
    )
}

pub(crate) fn root(api: &Api) -> Response<Body> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in api.kinds().groups().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(
        ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    response::json(StatusCode::OK, &json!({"paths": paths}))
}

/// `/api`
pub(crate) fn core(api: &Api, headers: &HeaderMap) -> Response<Body> {
    if let Some(version) = aggregated(headers) {
        return groups_aggregated(api, headers, version, str::is_empty);
    }
    response::json(
        StatusCode::OK,
        &json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
    )
}

/// `/apis`
pub(crate) fn groups(api: &Api, headers: &HeaderMap) -> Response<Body> {
    if let Some(version) = aggregated(headers) {
        return groups_aggregated(api, headers, version, |group| !group.is_empty());
    }
    let kinds = api.kinds();
    let groups: Vec<Value> = kinds
        .groups()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, versions)| described(name, versions))
        .collect();
    response::json(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// `/apis/{group}`
pub(crate) fn group(api: &Api, name: &str) -> ApiResult<Response<Body>> {
    let kinds = api.kinds();
    let versions =
        kinds.versions(name).filter(|_| !name.is_empty()).ok_or_else(ApiError::no_such_resource)?;
    let mut group = described(name, versions);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(response::json(StatusCode::OK, &group))
}

fn described(name: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

/// `/api/v1` and `/apis/{group}/{version}`
pub(crate) fn resources(api: &Api, group: &str, version: &str) -> ApiResult<Response<Body>> {
    let kinds = api.kinds();
    let found = kinds.kinds(group, version);
    if found.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut resources = Vec::new();
    for kind in found {
        resources.push(resource(kind));
        resources.extend(subresources(kind).into_iter().map(|subresource| {
            let mut entry = json!({
                "name": format!("{}/{}", kind.plural, subresource.name), "singularName": "",
                "namespaced": kind.namespaced, "kind": subresource.of.kind, "verbs": subresource.verbs,
            });
            if subresource.of.group != kind.group {
                entry["group"] = subresource.of.group.as_str().into();
                entry["version"] = subresource.of.version.as_str().into();
            }
            entry
        }));
    }
    Ok(response::json(
        StatusCode::OK,
        &json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
            "resources": resources,
        }),
    ))
}

fn resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": kind.verbs(),
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    entry
}

/// What lies below a kind.
struct Subresource<'a> {
    name: &'static str,
    verbs: &'static [&'static str],
    /// The kind that is sent there.
    of: &'a Kind,
}

fn subresources(kind: &Kind) -> Vec<Subresource<'_>> {
    let mut found = Vec::new();
    if kind.has_status {
        found.push(Subresource { name: "status", verbs: &["get", "patch", "update"], of: kind });
    }
    found.extend(kind.subresources.iter().map(|name| {
        let (verbs, of): (&'static [&'static str], &Kind) = match *name {
            "log" => (&["get"], kind),
            "token" => (&["create"], token_request()),
            _ => (&["update"], kind),
        };
        Subresource { name, verbs, of }
    }));
    found
}

/// The version of aggregated discovery that is asked for first, if any.
fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for alternative in accepts.flat_map(|value| value.split(',')) {
        let has = |part: &str| alternative.split(';').any(|found| found.trim() == part);
        let plain = alternative.split(';').next().map(str::trim);
        if plain == Some("application/json") {
            if !has("as=APIGroupDiscoveryList") {
                return None;
            }
            if has("g=apidiscovery.k8s.io") && has("v=v2") {
                return Some("v2");
            }
            if has("g=apidiscovery.k8s.io") && has("v=v2beta1") {
                return Some("v2beta1");
            }
        }
    }
    None
}

fn groups_aggregated(
    api: &Api,
    headers: &HeaderMap,
    version: &str,
    wanted: impl Fn(&str) -> bool,
) -> Response<Body> {
    let kinds = api.kinds();
    let tag = format!("\"{:x}-{version}\"", kinds.generation);
    let mut response = if headers.get(IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == tag.as_bytes()) {
        response::text(StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        let items: Vec<Value> = kinds
            .groups()
            .filter(|(name, _)| wanted(name))
            .map(|(name, versions)| discovered(&kinds, name, versions))
            .collect();
        response::json(
            StatusCode::OK,
            &json!({
                "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
                "metadata": {}, "items": items,
            }),
        )
    };
    let content_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    for (name, value) in [(CONTENT_TYPE, content_type), (ETAG, tag)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert("vary", HeaderValue::from_static("Accept"));
    response
}

fn discovered(kinds: &Registry, name: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> =
                kinds.kinds(name, version).into_iter().map(|kind| resource_discovered(kind)).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn resource_discovered(kind: &Kind) -> Value {
    let response = |kind: &Kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let response_kind = response(kind);
    let mut entry = json!({
        "resource": kind.plural, "responseKind": response_kind,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": kind.verbs(),
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    let subresources: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|Subresource { name, verbs, of }| {
            json!({"subresource": name, "responseKind": response(of), "verbs": verbs})
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}
