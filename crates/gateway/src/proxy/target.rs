use http::{Method, StatusCode, Uri};

use buildplane_api::names::{CrRef, PlaneId, PlaneType};
use buildplane_wire::{CanonicalPath, CanonicalQuery, TARGET_KUBERNETES};

use crate::status::Failure;

/// What proxied paths begin with.
pub(crate) const PREFIX: &str = "/api/proxy/";
/// The targets that an agent may have.
const TARGETS: [&str; 1] = [TARGET_KUBERNETES];

/// Where a request goes: `/api/proxy/{planeType}/{planeID}/{namespace|_cluster}/{name}/{target}/{path…}`.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) plane_id: PlaneId,
    pub(crate) cr: CrRef,
    pub(crate) name: &'static str,
    pub(crate) path: CanonicalPath,
    pub(crate) query: CanonicalQuery,
}

impl Target {
    pub(crate) fn parse(uri: &Uri) -> Result<Self, Failure> {
        let rest = uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let mut segments = rest.splitn(6, '/');
        let mut next = || segments.next().unwrap_or_default();
        let (plane_type, plane_id, namespace, name, target) = (next(), next(), next(), next(), next());
        let path = segments.next();
        let plane_type: PlaneType = plane_type.parse().map_err(bad_request)?;
        let plane_id: PlaneId = plane_id.parse().map_err(bad_request)?;
        let cr = CrRef::from_segments(plane_type, namespace, name).map_err(bad_request)?;
        let name = *TARGETS.iter().find(|known| **known == target).ok_or_else(|| {
            Failure::new(StatusCode::FORBIDDEN, format!("the target is not one of {}", TARGETS.join(", ")))
        })?;
        let path = CanonicalPath::parse(&format!("/{}", path.unwrap_or_default()))
            .map_err(|error| bad_request(format!("the path is refused: {error}")))?;
        let query = CanonicalQuery::parse(uri.query())
            .map_err(|error| bad_request(format!("the query is refused: {error}")))?;
        Ok(Self { plane_id, cr, name, path, query })
    }

    /// The URI inside the tunnel.
    pub(crate) fn uri(&self) -> Result<Uri, Failure> {
        let query = self.query.as_str();
        let mut text = String::with_capacity(32 + self.path.as_str().len() + query.map_or(0, str::len));
        text.push_str("http://agent");
        text.push_str(self.path.as_str());
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        text.try_into().map_err(|error: http::uri::InvalidUri| bad_request(error))
    }
}

fn bad_request(reason: impl std::fmt::Display) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, reason.to_string())
}

/// Refuses methods that no Kubernetes client uses.
pub(crate) fn check_method(method: &Method) -> Result<(), Failure> {
    const METHODS: [Method; 7] = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    if METHODS.contains(method) {
        Ok(())
    } else {
        Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("the method {method} is not carried")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_plane_resource_target_and_rest() {
        let target = Target::parse(
            &"/api/proxy/buildplane/shared/team-a/default/k8s/api/v1/pods?watch=true".parse().unwrap(),
        );
        let target = target.unwrap();
        assert_eq!(target.plane_id.as_str(), "shared");
        assert_eq!(target.cr.to_string(), "buildplane/team-a/default");
        assert_eq!(target.uri().unwrap().to_string(), "http://agent/api/v1/pods?watch=true");
        let cluster =
            Target::parse(&"/api/proxy/buildplane/shared/_cluster/default/k8s/version".parse().unwrap());
        assert_eq!(cluster.unwrap().cr.to_string(), "clusterbuildplane/_cluster/default");
        let root = Target::parse(&"/api/proxy/buildplane/shared/_cluster/default/k8s".parse().unwrap());
        assert_eq!(root.unwrap().path.as_str(), "/");
    }

    #[test]
    fn a_path_that_names_something_else_is_refused() {
        for (path, code) in [
            ("/api/proxy/", 400),
            ("/api/proxy/buildplane/shared/team-a/default", 403),
            ("/api/proxy/starship/shared/team-a/default/k8s/api", 400),
            ("/api/proxy/buildplane/Shared/team-a/default/k8s/api", 400),
            ("/api/proxy/buildplane/../team-a/default/k8s/api", 400),
            ("/api/proxy/buildplane/shared/team%2da/default/k8s/api", 400),
            ("/api/proxy/buildplane/shared//default/k8s/api", 400),
            ("/api/proxy/buildplane/shared/team-a/default/logs/api", 403),
            ("/api/proxy/buildplane/shared/team-a/default/K8S/api", 403),
            ("/api/proxy/buildplane/shared/team-a/default/k8s//api", 400),
            ("/api/proxy/buildplane/shared/team-a/default/k8s/api/../secrets", 400),
            ("/api/proxy/buildplane/shared/team-a/default/k8s/%2e%2e/other/k8s/api", 400),
            ("/api/proxy/buildplane/shared/team-a/default/k8s/api?a;b", 400),
        ] {
            let failure = Target::parse(&path.parse().unwrap()).unwrap_err();
            assert_eq!(failure.code.as_u16(), code, "{path}: {}", failure.message);
        }
    }

    #[test]
    fn strange_methods_are_refused() {
        for method in ["TRACE", "get", "PROPFIND", "CONNECT"] {
            let failure = check_method(&Method::from_bytes(method.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(failure.code.as_u16(), 405, "{method}");
        }
        assert!(check_method(&Method::PATCH).is_ok());
    }
}
