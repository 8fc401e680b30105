use serde_json::json;

use super::*;
use crate::runs::problem::Remedy;
use crate::runs::testing::{run, workflow};

/// Every pure step, with no reference resolved.
fn validate(run: &WorkflowRun, workflow: &Workflow) -> Result<Validated, Problem> {
    let prepared = prepare(run, workflow, names(run)?, None)?;
    prepared.external_ref_names()?;
    prepared.render(Map::new())
}

fn refused(run: &WorkflowRun, workflow: &Workflow) -> Problem {
    validate(run, workflow).expect_err("refused")
}

#[test]
fn a_run_that_fits_renders_with_defaults() {
    let validated = validate(&run(&json!({"url": "https://git/x"})), &workflow()).expect("valid");
    assert_eq!(validated.run.name(), "run-1");
    assert_eq!(validated.namespace.as_str(), "openchoreo-ci-org");
    assert!(validated.resources.is_empty());
    let object = validated.run.into_object();
    assert_eq!(object["spec"]["arguments"]["parameters"][1]["value"], "main");
}

#[test]
fn parameters_that_do_not_fit_are_told_by_name() {
    for (parameters, told) in [
        (json!({}), "url"),
        (json!({"url": 1}), "parameters.url"),
        (json!({"url": "x", "brnch": "dev"}), "brnch"),
    ] {
        let problem = refused(&run(&parameters), &workflow());
        assert_eq!(
            (problem.reason, problem.remedy),
            (reason::PARAMETERS_INVALID, Remedy::Change),
            "{parameters}"
        );
        assert!(problem.message.contains(told), "{}", problem.message);
    }
}

#[test]
fn what_is_wrong_in_the_workflow_is_told_as_such() {
    let good = json!({"url": "x"});
    let with = |change: fn(&mut Workflow)| {
        let mut workflow = workflow();
        change(&mut workflow);
        refused(&run(&good), &workflow)
    };
    let schema = with(|w| {
        let parameters = &mut w.spec.schema.as_mut().expect("a schema").parameters;
        parameters.as_mut().expect("parameters").insert("x".into(), json!("unheard-of"));
    });
    assert_eq!(schema.reason, reason::WORKFLOW_INVALID);
    let template = with(|w| {
        w.spec.run_template.insert("x".into(), json!("${nothing.here}"));
    });
    assert_eq!(template.reason, reason::WORKFLOW_INVALID, "{}", template.message);
    let render = with(|w| {
        w.spec.run_template.insert("x".into(), json!("${metadata.labels['absent']}"));
    });
    assert_eq!(render.reason, reason::RENDER_FAILED, "{}", render.message);
    let admission = with(|w| {
        w.spec.run_template["spec"]["hostNetwork"] = json!(true);
    });
    assert_eq!(admission.reason, reason::NOT_ADMITTED);
    assert!(admission.message.contains("hostNetwork"), "{}", admission.message);
}

#[test]
fn names_that_do_not_fit_end_the_run() {
    let mut long = run(&json!({"url": "x"}));
    long.metadata.namespace = Some("n".repeat(50));
    let problem = refused(&long, &workflow());
    assert_eq!((problem.reason, problem.remedy), (reason::INVALID_NAME, Remedy::None));
    assert!(problem.message.contains("at most 49"), "{}", problem.message);

    let mut long = run(&json!({"url": "x"}));
    long.metadata.name = Some("r".repeat(64));
    assert_eq!(refused(&long, &workflow()).reason, reason::INVALID_NAME);
}

#[test]
fn references_are_named_only_where_they_render_to_something() {
    let names_of = |parameters: &Value| {
        let run = run(parameters);
        let namespace = names(&run).expect("names");
        prepare(&run, &workflow(), namespace, None).expect("prepared").external_ref_names().expect("rendered")
    };
    assert!(names_of(&json!({"url": "x"})).is_empty());
    let named = names_of(&json!({"url": "x", "secret": "github"}));
    assert_eq!(named.get("git").map(String::as_str), Some("github"));
}

#[test]
fn the_shipped_workflow_is_admitted() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/workflows/docker.yaml");
    let text = std::fs::read_to_string(path).expect("the shipped Workflow");
    let workflow: Workflow = serde_saphyr::from_str(&text).expect("a Workflow");
    let mut run = run(&json!({"repository": {"url": "https://git.example/greeter"}}));
    let validated = validate(&run, &workflow).expect("valid without a component");
    assert_eq!(validated.resources.len(), 1);
    let labels = [("openchoreo.dev/project", "shop"), ("openchoreo.dev/component", "greeter")];
    run.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let validated = validate(&run, &workflow).expect("valid with a component");
    let object = validated.run.into_object();
    let parameters = object["spec"]["arguments"]["parameters"].as_array().expect("parameters");
    let image = parameters.iter().find(|parameter| parameter["name"] == "image-name").expect("an image name");
    assert_eq!(image["value"], "org.shop.greeter");
}
