//! The verbs of the API, each for every kind.

mod admit;
mod collection;
mod commit;
mod create;
mod delete;
mod get;
mod incoming;
mod list;
pub(crate) mod log;
mod patch;
mod present;
mod review;
mod token;
mod update;
pub(crate) mod watch;

use axum::body::Body;
use http::Response;

use crate::call::{Call, Verb};
use crate::error::{ApiError, ApiResult};

pub(crate) use commit::{Change, CommitError, create, replace, seed};
pub(crate) use delete::{Deletion, FOREGROUND, ORPHAN, Propagation, delete as remove};

/// Answers every verb but watch.
pub(crate) async fn answer(call: &mut Call, verb: Verb, body: Body) -> ApiResult<Response<Body>> {
    match verb {
        Verb::Get => get::get(call),
        Verb::List => list::list(call).await,
        Verb::Create if call.kind.ephemeral => review::review(call, body).await,
        Verb::Create if call.subresource == "token" => token::request(call, body).await,
        Verb::Create => create::create(call, body).await,
        Verb::Update => update::update(call, body).await,
        Verb::Patch => patch::patch(call, body).await,
        Verb::Delete => delete::handle(call, body).await,
        Verb::DeleteCollection => collection::delete_collection(call, body).await,
        Verb::Watch => Err(ApiError::method_not_allowed()),
    }
}
