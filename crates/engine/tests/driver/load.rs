//! Many workflows: few writes each.

use std::sync::atomic::Ordering;

use buildplane_argo::WorkflowPhase;
use buildplane_engine::{Config, Engine};
use kube::api::ListParams;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Moment, one_step, phase};

/// Workflows of the run.
const COUNT: usize = 100;
/// A pod, the beginning, the step running, the end.
const WRITES: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_of_one_step_takes_no_more_than_four_writes() {
    let cluster = Cluster::start().await;
    let (client, counter) = cluster.counted(0, Moment::After);
    let shutdown = CancellationToken::new();
    let engine = tokio::spawn(Engine::new(client, Config::default()).run(shutdown.clone()));
    let begin = std::time::Instant::now();
    for index in 0..COUNT {
        cluster.submit(&format!("wf-{index}"), one_step(&["ok"])).await;
    }
    cluster
        .eventually("all end", async || {
            let all = cluster.workflows().list(&ListParams::default()).await.expect("a list");
            all.items.iter().filter(|workflow| phase(workflow) == Some(WorkflowPhase::Succeeded)).count()
                == COUNT
        })
        .await;
    let rate = f64::from(u32::try_from(COUNT).expect("few")) / begin.elapsed().as_secs_f64();
    let writes = counter.count.load(Ordering::SeqCst);
    println!("{rate:.0} workflows per second, {writes} writes for {COUNT} workflows");
    assert!(writes <= COUNT * WRITES, "{writes} writes for {COUNT} workflows");
    shutdown.cancel();
    engine.await.expect("it does not panic").expect("it ends well");
    cluster.stop().await;
}
