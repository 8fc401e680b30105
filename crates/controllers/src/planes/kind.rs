//! One plane kind: its objects, what makes them look again, and the reconcile itself.

use std::sync::Arc;
use std::time::Duration;

use buildplane_api::meta::API_VERSION;
use buildplane_api::names::{CrRef, NameError, PlaneId, PlaneKind};
use buildplane_api::plane::PlaneStatus;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::access::PlaneApi;
use super::agents::soonest_end;
use super::apply::Applied;
use super::binding::Bindings;
use super::certificates::Bundle;
use super::dereference::DereferenceError;
use super::finalize::finalize;
use super::notices::{Notices, changes, lasting};
use super::status::{Told, is_worth_writing, tell};
use super::stores::Stores;
use super::sweep::Existence;
use super::validate::Validated;
use super::written::Written;
use super::{apply, build, dereference, validate};
use crate::config::Timings;
use crate::events::Events;
use crate::finalizer::{self, FinalizerError};
use crate::gateway::{Feed, GatewayError, GatewayState, Registered, Registrations, Subscriber};
use crate::objects::{self, Objects};
use crate::retry::Retries;

/// The field manager of plane statuses.
const FIELD_MANAGER: &str = "plane-controller";
/// Reconciles of one kind at a time.
const CONCURRENCY: u16 = 16;
/// How soon a registration that failed is tried again, should the gateway be back without saying so.
const REGISTRATION_RECHECK: Duration = Duration::from_secs(15);
/// How soon a plane is looked at again without a reason, for what no watch tells: the end of a certificate.
const RECHECK: Duration = Duration::from_hours(1);

/// What the plane controllers share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) feed: Arc<Feed>,
    pub(crate) registrations: Registrations,
    pub(crate) events: Events,
    pub(crate) timings: Timings,
    pub(crate) secret_namespaces: Option<Vec<String>>,
    pub(crate) retries: Retries<CrRef>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) bindings: Bindings,
    pub(crate) notices: Notices,
    pub(crate) written: Written,
}

impl Context {
    pub(super) fn may_read_secrets_of(&self, namespace: &str) -> bool {
        self.secret_namespaces.as_ref().is_none_or(|allowed| allowed.iter().any(|name| name == namespace))
    }
}

/// Why a plane object could not be reconciled; tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaneError {
    #[error("the object's name is no name of a plane object")]
    Name(#[source] NameError),
    #[error(transparent)]
    Finalizer(FinalizerError),
    #[error("failed to look up what the plane refers to")]
    Dereference(#[source] DereferenceError),
    #[error("failed to make the gateway forget the plane")]
    Gateway(#[source] GatewayError),
    #[error("failed to write the status")]
    WriteStatus(#[source] Box<kube::Error>),
}

/// Is told of plane objects that were written or deleted.
pub(crate) trait PlaneListener: Send + Sync {
    /// The object was written or deleted.
    fn plane_touched(&self, cr: &CrRef);
    /// The object has this plane id now; none if it is gone.
    fn plane_seen(&self, _cr: &CrRef, _plane_id: Option<PlaneId>) {}
    /// The metadata or content of a Secret changed.
    fn secret_touched(&self, namespace: &str, name: &str);
}

/// One plane kind.
pub(crate) struct Kind<P: PlaneApi> {
    context: Arc<Context>,
    objects: Objects<P>,
}

impl<P: PlaneApi> Kind<P> {
    pub(crate) fn new(context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self { context, objects: Objects::new() })
    }

    /// Follows and reconciles the objects until `shutdown`. Runs once.
    pub(crate) async fn run(&self, listeners: &[Arc<dyn PlaneListener>], shutdown: CancellationToken) {
        let context = &self.context;
        let watched = self.objects.watch(P::api(context.client.clone(), None), &shutdown, |change| {
            let (objects::Change::Written(plane) | objects::Change::Deleted(plane)) = change;
            let Ok(cr) = plane.cr_ref() else { return };
            if matches!(change, objects::Change::Deleted(_)) {
                context.retries.forget(&cr);
                context.stores.release(&cr);
                context.bindings.forget(&cr);
                context.notices.forget(&cr);
                context.written.forget(&cr);
            }
            let plane_id = match change {
                objects::Change::Written(plane) => plane.plane_id().ok(),
                objects::Change::Deleted(_) => None,
            };
            for listener in listeners {
                listener.plane_touched(&cr);
                listener.plane_seen(&cr, plane_id.clone());
            }
        });
        let reconciled = async {
            // Before a gateway said anything there would be two statuses to write instead of one.
            context.feed.settled().await;
            self.objects
                .reconcile(
                    Arc::clone(context),
                    CONCURRENCY,
                    |plane, context| reconcile::<P>(plane, context).boxed(),
                    |plane: &P, _, context| match plane.cr_ref() {
                        Ok(cr) => Action::requeue(context.retries.failed(cr)),
                        Err(_no_name) => Action::await_change(),
                    },
                    shutdown.clone(),
                )
                .await;
        };
        tokio::join!(watched, reconciled);
    }
}

impl<P: PlaneApi> Subscriber for Kind<P> {
    fn changed(&self, objects: &[CrRef]) {
        let of_kind = objects.iter().filter(|cr| cr.kind() == P::KIND);
        self.objects.queue().extend(of_kind.map(object_ref));
    }

    fn all_changed(&self) {
        self.objects.enqueue_where(|_| true);
    }
}

fn object_ref<P: PlaneApi>(cr: &CrRef) -> ObjectRef<P> {
    let object = ObjectRef::new(cr.name());
    match cr.namespace() {
        Some(namespace) => object.within(namespace),
        None => object,
    }
}

impl<P: PlaneApi> Existence for Kind<P> {
    fn is_seen(&self, cr: &CrRef) -> Option<bool> {
        if cr.kind() == P::KIND { self.objects.is_seen(&object_ref(cr)) } else { None }
    }

    fn exists<'a>(&'a self, cr: &'a CrRef) -> BoxFuture<'a, kube::Result<bool>> {
        let api = P::api(self.context.client.clone(), cr.namespace());
        async move { Ok(api.get_metadata_opt(cr.name()).await?.is_some()) }.boxed()
    }
}

impl<P: PlaneApi> PlaneListener for Kind<P> {
    fn plane_touched(&self, cr: &CrRef) {
        if !P::refers_to_observability() {
            return;
        }
        match cr.kind() {
            // Those that name none may take it as their default, so that the name alone does not decide.
            PlaneKind::ObservabilityPlane => {
                self.objects.enqueue_where(|plane| plane.meta().namespace.as_deref() == cr.namespace());
            }
            PlaneKind::ClusterObservabilityPlane => self.objects.enqueue_where(|plane| {
                plane
                    .observability_plane()
                    .map_or(P::KIND.is_cluster_scoped(), |target| target.name == cr.name())
            }),
            PlaneKind::BuildPlane
            | PlaneKind::ClusterBuildPlane
            | PlaneKind::DataPlane
            | PlaneKind::ClusterDataPlane => {}
        }
    }

    fn secret_touched(&self, namespace: &str, name: &str) {
        self.objects.enqueue_where(|plane| {
            plane.client_ca().secret_ref.as_ref().is_some_and(|secret| {
                secret.name == name
                    && secret.namespace.as_deref().or_else(|| plane.meta().namespace.as_deref())
                        == Some(namespace)
            })
        });
    }
}

/// Dereference, validate, build, apply, status.
async fn reconcile<P: PlaneApi>(object: Arc<P>, context: Arc<Context>) -> Result<Action, PlaneError> {
    if object.meta().deletion_timestamp.is_some() {
        return finalize(object.as_ref(), &context).await;
    }
    let cr = object.cr_ref().map_err(PlaneError::Name)?;
    let object = with_finalizer(object, &context).await?;
    let found = dereference::dereference(object.as_ref(), &context).await.map_err(PlaneError::Dereference)?;
    let now = Timestamp::now();
    let plane = validate::validate(object.as_ref(), found, now);
    let wanted = build::build(object.as_ref(), &cr, &plane, &context.bindings);
    let last = context.registrations.last(&cr);
    let applied = apply::apply(&context, &cr, wanted.as_ref(), object.secret_store()).await;
    let version = object.meta().resource_version.as_deref();
    let written = context.written.since(&cr, version);
    let before = written.as_ref().or_else(|| object.status());
    let told = tell(object.as_ref(), before, &plane, &applied, now);
    write(object.as_ref(), before, &cr, &told, &context).await?;
    let mut notices = changes(before, &told.status, &told.changes, &plane, last.as_ref());
    notices.extend(context.notices.begun(&cr, lasting(&plane, &applied)));
    for notice in notices {
        context.events.publish(&object.object_ref(&()), notice.is_warning, notice.reason, &notice.note);
    }
    context.retries.forget(&cr);
    Ok(Action::requeue(next_look(&plane, &applied, now)))
}

async fn with_finalizer<P: PlaneApi>(object: Arc<P>, context: &Context) -> Result<Arc<P>, PlaneError> {
    if finalizer::has(object.as_ref(), P::FINALIZER) {
        return Ok(object);
    }
    let api = P::api(context.client.clone(), object.meta().namespace.as_deref());
    finalizer::add(&api, object.as_ref(), P::FINALIZER).await.map(Arc::new).map_err(PlaneError::Finalizer)
}

/// Writes a status, unless that is what was `before`.
pub(super) async fn write<P: PlaneApi>(
    object: &P,
    before: Option<&PlaneStatus>,
    cr: &CrRef,
    told: &Told,
    context: &Context,
) -> Result<(), PlaneError> {
    let is_heartbeat_due = context.feed.take_due(cr);
    if !is_worth_writing(before, &told.status, is_heartbeat_due) {
        return Ok(());
    }
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let patch = json!({
        "apiVersion": API_VERSION,
        "kind": P::KIND.kind(),
        "metadata": {"name": name, "namespace": meta.namespace, "uid": meta.uid},
        "status": told.status,
    });
    let api = P::api(context.client.clone(), meta.namespace.as_deref());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(name, &params, &Patch::Apply(&patch)).await {
        Ok(_) => {
            context.written.note(cr, meta.resource_version.as_deref(), &told.status);
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(PlaneError::WriteStatus(Box::new(source))),
    }
}

fn next_look(plane: &Validated, applied: &Applied, now: Timestamp) -> Duration {
    let mut next = RECHECK;
    let is_followed = applied.gateway == GatewayState::Connected;
    if is_followed && !matches!(applied.registered, Ok(Registered::Everywhere)) {
        next = next.min(REGISTRATION_RECHECK);
    }
    let until =
        |time: Timestamp| Duration::try_from(time.duration_since(now)).ok().filter(|wait| !wait.is_zero());
    let agents = soonest_end(applied).map(|(_, end)| end);
    for end in plane.bundle.as_ref().and_then(Bundle::last_not_after).into_iter().chain(agents) {
        let warning = end.checked_sub(validate::EXPIRY_WARNING).unwrap_or(end);
        next = [until(end), until(warning)].into_iter().flatten().fold(next, Duration::min);
    }
    next
}
