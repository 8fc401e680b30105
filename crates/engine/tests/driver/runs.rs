//! Whole runs through the API.

use buildplane_argo::{NodePhase, WorkflowPhase};
use buildplane_engine::Config;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NAMESPACE, message, one_step, phase};

fn two_steps() -> Value {
    json!({
        "entrypoint": "main",
        "volumeClaimTemplates": [{
            "metadata": {"name": "work"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }],
        "templates": [{"name": "main", "steps": [
            [{"name": "a", "templateRef": {"name": "shared", "template": "make", "clusterScope": true}}],
            [{"name": "b", "templateRef": {"name": "shared", "template": "use", "clusterScope": true},
              "arguments": {"parameters": [{"name": "what", "value": "{{steps.a.outputs.parameters.out}}"}]}}],
        ]}],
    })
}

async fn share_templates(cluster: &Cluster) {
    let template: buildplane_argo::ClusterWorkflowTemplate = serde_json::from_value(json!({
        "metadata": {"name": "shared"},
        "spec": {"templates": [
            {"name": "make", "outputs": {"parameters": [{"name": "out", "valueFrom": {"path": "/tmp/out"}}]},
             "container": {"image": "i", "args": ["ok", "out=made\n"], "volumeMounts": [{"name": "work", "mountPath": "/w"}]}},
            {"name": "use", "inputs": {"parameters": [{"name": "what"}]},
             "outputs": {"parameters": [{"name": "out", "valueFrom": {"path": "/tmp/out"}}]},
             "container": {"image": "i", "args": ["ok", "out=used {{inputs.parameters.what}}"]}},
        ]},
    }))
    .expect("a template");
    let api: Api<buildplane_argo::ClusterWorkflowTemplate> = Api::all(cluster.client.clone());
    api.create(&PostParams::default(), &template).await.expect("a template is accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_of_two_steps_runs_to_its_end() {
    let mut cluster = Cluster::start().await;
    share_templates(&cluster).await;
    cluster.engine(Config::default());
    cluster.submit("wf", two_steps()).await;
    let workflow = cluster.ended("wf").await;
    let status = workflow.status().expect("the status is well formed");
    assert_eq!(status.phase, Some(WorkflowPhase::Succeeded), "{status:?}");
    let tasks: Vec<_> =
        status.pods().iter().map(|node| (node.task_name(), node.output_parameter("out"))).collect();
    assert_eq!(tasks, [("a", Some("made")), ("b", Some("used made"))]);
    assert_eq!(workflow.metadata.labels.expect("labels")["workflows.argoproj.io/completed"], "true");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    cluster
        .eventually("the claim is removed", async || {
            claims.list(&ListParams::default()).await.expect("a list").items.is_empty()
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_ends_in_errors_and_stops_nobody() {
    let mut cluster = Cluster::start().await;
    cluster.engine(Config::default());
    let poison = [
        json!({}),
        json!({"entrypoint": 5}),
        json!({"entrypoint": "main", "templates": [{"name": "main", "steps": [[{"name": "x", "template": "main"}]]}]}),
        json!({"entrypoint": "main", "templates": [{"name": "main", "container": {"image": ["a"]}}]}),
        json!({"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "i", "env": [{"name": "A", "valueFrom": 7}]}}]}),
        json!({"entrypoint": "main", "templates": [{"name": "Main_", "container": {"image": "i"}}]}),
        json!({"workflowTemplateRef": {"name": "gone", "clusterScope": true}}),
    ];
    for (index, spec) in poison.into_iter().enumerate() {
        cluster.submit(&format!("poison-{index}"), spec).await;
    }
    // A status only a hostile hand writes.
    let broken: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "poison-status"},
        "spec": one_step(&["ok"]), "status": {"nodes": [1, 2]},
    }))
    .expect("an object");
    let resource = kube::api::ApiResource::erase::<buildplane_argo::Workflow>(&());
    let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), NAMESPACE, &resource);
    api.create(&PostParams::default(), &broken).await.expect("anything is accepted there");
    cluster.submit("good", one_step(&["ok"])).await;
    assert_eq!(phase(&cluster.ended("good").await), Some(WorkflowPhase::Succeeded));
    for index in 0..7 {
        let ended = cluster.ended(&format!("poison-{index}")).await;
        assert_eq!(phase(&ended), Some(WorkflowPhase::Error), "poison-{index}: {}", message(&ended));
        assert!(!message(&ended).is_empty(), "poison-{index}");
    }
    assert_eq!(phase(&cluster.ended("poison-status").await), Some(WorkflowPhase::Error));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_a_workflow_removes_its_pod_and_says_so() {
    let mut cluster = Cluster::start().await;
    cluster.engine(Config::default());
    cluster.submit("wf", one_step(&["hold"])).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    cluster
        .eventually("the step runs", async || {
            let workflow = cluster.workflows().get("wf").await.expect("it is there");
            let status = workflow.status().expect("a status");
            status.nodes.get("wf").is_some_and(|node| node.phase == Some(NodePhase::Running))
        })
        .await;
    cluster.patch("wf", &json!({"spec": {"shutdown": "Terminate"}})).await;
    let ended = cluster.ended("wf").await;
    assert_eq!(
        (phase(&ended), message(&ended).as_str()),
        (Some(WorkflowPhase::Failed), "Stopped with strategy 'Terminate'")
    );
    cluster.eventually("the pod goes", async || pods.get_opt("wf").await.expect("an answer").is_none()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_wait_their_turn_and_say_why() {
    let mut cluster = Cluster::start().await;
    cluster.engine(Config { active_workflows: Some(1), ..Config::default() });
    cluster.submit("first", one_step(&["hold"])).await;
    cluster
        .eventually("the first one runs", async || {
            phase(&cluster.workflows().get("first").await.expect("it is there"))
                == Some(WorkflowPhase::Running)
        })
        .await;
    cluster.submit("second", one_step(&["ok"])).await;
    cluster
        .eventually("the second one waits", async || {
            let second = cluster.workflows().get("second").await.expect("it is there");
            phase(&second) == Some(WorkflowPhase::Pending)
                && message(&second).contains("1 workflows are under way")
        })
        .await;
    cluster.patch("first", &json!({"spec": {"shutdown": "Stop"}})).await;
    let second = cluster.ended("second").await;
    assert_eq!((phase(&second), message(&second).as_str()), (Some(WorkflowPhase::Succeeded), ""));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_go_when_their_time_is_over_and_take_their_pods_along() {
    let mut cluster = Cluster::start().await;
    cluster.engine(Config::default());
    let mut spec = one_step(&["fail"]);
    spec["ttlStrategy"] = json!({"secondsAfterFailure": 0});
    cluster.submit("wf", spec).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    cluster
        .eventually("the workflow and its pod go", async || {
            cluster.workflows().get_opt("wf").await.expect("an answer").is_none()
                && cluster.node.starts().len() == 1
                && pods.list(&ListParams::default()).await.expect("a list").items.is_empty()
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_workflow_of_an_old_name_starts_afresh() {
    let mut cluster = Cluster::start().await;
    cluster.engine(Config::default());
    for round in 1..=3 {
        cluster.submit("wf", one_step(&["ok"])).await;
        assert_eq!(phase(&cluster.ended("wf").await), Some(WorkflowPhase::Succeeded), "round {round}");
        assert_eq!(cluster.node.starts()["wf"], round);
        cluster
            .workflows()
            .delete("wf", &kube::api::DeleteParams::background())
            .await
            .expect("it can be removed");
        cluster
            .eventually("it is gone", async || {
                cluster.workflows().get_opt("wf").await.expect("an answer").is_none()
            })
            .await;
    }
    cluster.stop().await;
}
