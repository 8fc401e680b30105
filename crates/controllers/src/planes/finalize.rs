//! The end of a plane object: the gateways forget it, in bounded time.

use std::time::Duration;

use buildplane_api::WorkflowRun;
use buildplane_api::conditions::plane::{self, event, reason};
use buildplane_api::names::{CrRef, PlaneType};
use buildplane_api::plane::PlaneStatus;
use jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::controller::Action;

use super::access::PlaneApi;
use super::kind::{Context, PlaneError, write};
use super::status::Told;
use crate::conditions::{Conditions, Verdict};
use crate::error::chain;
use crate::finalizer;

/// Runs are counted in pages of this size.
const PAGE: u32 = 500;

pub(super) async fn finalize<P: PlaneApi>(object: &P, context: &Context) -> Result<Action, PlaneError> {
    if !finalizer::has(object, P::FINALIZER) {
        return Ok(Action::await_change());
    }
    let cr = object.cr_ref().map_err(PlaneError::Name)?;
    context.stores.release(&cr);
    say_so(object, &cr, context).await;
    if let Err(error) = context.registrations.remove(object.plane_id().ok().as_ref(), &cr).await {
        let waited =
            object.meta().deletion_timestamp.as_ref().map(|since| Timestamp::now().duration_since(since.0));
        let waited = waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default();
        if waited < context.timings.plane_cleanup {
            return Err(PlaneError::Gateway(error));
        }
        // A gateway that is down forgets by itself, because it keeps nothing; one that was merely out of reach names the
        // object when it is back, and is told then.
        tracing::warn!(%cr, error = chain(&error), "a gateway was not told that the plane object is deleted");
        let note = "a gateway could not be told; its agents stay connected for this object until it is back";
        context.events.warning(&object.object_ref(&()), "GatewayUnreachable", note);
    }
    let api = P::api(context.client.clone(), object.meta().namespace.as_deref());
    finalizer::remove(&api, object, P::FINALIZER).await.map_err(PlaneError::Finalizer)?;
    Ok(Action::await_change())
}

/// Tells, once, that the plane is being deleted and what becomes of its runs. Nothing here holds the deletion up.
async fn say_so<P: PlaneApi>(object: &P, cr: &CrRef, context: &Context) {
    let before = object.status().cloned().unwrap_or_default();
    let ready = crate::conditions::find(&before.conditions, plane::READY);
    if ready.is_some_and(|ready| ready.reason == reason::DELETING) {
        return;
    }
    let counted = match cr.plane_type() {
        PlaneType::BuildPlane => {
            tokio::time::timeout(context.timings.request, live_runs(cr, context)).await.unwrap_or(Ok(None))
        }
        PlaneType::DataPlane | PlaneType::ObservabilityPlane => Ok(Some(0)),
    };
    let message = match counted {
        Ok(Some(0)) => "the object is being deleted; no run is live on the plane".to_owned(),
        Ok(Some(n)) => {
            let runs = if n == 1 { "1 WorkflowRun is".to_owned() } else { format!("{n} WorkflowRuns are") };
            let note = format!(
                "{runs} live on the plane, which is being deleted: unless the object is made anew within {} s each \
                 is marked as failed, and what it still does on the build cluster goes on until it ends by itself",
                context.timings.run_cleanup.as_secs()
            );
            context.events.warning(&object.object_ref(&()), event::DELETED_WITH_LIVE_RUNS, &note);
            note
        }
        Ok(None) | Err(_) => {
            "the object is being deleted; which runs are live on it could not be looked up".to_owned()
        }
    };
    let mut conditions = Conditions::new(&before.conditions, object.meta().generation, Timestamp::now());
    conditions.keep_all();
    conditions.set(plane::READY, Verdict::fails(reason::DELETING, message));
    let (conditions, changes) = conditions.finish();
    let generation = object.meta().generation.unwrap_or_default();
    let status = PlaneStatus { conditions, observed_generation: generation, ..before };
    if let Err(error) = write(object, None, cr, &Told { status, changes }, context).await {
        tracing::debug!(%cr, error = chain(&error), "the status was not written before the end");
    }
}

/// How many runs are live on a build plane.
async fn live_runs(cr: &CrRef, context: &Context) -> kube::Result<Option<usize>> {
    let client = context.client.clone();
    let api: Api<WorkflowRun> = match cr.namespace() {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut params = ListParams::default().limit(PAGE);
    let mut n = 0;
    loop {
        let page = api.list(&params).await?;
        n += page.items.iter().filter(|run| is_live_on(run, cr)).count();
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(Some(n)),
        }
    }
}

fn is_live_on(run: &WorkflowRun, cr: &CrRef) -> bool {
    let Some(status) = &run.status else { return false };
    let is_over = status.phase.is_some_and(buildplane_api::run::RunPhase::is_final);
    let on_plane = status.build_plane.as_ref().is_some_and(|plane| {
        plane.kind == cr.kind().kind()
            && plane.name == cr.name()
            && plane.namespace.as_deref() == cr.namespace()
    });
    on_plane && !is_over && status.run_reference.is_some()
}
