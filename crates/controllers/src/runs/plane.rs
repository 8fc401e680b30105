//! Which build plane a run goes to.

use buildplane_api::conditions::plane;
use buildplane_api::conditions::run::reason;
use buildplane_api::meta::DEFAULT_PLANE;
use buildplane_api::names::{CrRef, PlaneId};
use buildplane_api::plane::Plane;
use buildplane_api::run::RunPlane;
use buildplane_api::workflow::{BuildPlaneRef, BuildPlaneRefKind};
use buildplane_api::{BuildPlane, ClusterBuildPlane};
use kube::Client;

use super::problem::Problem;
use crate::conditions;
use crate::error::chain;
use crate::lookup::find;
use crate::planes::PlaneApi;

/// The plane that a run goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) cr: CrRef,
    pub(super) plane_id: PlaneId,
    /// The secret store that the plane names.
    pub(super) secret_store: Option<String>,
    /// Why nothing can be started there now, as far as the plane's own status tells.
    pub(super) disconnected: Option<String>,
}

impl Target {
    fn of<P: Plane>(plane: &P) -> Result<Self, Problem> {
        let invalid = |error| Problem::change(reason::BUILD_PLANE_RESOLUTION_FAILED, format!("{error}"));
        let cr = plane.cr_ref().map_err(invalid)?;
        let plane_id = plane.plane_id().map_err(invalid)?;
        let reported = plane.status().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let connected = conditions::find(reported, plane::AGENT_CONNECTED);
        let disconnected = match connected {
            Some(condition) if condition.status == "True" => None,
            Some(condition) => Some(condition.message.clone()),
            None => Some("it was not looked at yet".to_owned()),
        };
        Ok(Self { cr, plane_id, secret_store: plane.secret_store().map(ToOwned::to_owned), disconnected })
    }

    /// The plane in words.
    pub(super) fn describe(&self) -> String {
        describe(&self.cr)
    }

    /// What the run notes of it.
    pub(super) fn to_record(&self) -> RunPlane {
        RunPlane {
            kind: self.cr.kind().kind().to_owned(),
            namespace: self.cr.namespace().map(ToOwned::to_owned),
            name: self.cr.name().to_owned(),
            plane_id: self.plane_id.to_string(),
        }
    }
}

/// A plane object in words, such as `BuildPlane org/default`.
pub(super) fn describe(cr: &CrRef) -> String {
    let kind = cr.kind().kind();
    cr.namespace().map_or_else(|| format!("{kind} {}", cr.name()), |ns| format!("{kind} {ns}/{}", cr.name()))
}

/// Finds the plane for a reference, or the default one.
pub(super) async fn resolve(
    client: &Client,
    namespace: &str,
    reference: Option<&BuildPlaneRef>,
) -> Result<Target, Problem> {
    let build = BuildPlane::api(client.clone(), Some(namespace));
    let cluster = ClusterBuildPlane::api(client.clone(), None);
    match reference {
        Some(BuildPlaneRef { kind: BuildPlaneRefKind::BuildPlane, name }) => {
            match find(&build, name).await.map_err(|error| failed(&error))? {
                Some(plane) => Target::of(&plane),
                None => Err(missing(&format!("BuildPlane {name}"), &format!(" in namespace {namespace}"))),
            }
        }
        Some(BuildPlaneRef { kind: BuildPlaneRefKind::ClusterBuildPlane, name }) => {
            match find(&cluster, name).await.map_err(|error| failed(&error))? {
                Some(plane) => Target::of(&plane),
                None => Err(missing(&format!("ClusterBuildPlane {name}"), "")),
            }
        }
        None => {
            if let Some(plane) = build.get_opt(DEFAULT_PLANE).await.map_err(|error| failed(&error))? {
                return Target::of(&plane);
            }
            match cluster.get_opt(DEFAULT_PLANE).await.map_err(|error| failed(&error))? {
                Some(plane) => Target::of(&plane),
                None => Err(Problem::change(
                    reason::BUILD_PLANE_NOT_FOUND,
                    format!(
                        "there is no build plane for the run: neither BuildPlane default in namespace {namespace} nor \
                         ClusterBuildPlane default exists; create one, or name one in the Workflow's buildPlaneRef"
                    ),
                )),
            }
        }
    }
}

fn missing(plane: &str, whereabouts: &str) -> Problem {
    Problem::change(
        reason::BUILD_PLANE_RESOLUTION_FAILED,
        format!("{plane} does not exist{whereabouts}; create it, or change the Workflow's buildPlaneRef"),
    )
}

fn failed(error: &kube::Error) -> Problem {
    Problem::retry(
        reason::BUILD_PLANE_RESOLUTION_FAILED,
        format!("the build plane could not be looked up: {}", chain(error)),
    )
}

/// Reads what a run noted of its plane.
pub(super) fn from_record(record: &RunPlane) -> Option<(CrRef, PlaneId)> {
    let kind = buildplane_api::PlaneKind::parse_kind(&record.kind).ok()?;
    let cr = CrRef::try_new(kind, record.namespace.as_deref(), &record.name).ok()?;
    Some((cr, PlaneId::parse(&record.plane_id).ok()?))
}

/// Whether a plane object exists, and its plane id, which may have changed since a run noted it.
pub(super) async fn current_id(client: &Client, cr: &CrRef) -> kube::Result<Option<PlaneId>> {
    let id = if cr.kind().is_cluster_scoped() {
        let api = ClusterBuildPlane::api(client.clone(), None);
        api.get_opt(cr.name()).await?.and_then(|plane| plane.plane_id().ok())
    } else {
        let api = BuildPlane::api(client.clone(), cr.namespace());
        api.get_opt(cr.name()).await?.and_then(|plane| plane.plane_id().ok())
    };
    Ok(id)
}
