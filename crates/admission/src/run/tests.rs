use serde_json::json;

use super::*;

fn namespace() -> CiNamespace {
    CiNamespace::for_namespace("org").expect("a namespace")
}

fn workflow(spec: &Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "run-1"}, "spec": spec})
}

#[test]
fn an_ordinary_workflow_is_confined() {
    let object = workflow(&json!({
        "entrypoint": "build",
        "serviceAccountName": SERVICE_ACCOUNT,
        "templates": [{
            "name": "build",
            "steps": [[{"name": "a", "templateRef": {"name": "docker", "template": "build", "clusterScope": true}}]],
        }],
        "volumeClaimTemplates": [{"metadata": {"name": "w"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        "volumes": [{"name": "s", "secret": {"secretName": "x"}}],
    }));
    let admitted = judge_run(object, &namespace()).expect("admitted");
    assert_eq!(admitted.name(), "run-1");
    let object = admitted.into_object();
    assert_eq!(object["metadata"]["namespace"], "openchoreo-ci-org");
    assert_eq!(object["spec"]["serviceAccountName"], SERVICE_ACCOUNT);
    assert_eq!(object["spec"]["automountServiceAccountToken"], false);
}

/// Each spec is refused, at the given place.
#[test]
fn what_would_leave_the_sandbox_is_refused() {
    let step = |fields: Value| json!({"templates": [{"name": "t", "container": fields}]});
    for (spec, place) in [
        (json!({"serviceAccountName": "default"}), "spec.serviceAccountName"),
        (json!({"SERVICEACCOUNTNAME": "default"}), "spec.SERVICEACCOUNTNAME"),
        (
            json!({"serviceAccountName": "workflow-sa", "serviceaccountname": "workflow-sa"}),
            "serviceaccountname",
        ),
        (json!({"executor": {"serviceAccountName": "admin"}}), "spec.executor.serviceAccountName"),
        (json!({"automountServiceAccountToken": true}), "spec.automountServiceAccountToken"),
        (json!({"hostNetwork": true}), "spec.hostNetwork"),
        (json!({"hostnetwork": "true"}), "spec.hostnetwork"),
        (json!({"podSpecPatch": "{}"}), "spec.podSpecPatch"),
        (json!({"templates": [{"podSpecPatch": "hostPID: true"}]}), "spec.templates[0].podSpecPatch"),
        (json!({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}), "spec.volumes[0].hostPath"),
        (json!({"volumes": [{"name": "h", "HostPath": {"path": "/"}}]}), "spec.volumes[0].HostPath"),
        (json!({"volumes": [{"name": "h", "nfs": {"server": "x"}}]}), "spec.volumes[0].nfs"),
        (
            json!({"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
            "serviceAccountToken",
        ),
        (json!({"volumeClaimTemplates": [{"spec": {"volumeName": "pv-of-others"}}]}), "volumeName"),
        (
            json!({"volumeClaimTemplates": [{"spec": {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "x"}}}]}),
            "spec.volumeClaimTemplates[0].spec.dataSourceRef",
        ),
        (
            json!({"volumeClaimTemplates": [{"Spec": {"Selector": {"matchLabels": {"of": "others"}}}}]}),
            "spec.volumeClaimTemplates[0].spec.Selector",
        ),
        (json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}), "sysctls"),
        (step(json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})), "seccompProfile"),
        (step(json!({"securityContext": {"appArmorProfile": {"type": "Localhost"}}})), "appArmorProfile"),
        (step(json!({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}})), "seLinuxOptions"),
        (step(json!({"securityContext": {"windowsOptions": {"hostProcess": true}}})), "hostProcess"),
        (
            json!({"podMetadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"}}}),
            "podMetadata.annotations",
        ),
        (step(json!({"securityContext": {"privileged": true}})), "privileged"),
        (step(json!({"securityContext": {"allowPrivilegeEscalation": true}})), "allowPrivilegeEscalation"),
        (step(json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})), "capabilities"),
        (step(json!({"securityContext": {"procMount": "Unmasked"}})), "procMount"),
        (step(json!({"ports": [{"containerPort": 1, "hostPort": 1}]})), "hostPort"),
        (
            json!({"templates": [{"initContainers": [{"securityContext": {"privileged": true}}]}]}),
            "privileged",
        ),
        (json!({"templates": [{"sidecars": [{"securityContext": {"privileged": true}}]}]}), "privileged"),
        (json!({"templates": [{"resource": {"action": "create"}}]}), "spec.templates[0].resource"),
        (json!({"templates": [{"http": {"url": "http://x"}}]}), "spec.templates[0].http"),
        (json!({"templates": [{"plugin": {}}]}), "spec.templates[0].plugin"),
        (json!({"templates": [{"steps": [[{"inline": {"resource": {}}}]]}]}), "inline.resource"),
        (json!({"artifactGC": {"strategy": "OnWorkflowDeletion"}}), "spec.artifactGC"),
        (json!({"templateDefaults": {"hostPath": {}}}), "hostPath"),
        (json!({"ho\u{17f}tNetwork": true}), "is no field"),
    ] {
        let violations = judge_run(workflow(&spec), &namespace()).expect_err("refused");
        let told = violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(told.contains(place), "{spec}: {told}");
    }
}

#[test]
fn metadata_is_the_platforms() {
    let with = |metadata: Value| {
        let mut object = workflow(&json!({}));
        object["metadata"] = metadata;
        object
    };
    for metadata in [
        json!({"name": "a", "namespace": "kube-system"}),
        json!({"name": "a", "namespace": "openchoreo-ci-other"}),
        json!({"name": "a", "ownerReferences": []}),
        json!({"name": "a", "finalizers": ["x"]}),
        json!({"generateName": "a-"}),
        json!({"name": "A"}),
        json!({"name": "a/b"}),
        json!({"name": "a".repeat(64)}),
        json!({"name": "a", "labels": {"x": 1}}),
    ] {
        assert!(judge_run(with(metadata.clone()), &namespace()).is_err(), "{metadata}");
    }
    assert!(judge_run(with(json!({"name": "a", "namespace": "openchoreo-ci-org"})), &namespace()).is_ok());
}

#[test]
fn only_argo_workflows_run() {
    for (api_version, kind) in [("v1", "Pod"), ("argoproj.io/v1alpha1", "CronWorkflow"), ("batch/v1", "Job")]
    {
        let mut object = workflow(&json!({}));
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        assert!(judge_run(object, &namespace()).is_err(), "{kind}");
    }
}

#[test]
fn a_script_may_mention_anything() {
    let spec = json!({"templates": [{"container": {"command": ["sh", "-c", "echo hostPath: privileged"]}}]});
    assert!(judge_run(workflow(&spec), &namespace()).is_ok());
}

#[test]
fn deep_nesting_is_refused() {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    assert!(judge_run(workflow(&json!({"x": deep})), &namespace()).is_err());
}
