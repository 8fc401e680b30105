//! The platform's git server: `git http-backend` behind our HTTPS listener.
//!
//! Repositories are `/<namespace>/<name>.git`. Builds clone with the login of their namespace, and its
//! repositories alone; developers push with another; the first push to a repository makes it. The program is git's own; ours is only who may
//! call it and where it may look.

mod backend;
mod repository;
mod sweep;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

use crate::credentials::{Credentials, Login, same};
use repository::{Access, RequestPath};
pub(crate) use sweep::sweep;

/// Requests to git that run at once; each is a process.
const PARALLEL: usize = 16;

struct Git {
    root: PathBuf,
    /// What the namespaces' logins are made of.
    readers: Login,
    write: String,
    slots: Semaphore,
}

/// The service for the git listener.
pub(crate) fn router(root: PathBuf, credentials: &Credentials) -> Router {
    let git = Git {
        root,
        readers: credentials.git_reader.clone(),
        write: credentials.git_writer.basic(),
        slots: Semaphore::new(PARALLEL),
    };
    Router::new().fallback(answer).with_state(Arc::new(git))
}

async fn answer(State(git): State<Arc<Git>>, request: Request) -> Response {
    let path = RequestPath::parse(request.uri().path(), request.uri().query());
    let Some(granted) = git.granted(request.headers(), path.as_ref()) else {
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Basic realm=\"buildplane git\"")],
            "credentials are needed\n",
        )
            .into_response();
    };
    let Some(path) = path else {
        return (StatusCode::NOT_FOUND, "no such path; repositories are /<namespace>/<name>.git\n")
            .into_response();
    };
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if path.needs() == Access::Write && granted != Access::Write {
        return (StatusCode::FORBIDDEN, "this login may only read\n").into_response();
    }
    let Ok(_slot) = git.slots.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    if path.needs() == Access::Write {
        if let Err(error) = repository::ensure(&git.root, &path).await {
            tracing::warn!(%error, repository = path.repository(), "cannot make the git repository");
            // git shows a caller the status and nothing else.
            return (StatusCode::INSUFFICIENT_STORAGE, "the repository could not be made\n").into_response();
        }
    } else if !git.root.join(path.repository()).is_dir() {
        return (StatusCode::NOT_FOUND, "no such repository\n").into_response();
    }
    match backend::run(&git.root, &path, request.map(Body::new)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, repository = path.repository(), "git http-backend failed");
            (StatusCode::BAD_GATEWAY, "git failed; see the platform's log\n").into_response()
        }
    }
}

impl Git {
    /// What the caller may do there. A namespace's login is good for the namespace in the path and unknown elsewhere.
    fn granted(&self, headers: &HeaderMap, path: Option<&RequestPath>) -> Option<Access> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(given), None) = (values.next(), values.next()) else { return None };
        let is = |login: &str| same(given.as_bytes(), login.as_bytes());
        if is(&self.write) {
            return Some(Access::Write);
        }
        let reader = self.readers.for_namespace(path?.namespace());
        is(&reader.basic()).then_some(Access::Read)
    }
}

#[cfg(test)]
mod tests;
