//! deletecollection: every object a list would show.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::response;
use crate::object;
use crate::verbs::commit;
use crate::verbs::delete::{Deleted, Deletion, delete};
use crate::verbs::list::{Filter, listed};
use crate::verbs::present;

pub(crate) async fn delete_all(call: &Call, deletion: &Deletion) -> ApiResult<Value> {
    let filter = Filter::of(call)?;
    let found = listed(call, &filter).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for text in &found.items {
        let object = object::decode_bytes(text)?;
        let key = commit::key_of(&call.kind, &object);
        match delete(&call.api, &call.kind, &key, deletion, call.now).await? {
            Some(Deleted::Gone(text) | Deleted::Marked(text)) => {
                items.push(present::served_value(&call.kind, object::decode_bytes(&text)?));
            }
            None => {}
        }
    }
    Ok(json!({
        "kind": call.kind.list_kind, "apiVersion": call.kind.api_version,
        "metadata": {"resourceVersion": call.api.store.revision().to_string()}, "items": items,
    }))
}

pub(crate) async fn delete_collection(call: &mut Call, body: Body) -> ApiResult<Response<Body>> {
    if !call.kind.verbs().contains(&"deletecollection") || (call.kind.namespaced && call.namespace.is_none())
    {
        return Err(ApiError::method_not_allowed());
    }
    let deletion = Deletion::of(call, body).await?;
    Ok(response::json(StatusCode::OK, &delete_all(call, &deletion).await?))
}
