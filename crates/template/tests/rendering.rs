//! What templates render to, through the public face.

use std::collections::BTreeMap;

use buildplane_template::{
    Error, ExternalReference, ParameterSchema, Problem, ResourceTemplate, RunContext, WorkflowTemplate,
};
use serde_json::{Value, json};

fn context() -> RunContext {
    let parameters = json!({
        "repository": {"url": "https://git.example/r", "revision": {"branch": "main"}},
        "port": 8080, "big": 1_000_000, "float": 1e6, "half": 0.5, "debug": true, "empty": "",
        "tags": ["a", "b"], "map": {"k": "<v>"}, "my-key": "mine", "template": "${b}", "b": "B", "nothing": null,
    });
    let spec = json!({"spec": {"type": "Opaque", "data": [{"secretKey": "u", "remoteRef": {"key": "k"}}]}});
    RunContext {
        namespace_name: "team".to_owned(),
        run_name: "run-1".to_owned(),
        namespace: "openchoreo-ci-team".to_owned(),
        labels: BTreeMap::from([("openchoreo.dev/component".to_owned(), "greeter".to_owned())]),
        parameters,
        external_refs: [("repo-credentials".to_owned(), spec)].into_iter().collect(),
        secret_store: Some("vault".to_owned()),
    }
}

fn references() -> Vec<ExternalReference> {
    vec![
        ExternalReference {
            id: "repo-credentials".to_owned(),
            name: "${parameters.repository.?secretRef.orValue('')}".to_owned(),
        },
        ExternalReference { id: "other".to_owned(), name: "fixed-${metadata.namespaceName}".to_owned() },
    ]
}

fn run_template(field: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "field": field})
}

fn compile(field: &Value) -> Result<WorkflowTemplate, Vec<Error>> {
    WorkflowTemplate::compile(&run_template(field), &[], &references(), None)
}

fn render(field: &Value) -> Result<Option<Value>, Error> {
    let rendered = compile(field).map_err(|errors| errors[0].clone())?.render(&context())?;
    Ok(rendered.run.get("field").cloned())
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better without a borrow")]
fn check(field: Value, expected: Value) {
    assert_eq!(render(&field), Ok(Some(expected)), "{field}");
}

#[test]
fn a_lone_expression_keeps_its_type() {
    check(json!("${parameters.port}"), json!(8080));
    check(json!("  ${parameters.tags}\n"), json!(["a", "b"]));
    check(json!("${parameters.map}"), json!({"k": "<v>"}));
    check(json!("${parameters.debug}"), json!(true));
    check(json!("${{'a': parameters.port,\n 'b': [1]}}"), json!({"a": 8080, "b": [1]}));
    check(json!("${parameters.port + 1}"), json!(8081));
}

#[test]
fn expressions_in_a_text_are_printed() {
    check(
        json!("p=${parameters.port} b=${parameters.big} f=${parameters.float}"),
        json!("p=8080 b=1000000 f=1000000"),
    );
    check(json!("h=${parameters.half} d=${parameters.debug}"), json!("h=0.5 d=true"));
    check(json!("${parameters.tags}${parameters.map}"), json!("[\"a\",\"b\"]{\"k\":\"<v>\"}"));
    check(json!("t=${parameters.template}, b=${parameters.b}"), json!("t=${b}, b=B"));
    check(json!("${metadata.namespaceName}-${metadata.workflowRunName}"), json!("team-run-1"));
    check(
        json!("cost: $${parameters.port} $5 ${parameters.port}"),
        json!("cost: ${parameters.port} $5 8080"),
    );
    check(json!("${incomplete"), json!("${incomplete"));
}

#[test]
fn keys_render_and_must_be_strings() {
    check(json!({"${parameters.b}-${parameters.port}": 1, "x": 2}), json!({"B-8080": 1, "x": 2}));
    check(json!({"${parameters.b}": {"${'in' + 'ner'}": []}}), json!({"B": {"inner": []}}));
    let error = render(&json!({"${parameters.port}": 1})).unwrap_err();
    assert!(error.to_string().contains("must evaluate to a string"), "{error}");
    let error = render(&json!({"${parameters.b}": 1, "B": 2})).unwrap_err();
    assert!(matches!(error.problem, Problem::DuplicateKey { key } if key == "B"));
}

#[test]
fn omitted_values_disappear() {
    check(json!("${['a', false ? 'b' : oc_omit(), 'c']}"), json!(["a", "c"]));
    check(json!("${{'n': oc_omit()}}"), json!({}));
    check(json!({"gone": "${oc_omit()}", "kept": 1}), json!({"kept": 1}));
    check(json!(["${oc_omit()}", 1, "${parameters.?missing}"]), json!([1]));
    check(json!(["${oc_omit()}"]), json!([]));
    check(json!("${[{'a': oc_omit(), 'b': [oc_omit()]}]}"), json!([{"b": []}]));
    assert_eq!(render(&json!("${parameters.debug ? oc_omit() : 1}")).unwrap(), None);
    let error = render(&json!("x-${oc_omit()}")).unwrap_err();
    assert!(matches!(error.problem, Problem::AbsentInText { .. }));
}

#[test]
fn functions_match_upstream() {
    check(
        json!("${oc_merge({\"a\":1,\"b\":2},{\"b\":20,\"c\":30},{\"c\":300,\"d\":400})}"),
        json!({"a": 1, "b": 20, "c": 300, "d": 400}),
    );
    check(json!("${oc_merge({'a': 1}, {'a': oc_omit()})}"), json!({"a": 1}));
    check(json!("${oc_generate_name('my-app', 'v1.2.3')}"), json!("my-app-v1.2.3-4f878dd8"));
    check(
        json!("${oc_dns_label(['http', 'my-service', 'prod', 'default'])}"),
        json!("http-my-service-prod-default-800d0dd2"),
    );
    check(json!("${oc_hash('test')}"), json!("afd071e5"));
    let errors = compile(&json!("${oc_merge({})}")).unwrap_err();
    assert!(errors[0].to_string().contains("oc_merge: requires at least 2 arguments"), "{}", errors[0]);
    assert!(compile(&json!("${oc_generate_name()}")).is_err());
    assert!(render(&json!("${oc_generate_name([])}")).is_err());
}

#[test]
fn external_references() {
    for expression in [
        "externalRefs['repo-credentials'].spec.type",
        "externalRefs.repo-credentials.spec.type",
        "has(externalRefs.repo-credentials) ? externalRefs.repo-credentials.spec.type : ''",
        "has(externalRefs['repo-credentials']) && !has(externalRefs.other) ? 'Opaque' : ''",
        "'repo-credentials' in externalRefs ? 'Opaque' : ''",
        "externalRefs.?other.spec.type.orValue('Opaque')",
    ] {
        check(json!(format!("${{{expression}}}")), json!("Opaque"));
    }
    check(
        json!(
            "${externalRefs['repo-credentials'].spec.data.map(s, {'secretKey': s.secretKey, 'remoteRef': {'key': s.remoteRef.key, 'property': has(s.remoteRef.property) ? s.remoteRef.property : oc_omit()}})}"
        ),
        json!([{"secretKey": "u", "remoteRef": {"key": "k"}}]),
    );
    let names = compile(&json!(1)).unwrap().external_reference_names(&context()).unwrap();
    assert_eq!(names, BTreeMap::from([("other".to_owned(), "fixed-team".to_owned())]));

    let mut without = context();
    without.external_refs.clear();
    let template = compile(&json!("${size(externalRefs)}")).unwrap();
    assert_eq!(template.render(&without).unwrap().run["field"], json!(0));
}

#[test]
fn the_plane_names_its_secret_store() {
    check(json!("${workflowplane.secretStore}/${buildplane.secretStore}"), json!("vault/vault"));
    let mut context = context();
    context.secret_store = None;
    let template = compile(&json!("${workflowplane.?secretStore.orValue('default')}")).unwrap();
    assert_eq!(template.render(&context).unwrap().run["field"], json!("default"));
}

#[test]
fn parameter_and_environment_values_are_strings_and_nothing_else_is_touched() {
    let field = json!({
        "arguments": {"parameters": [
            {"name": "a", "value": "${parameters.port}"}, {"name": "b", "value": "${parameters.tags}"},
            {"name": "c", "value": "${parameters.float}"}, {"name": "d", "value": "x"}, {"name": "e", "value": false},
            {"name": "f", "default": 3},
        ]},
        "env": [{"name": "X", "value": "${parameters.map}"}, {"name": "Y", "valueFrom": {"secretKeyRef": {"key": "k"}}}],
        "script": "[1, 2]",
        "value": [1],
    });
    let expected = json!({
        "arguments": {"parameters": [
            {"name": "a", "value": "8080"}, {"name": "b", "value": "[\"a\",\"b\"]"},
            {"name": "c", "value": "1000000"}, {"name": "d", "value": "x"}, {"name": "e", "value": "false"},
            {"name": "f", "default": "3"},
        ]},
        "env": [{"name": "X", "value": "{\"k\":\"<v>\"}"}, {"name": "Y", "valueFrom": {"secretKeyRef": {"key": "k"}}}],
        "script": "[1, 2]",
        "value": [1],
    });
    check(field, expected);
}

fn resource(id: &str, include_when: Option<&str>, name: &str) -> ResourceTemplate {
    ResourceTemplate {
        id: id.to_owned(),
        include_when: include_when.map(str::to_owned),
        template: json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}),
    }
}

#[test]
fn resources_render_in_order_where_they_are_included() {
    let resources = [
        resource("always", None, "a-${parameters.b}"),
        resource("blank", Some(""), "b"),
        resource("no", Some("${parameters.empty != ''}"), "${parameters.missing}"),
        resource("yes", Some("${parameters.debug}"), "c"),
    ];
    let template = WorkflowTemplate::compile(&run_template(&json!(1)), &resources, &[], None).unwrap();
    let rendered = template.render(&context()).unwrap();
    let names: Vec<_> =
        rendered.resources.iter().map(|r| (r.id.as_str(), r.object["metadata"]["name"].clone())).collect();
    assert_eq!(names, [("always", json!("a-B")), ("blank", json!("b")), ("yes", json!("c"))]);
}

#[test]
fn conditions_and_objects_are_checked() {
    for (include_when, fails_early) in
        [("true", true), ("${parameters.b}", false), ("${parameters.missing}", false)]
    {
        let resources = [resource("r", Some(include_when), "n")];
        let template = WorkflowTemplate::compile(&run_template(&json!(1)), &resources, &[], None);
        assert_eq!(template.is_err(), fails_early, "{include_when}");
        if let Ok(template) = template {
            let error = template.render(&context()).unwrap_err();
            assert_eq!(error.path.to_string(), "resources[0].includeWhen");
        }
    }
    let nameless = [resource("r", None, "${parameters.empty}")];
    let template = WorkflowTemplate::compile(&run_template(&json!(1)), &nameless, &[], None).unwrap();
    let error = template.render(&context()).unwrap_err();
    assert_eq!(error.to_string(), "resources[0].template: the rendered object has no metadata.name");
}

#[test]
fn errors_name_the_place_the_expression_and_the_remedy() {
    let message = |field: Value| match compile(&field) {
        Err(errors) => errors[0].message(),
        Ok(template) => template.render(&context()).unwrap_err().message(),
    };
    for (field, expected) in [
        (
            json!({"a": [{"b/c": "${nope}"}]}),
            "runTemplate.field.a[0][\"b/c\"]: ${nope}: undeclared reference to \"nope\"; variables are metadata, \
             parameters, externalRefs, workflowplane, buildplane",
        ),
        (
            json!("${parameters.my-key}"),
            "runTemplate.field: ${parameters.my-key}: undeclared reference to \"key\"; a hyphen reads as minus: write \
             names that have one in brackets, as in metadata.labels[\"a-b\"]",
        ),
        (
            json!("${parameters.missing}"),
            "runTemplate.field: ${parameters.missing}: no such key: missing; give \"missing\" a value or a default in \
             the schema, or test for it with has(…) or .?missing.orValue(…)",
        ),
        (
            json!("${parameters.b + 1}"),
            "runTemplate.field: ${parameters.b + 1}: no such overload: + on (string, int); convert the values with \
             string(…), int(…) or double(…)",
        ),
        (
            json!("${externalRefs['nope']}"),
            "runTemplate.field: ${externalRefs['nope']}: externalRefs has no \"nope\"; declare it in \
             spec.externalRefs; declared: repo-credentials, other",
        ),
        (
            json!("${metadata.name}"),
            "runTemplate.field: ${metadata.name}: metadata has no \"name\"; known: namespaceName, workflowRunName, \
             namespace, labels",
        ),
        (
            json!("${a(${b})}"),
            "runTemplate.field: an expression inside another one: ${a(${b})}; expressions do not nest: write ${a + b}, \
             or quote the inner ${ as a string",
        ),
    ] {
        assert_eq!(message(field), expected);
    }
}

#[test]
fn every_problem_is_reported_and_parameters_are_held_against_the_schema() {
    let schema = ParameterSchema::parse(&json!({"url": "string"}), &Value::Null).unwrap();
    let template = run_template(&json!(["${parameters.ulr}", "${x}", "${parameters.url}"]));
    let errors = WorkflowTemplate::compile(&template, &[], &[], Some(&schema)).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| error.path.to_string()).collect();
    assert_eq!(places, ["runTemplate.field[0]", "runTemplate.field[1]"]);
    assert!(
        errors[0].message().ends_with("parameters has no \"ulr\"; known: url"),
        "{}",
        errors[0].message()
    );
}

#[test]
fn external_names_cannot_depend_on_external_references() {
    let references = [ExternalReference { id: "a".to_owned(), name: "${externalRefs.a.spec.x}".to_owned() }];
    assert!(WorkflowTemplate::compile(&run_template(&json!(1)), &[], &references, None).is_err());
}

#[test]
fn large_documents_are_refused() {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let wide = json!(vec![1; 60_000]);
    let many = json!(vec!["${1}"; 3_000]);
    for field in [deep, wide, many] {
        let errors = compile(&field).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(matches!(errors[0].problem, Problem::TooLarge { .. }));
    }
    let costly = json!(vec!["${lists.range(50000).map(x, x).size()}"; 200]);
    assert!(compile(&costly).unwrap().render(&context()).is_err());
    let large = json!(vec!["${lists.range(10000).map(x, 'xxxxxxxxxxxxxxxxxxxx').join()}"; 50]);
    assert!(compile(&large).unwrap().render(&context()).is_err());
}
