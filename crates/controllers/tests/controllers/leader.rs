//! Several controller processes.

use buildplane_api::BuildPlane;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;

use crate::planes::{ca, plane, until};
use crate::world::{World, eventually};

async fn lease(api: &Api<Lease>) -> Option<LeaseSpec> {
    api.get_opt("buildplane-controller").await.expect("an answer").and_then(|lease| lease.spec)
}

async fn until_held_by_another(api: &Api<Lease>, than: &str) -> String {
    eventually(&format!("another than {than:?} leads"), async || {
        let holder = lease(api).await?.holder_identity?;
        (holder != than).then_some(holder)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_works_and_another_takes_over_when_it_is_killed() {
    let world = World::without_controllers().await;
    let leases = world.of::<Lease>();
    let spec = serde_json::json!({"clusterAgent": {"clientCA": {"value": ca()}}});
    let mut candidates = vec![("a", world.start_candidate("a")), ("b", world.start_candidate("b"))];
    let first = until_held_by_another(&leases, "").await;
    world.create::<BuildPlane>(plane("one", &spec)).await;
    until(&world, "one", "ClientCAValid", "True/CertificatesValid").await;
    assert_eq!(world.gateway.n_watchers(), 1, "who stands by follows no gateway");
    assert_eq!(world.gateway.n_registrations(), 1);
    let held = lease(&leases).await.expect("the lease");

    // Killed: nothing of it goes on, and the lease is not given back.
    let index = candidates.iter().position(|(name, _)| *name == first).expect("a candidate leads");
    let (_, leader) = candidates.swap_remove(index);
    leader.abort();
    let _killed = leader.await;
    let second = until_held_by_another(&leases, &first).await;
    assert_eq!(second, candidates[0].0);
    let taken = lease(&leases).await.expect("the lease");
    assert_eq!(taken.lease_transitions, held.lease_transitions.map(|n| n + 1));
    world.create::<BuildPlane>(plane("two", &spec)).await;
    until(&world, "two", "ClientCAValid", "True/CertificatesValid").await;

    // Told to end, it gives the lease back.
    world.end();
    let (_, leader) = candidates.remove(0);
    leader.await.expect("it ends well");
    let given_back = lease(&leases).await.expect("the lease");
    assert_eq!(given_back.holder_identity, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_lease_somebody_took_stops() {
    let world = World::without_controllers().await;
    let leases = world.of::<Lease>();
    let spec = serde_json::json!({"clusterAgent": {"clientCA": {"value": ca()}}});
    let _candidate = world.start_candidate("a");
    until_held_by_another(&leases, "").await;
    world.create::<BuildPlane>(plane("one", &spec)).await;
    until(&world, "one", "ClientCAValid", "True/CertificatesValid").await;
    eventually("somebody takes the lease", async || {
        let mut lease = leases.get("buildplane-controller").await.expect("the lease");
        lease.spec.as_mut()?.holder_identity = Some("somebody".to_owned());
        leases.replace("buildplane-controller", &kube::api::PostParams::default(), &lease).await.ok()
    })
    .await;
    eventually("it follows the gateway no longer", async || (world.gateway.n_watchers() == 0).then_some(()))
        .await;
    // Somebody is never heard of again.
    let next = until_held_by_another(&leases, "somebody").await;
    assert_eq!(next, "a");
    eventually("it works again", async || (world.gateway.n_watchers() == 1).then_some(())).await;
}
