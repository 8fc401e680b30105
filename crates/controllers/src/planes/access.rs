use buildplane_api::plane::Plane;
use buildplane_api::{
    BuildPlane, ClusterBuildPlane, ClusterDataPlane, ClusterObservabilityPlane, DataPlane, ObservabilityPlane,
};
use kube::{Api, Client};

/// The way to objects of a plane kind, whatever their scope.
pub(crate) trait PlaneApi: Plane {
    /// The objects of a namespace; of none for cluster-scoped kinds.
    fn api(client: Client, namespace: Option<&str>) -> Api<Self>;
}

macro_rules! namespaced {
    ($($kind:ty),*) => { $(
        impl PlaneApi for $kind {
            fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
                namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
            }
        }
    )* };
}

macro_rules! clustered {
    ($($kind:ty),*) => { $(
        impl PlaneApi for $kind {
            fn api(client: Client, _: Option<&str>) -> Api<Self> {
                Api::all(client)
            }
        }
    )* };
}

namespaced!(BuildPlane, DataPlane, ObservabilityPlane);
clustered!(ClusterBuildPlane, ClusterDataPlane, ClusterObservabilityPlane);
