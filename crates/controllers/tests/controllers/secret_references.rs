use buildplane_api::SecretReference;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::{World, eventually, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reference_tells_what_is_wrong_with_it_before_a_run_needs_it() {
    let world = World::new().await;
    let reads = async |expected: &str| {
        eventually(&format!("the SecretReference is {expected}"), async || {
            let reference = world.of::<SecretReference>().get("git").await.expect("the SecretReference");
            let generation = reference.metadata.generation;
            let conditions = reference.status.unwrap_or_default().conditions;
            let current = conditions.iter().all(|condition| condition.observed_generation == generation);
            (current && told(&conditions, "Ready") == expected).then_some(())
        })
        .await;
    };
    world
        .create::<SecretReference>(json!({
            "apiVersion": "openchoreo.dev/v1alpha1",
            "kind": "SecretReference",
            "metadata": {"name": "git", "namespace": "org"},
            "spec": {
                "template": {"type": "kubernetes.io/basic-auth"},
                "data": [{"secretKey": "token", "remoteRef": {"key": "git/token"}}],
            },
        }))
        .await;
    reads("False/SecretKeyMissing").await;
    let data = json!([{"secretKey": "password", "remoteRef": {"key": "git/token"}}]);
    let patch = Patch::Merge(json!({"spec": {"data": data}}));
    let api = world.of::<SecretReference>();
    api.patch("git", &PatchParams::default(), &patch).await.expect("the SecretReference");
    reads("True/SecretReferenceValid").await;
}
