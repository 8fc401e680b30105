use serde_json::json;

use super::*;
use crate::runs::testing::{run, workflow};
use crate::runs::validate::{names, prepare};

fn objects(run: &WorkflowRun) -> Objects {
    let prepared = prepare(run, &workflow(), names(run).expect("names"), None).expect("prepared");
    build(run, prepared.render(Map::new()).expect("rendered"))
}

#[test]
fn everything_of_the_run_is_marked_as_its_own() {
    let objects = objects(&run(&json!({"url": "x", "secret": "s"})));
    assert_eq!(objects.resources.len(), 1);
    for owned in objects.resources.iter().chain([&objects.run]) {
        let metadata = &owned.object["metadata"];
        assert_eq!(metadata["labels"][label::WORKFLOW_RUN], "run-1");
        assert_eq!(metadata["labels"][label::WORKFLOW_RUN_NAMESPACE], "org");
        assert_eq!(metadata["labels"][label::MANAGED_BY], label::MANAGED_BY_RUNS);
        assert_eq!(metadata["annotations"][annotation::WORKFLOW_RUN_UID], "uid-1");
        assert_eq!(metadata["namespace"], "openchoreo-ci-org");
        assert_eq!(owned.reference.namespace.as_deref(), Some("openchoreo-ci-org"));
    }
    assert_eq!(objects.resources[0].path, "/api/v1/namespaces/openchoreo-ci-org/configmaps");
    assert_eq!(objects.run.path, "/apis/argoproj.io/v1alpha1/namespaces/openchoreo-ci-org/workflows");
}

#[test]
fn holding_is_the_runs_own_word() {
    let mut held = run(&json!({"url": "x"}));
    assert_eq!(objects(&held).run.object["spec"].get("suspend"), None, "the template's word does not count");
    held.spec.suspend = true;
    assert_eq!(objects(&held).run.object["spec"]["suspend"], true);
}

#[test]
fn the_account_of_builds_has_no_token_and_may_report_results_alone() {
    let objects = objects(&run(&json!({"url": "x"})));
    let kinds: Vec<_> = objects.prerequisites.iter().map(|p| p.object["kind"].clone()).collect();
    assert_eq!(kinds, ["ServiceAccount", "Role", "RoleBinding"]);
    assert_eq!(objects.prerequisites[0].object["automountServiceAccountToken"], false);
    assert_eq!(
        objects.prerequisites[1].object["rules"],
        json!([{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}])
    );
    assert_eq!(objects.run.object["spec"]["automountServiceAccountToken"], false);
}
