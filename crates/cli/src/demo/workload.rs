//! Step six: the Workload that the build left in the control plane, ready to be deployed.

use buildplane_api::Workload;
use buildplane_api::meta::API_VERSION;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{COMPONENT, Demo, NAMESPACE};
use crate::failure::{Failure, Result};
use crate::output::document::{DocumentFormat, render};

pub(super) async fn show(demo: &mut Demo) -> Result<()> {
    demo.narrator.part("The Workload that the build created")?;
    let workloads: Api<Workload> = Api::namespaced(demo.connection.client.clone(), NAMESPACE);
    let all = workloads.list(&ListParams::default()).await?.items;
    let own = all.into_iter().find(|workload| workload.spec.owner.component_name == COMPONENT);
    let workload = own.ok_or_else(|| Failure::new("the build created no Workload"))?;
    demo.narrator.same_as(&format!("kubectl get workload {} -n {NAMESPACE} -o yaml", workload.name_any()))?;
    let document = json!({
        "apiVersion": API_VERSION,
        "kind": "Workload",
        "metadata": {"name": workload.name_any(), "namespace": NAMESPACE},
        "spec": workload.spec,
    });
    for text in render(&document, DocumentFormat::Yaml)?.lines() {
        demo.narrator.say(text)?;
    }
    Ok(())
}
