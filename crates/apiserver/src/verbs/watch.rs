//! watch: changes as they are committed, each object as the text that is stored.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use buildplane_store::{Change, Operation, Range, Revision, Watch, WatchError};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval};
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::negotiate::{Encoding, Form, negotiate};
use crate::http::response;
use crate::kinds::Kind;
use crate::object;
use crate::verbs::list::Filter;
use crate::verbs::present;

/// A watch without a timeout of its own ends after this to twice this, so that clients spread out.
const DEFAULT_TIMEOUT: u64 = 1_800;
/// Frames put together for one write to the connection.
const MAX_CHUNK: usize = 64 << 10;

/// What is asked for.
struct Asked {
    /// Send the present state first.
    initial: bool,
    /// Then say that it is complete.
    mark_end: bool,
    from: Revision,
    bookmarks: bool,
    timeout: Duration,
}

pub(crate) async fn watch(call: &Call) -> ApiResult<Response<Body>> {
    let (form, encoding) = negotiate(&call.headers, &call.query)?;
    if encoding != Encoding::Json {
        return Err(ApiError::not_acceptable());
    }
    let filter = Filter::of(call)?;
    let asked = asked(call)?;
    let permit = Arc::clone(&call.api.watches)
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many_requests("too many watches are open"))?;
    let range = match (&call.namespace, call.name.as_str()) {
        (namespace, "") => call.kind.range(namespace.as_deref()),
        (_, _) => call.key(),
    };
    let mut presenter = Presenter { kind: Arc::clone(&call.kind), form, filter, first: true };
    let mut ready = VecDeque::new();
    let store = &call.api.store;
    let watch = if asked.initial {
        let page = store
            .range(Range { prefix: &range, ..Range::default() })
            .await
            .map_err(|error| ApiError::internal(&error))?;
        for (_, entry) in page.entries {
            if presenter.filter.matches(&entry.value) {
                ready.push_back(presenter.event("ADDED", &entry.value)?);
            }
        }
        if asked.mark_end {
            ready.push_back(presenter.bookmark(page.revision, true));
        }
        store.watch(&range, page.revision).await
    } else {
        store.watch(&range, asked.from).await
    };
    let watch = match watch {
        Ok(watch) => Some(watch),
        Err(WatchError::Compacted { compacted }) => {
            let message = format!("too old resource version: {} ({compacted})", asked.from);
            ready.push_back(frame("ERROR", &ApiError::expired(message).status()));
            None
        }
        Err(error) => return Err(ApiError::unavailable(error.to_string())),
    };
    let exact = !call.name.is_empty();
    let state = Open {
        presenter,
        key: exact.then_some(range),
        ready,
        watch,
        deadline: Instant::now() + asked.timeout,
        bookmarks: asked.bookmarks.then(|| {
            let every = call.api.config.bookmark_interval;
            let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks
        }),
        store: store.clone(),
        shutdown: call.api.shutdown.clone(),
        _permit: permit,
    };
    let mut response = Response::new(Body::from_stream(frames(state)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

fn asked(call: &Call) -> ApiResult<Asked> {
    let query = &call.query;
    let revision = query.revision()?;
    let stream_initial = query.get("sendInitialEvents").map(|_| query.is_set("sendInitialEvents"));
    let rule = query.get("resourceVersionMatch");
    if stream_initial.is_some() != rule.is_some() {
        return Err(ApiError::bad_request(if rule.is_some() {
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        } else {
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        }));
    }
    if let Some(other) = rule.filter(|rule| *rule != "NotOlderThan") {
        return Err(ApiError::bad_request(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"NotOlderThan\""
        )));
    }
    let current = call.api.store.revision();
    let from_start = revision.is_none_or(|revision| revision.0 == 0);
    let initial = stream_initial.unwrap_or(from_start);
    if let Some(asked) = revision.filter(|asked| *asked > current) {
        return Err(ApiError::revision_too_large(asked.0, current.0));
    }
    let timeout = query
        .number("timeoutSeconds")?
        .filter(|seconds| *seconds > 0)
        .unwrap_or_else(|| rand::rng().random_range(DEFAULT_TIMEOUT..2 * DEFAULT_TIMEOUT));
    let bookmarks = query.is_set("allowWatchBookmarks");
    Ok(Asked {
        initial,
        mark_end: stream_initial == Some(true) && bookmarks,
        from: if from_start { current } else { revision.unwrap_or(current) },
        bookmarks,
        timeout: Duration::from_secs(timeout.min(24 * 3_600)),
    })
}

/// A watch in progress.
struct Open {
    presenter: Presenter,
    /// Only this key, where one object is watched.
    key: Option<String>,
    ready: VecDeque<Bytes>,
    /// `None` once the watch has ended.
    watch: Option<Watch>,
    deadline: Instant,
    bookmarks: Option<Interval>,
    store: buildplane_store::Store,
    shutdown: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

enum Next {
    Change(Arc<Change>),
    Bookmark,
    End,
}

fn frames(open: Open) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(open, |mut open| async move {
        loop {
            if !open.ready.is_empty() {
                return Some((Ok(open.chunk()), open));
            }
            match open.next().await {
                Next::Change(change) => {
                    open.present(&change);
                    // What came meanwhile goes out in the same write.
                    while open.ready.len() < 64
                        && let Some(change) = open.watch.as_mut().and_then(Watch::ready)
                    {
                        open.present(&change);
                    }
                }
                Next::Bookmark => {
                    let revision = open.store.revision();
                    while let Some(change) = open.watch.as_mut().and_then(Watch::ready) {
                        open.present(&change);
                    }
                    let bookmark = open.presenter.bookmark(revision, false);
                    open.ready.push_back(bookmark);
                }
                Next::End => return None,
            }
        }
    })
}

impl Open {
    async fn next(&mut self) -> Next {
        let Some(watch) = &mut self.watch else { return Next::End };
        let tick = async {
            match &mut self.bookmarks {
                Some(ticks) => {
                    ticks.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = watch.next() => match change {
                Some(Ok(change)) => Next::Change(change),
                // The client takes up again from the last revision it saw, or lists again.
                Some(Err(_)) | None => Next::End,
            },
            () = tick => Next::Bookmark,
            () = tokio::time::sleep_until(self.deadline) => Next::End,
            () = self.shutdown.cancelled() => Next::End,
        }
    }

    fn chunk(&mut self) -> Bytes {
        let Some(first) = self.ready.pop_front() else { return Bytes::new() };
        if self.ready.is_empty() {
            return first;
        }
        let mut out = Vec::from(first);
        while out.len() < MAX_CHUNK
            && let Some(next) = self.ready.pop_front()
        {
            out.extend_from_slice(&next);
        }
        out.into()
    }

    fn present(&mut self, change: &Change) {
        if self.key.as_deref().is_some_and(|key| key != &*change.key) {
            return;
        }
        match self.presenter.change(change) {
            Ok(Some(frame)) => self.ready.push_back(frame),
            Ok(None) => {}
            Err(error) => {
                self.ready.push_back(frame("ERROR", &error.status()));
                self.watch = None;
            }
        }
    }
}

/// Turns changes into the frames a client sees.
struct Presenter {
    kind: Arc<Kind>,
    form: Form,
    filter: Filter,
    /// No table was sent yet: the first one carries the columns.
    first: bool,
}

impl Presenter {
    /// The frame of a change, if the client's selection is touched by it.
    fn change(&mut self, change: &Change) -> ApiResult<Option<Bytes>> {
        let was = change.previous.as_ref().is_some_and(|entry| self.filter.matches(&entry.value));
        let is = change.operation == Operation::Put && self.filter.matches(&change.value);
        let kind = match (was, is) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return Ok(None),
        };
        if change.operation == Operation::Put && kind == "DELETED" {
            // Out of the selection: the client gets the last state it may see, at the new revision.
            let previous = change.previous.as_ref().map(|entry| entry.value.clone()).unwrap_or_default();
            let mut last = object::decode_bytes(&previous)?;
            object::metadata_mut(&mut last)
                .insert("resourceVersion".into(), change.revision.to_string().into());
            return self.event(kind, &response::to_bytes(&last)).map(Some);
        }
        self.event(kind, &change.value).map(Some)
    }

    fn event(&mut self, event: &str, stored: &Bytes) -> ApiResult<Bytes> {
        let text = present::served(&self.kind, stored)?;
        let body = match self.form {
            Form::Object => text,
            Form::Metadata => response::to_bytes(&present::metadata(&object::decode_bytes(&text)?)),
            Form::Table(include) => {
                let object = object::decode_bytes(&text)?;
                let version = object["metadata"]["resourceVersion"].clone();
                let metadata = json!({"resourceVersion": version});
                let now = jiff::Timestamp::now();
                let mut table = present::table(&self.kind, [&object], metadata, include, now);
                if !std::mem::take(&mut self.first) {
                    table["columnDefinitions"] = Value::Null;
                }
                response::to_bytes(&table)
            }
        };
        let mut out = Vec::with_capacity(body.len() + 40);
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        out.extend_from_slice(&body);
        out.extend_from_slice(b"}\n");
        Ok(out.into())
    }

    fn bookmark(&self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Object => {
                json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata})
            }
            Form::Metadata => present::metadata(&json!({"metadata": metadata})),
            Form::Table(_) => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": null,
                "metadata": {"resourceVersion": revision.to_string()},
                "rows": [{"cells": [], "object": present::metadata(&json!({"metadata": metadata}))}],
            }),
        };
        frame("BOOKMARK", &object)
    }
}

fn frame(event: &str, object: &Value) -> Bytes {
    format!("{{\"type\":\"{event}\",\"object\":{object}}}\n").into()
}
