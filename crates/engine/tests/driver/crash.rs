//! The engine dies at each of its writes, just before or just after it: the next one finishes the run, and no step is
//! started twice.

use buildplane_argo::WorkflowPhase;
use buildplane_engine::{Config, Engine};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Moment, phase};

fn spec() -> serde_json::Value {
    json!({
        "entrypoint": "main",
        "podGC": {"strategy": "OnPodSuccess"},
        "volumeClaimTemplates": [{
            "metadata": {"name": "work"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }],
        "templates": [
            {"name": "main", "steps": [
                [{"name": "a", "template": "leaf"}, {"name": "b", "template": "leaf"}],
                [{"name": "c", "template": "leaf"}],
            ]},
            {"name": "leaf", "container": {"image": "i", "args": ["ok"], "volumeMounts": [{"name": "work", "mountPath": "/w"}]}},
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_runs_twice_whenever_the_engine_dies() {
    let cluster = Cluster::start().await;
    let mut crashes = 0;
    for moment in [Moment::Before, Moment::After] {
        for at in 1..=9 {
            let name = format!("wf-{at}-{}", if moment == Moment::Before { "before" } else { "after" });
            let (client, counter) = cluster.counted(at, moment);
            let (config, shutdown) =
                (Config { grace: std::time::Duration::ZERO, ..Config::default() }, CancellationToken::new());
            let first = Engine::new(client, config.clone()).run(shutdown.clone());
            cluster.submit(&name, spec()).await;
            tokio::select! {
                ended = first => ended.expect("the engine runs"),
                () = counter.crashed.cancelled() => crashes += 1,
                _ = cluster.ended(&name) => {}
            }
            let (client, _) = cluster.counted(0, moment);
            let second = tokio::spawn(Engine::new(client, config).run(shutdown.clone()));
            let workflow = cluster.ended(&name).await;
            assert_eq!(phase(&workflow), Some(WorkflowPhase::Succeeded), "{name}: {:?}", workflow.raw_status);
            shutdown.cancel();
            second.await.expect("it does not panic").expect("it ends well");
        }
    }
    assert!(crashes >= 12, "only {crashes} crashes happened");
    for (pod, starts) in cluster.node.starts() {
        assert_eq!(starts, 1, "{pod}");
    }
    cluster.stop().await;
}
