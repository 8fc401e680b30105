//! get

use axum::body::Body;
use http::{Response, StatusCode};

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::verbs::present;

pub(crate) fn get(call: &Call) -> ApiResult<Response<Body>> {
    if let Some(asked) = call.query.revision()?
        && asked > call.api.store.revision()
    {
        return Err(ApiError::revision_too_large(asked.0, call.api.store.revision().0));
    }
    let entry = call.api.store.get(&call.key()).ok_or_else(|| ApiError::not_found(&call.kind, &call.name))?;
    present::one(call, StatusCode::OK, &entry.value)
}
