//! The Workflow and the step templates that are shipped.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use buildplane_template::{
    ExternalReference, ParameterSchema, ResourceTemplate, RunContext, WorkflowTemplate,
};
use serde_json::{Value, json};

const STEP_TEMPLATES: [&str; 4] = [
    include_str!("../../../charts/workflows/checkout-source.yaml"),
    include_str!("../../../charts/workflows/build-docker.yaml"),
    include_str!("../../../charts/workflows/publish-image.yaml"),
    include_str!("../../../charts/workflows/generate-workload.yaml"),
];

struct Docker {
    schema: ParameterSchema,
    template: WorkflowTemplate,
}

fn docker() -> Docker {
    let text = include_str!("../../../charts/workflows/docker.yaml");
    let workflow: Value = serde_saphyr::from_str(text).expect("YAML");
    let spec = &workflow["spec"];
    let schema =
        ParameterSchema::parse(&spec["schema"]["parameters"], &spec["schema"]["types"]).expect("a schema");
    let list = |name: &str| spec[name].as_array().cloned().unwrap_or_default();
    let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resources: Vec<_> = list("resources")
        .iter()
        .map(|resource| ResourceTemplate {
            id: text_of(&resource["id"]),
            include_when: resource["includeWhen"].as_str().map(str::to_owned),
            template: resource["template"].clone(),
        })
        .collect();
    let references: Vec<_> = list("externalRefs")
        .iter()
        .map(|reference| ExternalReference {
            id: text_of(&reference["id"]),
            name: text_of(&reference["name"]),
        })
        .collect();
    let template = WorkflowTemplate::compile(&spec["runTemplate"], &resources, &references, Some(&schema))
        .map_err(|errors| errors[0].message())
        .expect("templates that compile");
    Docker { schema, template }
}

fn context(docker: &Docker, parameters: &Value) -> RunContext {
    RunContext {
        namespace_name: "team".to_owned(),
        run_name: "greeter-1".to_owned(),
        namespace: "openchoreo-ci-team".to_owned(),
        labels: BTreeMap::new(),
        parameters: docker.schema.prepare(parameters).expect("parameters"),
        external_refs: serde_json::Map::new(),
        secret_store: None,
    }
}

fn argument<'r>(run: &'r Value, name: &str) -> &'r Value {
    let parameters = run["spec"]["arguments"]["parameters"].as_array().expect("parameters");
    let found = parameters.iter().find(|parameter| parameter["name"] == name);
    &found.expect("the parameter")["value"]
}

#[test]
fn docker_renders_with_nothing_but_a_url() {
    let docker = docker();
    let context = context(&docker, &json!({"repository": {"url": "https://git.example/greeter"}}));
    assert_eq!(docker.template.external_reference_names(&context), Ok(BTreeMap::new()));
    let rendered = docker.template.render(&context).expect("renders");
    let run = &rendered.run;
    assert_eq!(run["metadata"], json!({"name": "greeter-1", "namespace": "openchoreo-ci-team"}));
    for (name, value) in [
        ("git-repo", "https://git.example/greeter"),
        ("branch", "main"),
        ("commit", ""),
        ("docker-context", "."),
        ("dockerfile-path", "./Dockerfile"),
        ("image-name", "team.greeter-1"),
        ("component-name", ""),
        ("registry", ""),
    ] {
        assert_eq!(argument(run, name), value, "{name}");
    }
    assert_eq!(run["spec"]["volumes"][0], json!({"name": "git-credentials", "emptyDir": {}}));
    assert_eq!(run["spec"]["volumes"][1]["secret"]["secretName"], "greeter-1-registry-push-secret");
    let ids: Vec<_> = rendered.resources.iter().map(|resource| resource.id.as_str()).collect();
    assert_eq!(ids, ["registry-push-secret"]);
    assert_eq!(rendered.resources[0].object["spec"]["secretStoreRef"]["name"], "default");
}

#[test]
fn docker_renders_for_a_component_with_credentials() {
    let docker = docker();
    let parameters = json!({"repository": {"url": "https://git.example/greeter", "secretRef": "login"}});
    let mut context = context(&docker, &parameters);
    for (label, value) in [("openchoreo.dev/project", "shop"), ("openchoreo.dev/component", "greeter")] {
        context.labels.insert(label.to_owned(), value.to_owned());
    }
    context.secret_store = Some("vault".to_owned());
    let names = docker.template.external_reference_names(&context).expect("names");
    assert_eq!(names, BTreeMap::from([("git-secret-reference".to_owned(), "login".to_owned())]));
    context.external_refs.insert(
        "git-secret-reference".to_owned(),
        json!({"spec": {
            "template": {"type": "kubernetes.io/basic-auth"},
            "data": [
                {"secretKey": "username", "remoteRef": {"key": "git", "property": "user"}},
                {"secretKey": "password", "remoteRef": {"key": "git-token"}},
            ],
        }}),
    );
    let rendered = docker.template.render(&context).expect("renders");
    assert_eq!(argument(&rendered.run, "image-name"), "team.shop.greeter");
    assert_eq!(
        rendered.run["spec"]["volumes"][0],
        json!({"name": "git-credentials", "secret": {"secretName": "greeter-1-git-secret", "defaultMode": 256}})
    );
    let secret = &rendered.resources[0].object["spec"];
    assert_eq!(secret["secretStoreRef"]["name"], "vault");
    assert_eq!(secret["target"]["template"]["type"], "kubernetes.io/basic-auth");
    assert_eq!(
        secret["data"],
        json!([
            {"secretKey": "username", "remoteRef": {"key": "git", "property": "user"}},
            {"secretKey": "password", "remoteRef": {"key": "git-token"}},
        ])
    );
}

#[test]
fn docker_renders_fast() {
    let docker = docker();
    let context = context(&docker, &json!({"repository": {"url": "https://git.example/greeter"}}));
    let n_rounds: u32 = 200;
    let start = Instant::now();
    for _ in 0..n_rounds {
        docker.template.render(&context).expect("renders");
    }
    println!("rendering the docker workflow: {:?}", start.elapsed() / n_rounds);
}

/// Every step's script with its environment.
fn containers() -> Vec<(String, Value)> {
    STEP_TEMPLATES
        .iter()
        .flat_map(|text| {
            let object: Value = serde_saphyr::from_str(text).expect("YAML");
            object["spec"]["templates"].as_array().cloned().unwrap_or_default()
        })
        .map(|template| (template["name"].to_string(), template["container"].clone()))
        .collect()
}

#[test]
fn parameters_reach_scripts_through_the_environment_only() {
    for (name, container) in containers() {
        assert_eq!(container["command"], json!(["/bin/sh", "-c"]), "{name}");
        let script = container["args"][0].as_str().expect("a script");
        assert!(script.starts_with("set -eu\n"), "{name}");
        assert!(!script.contains("{{"), "{name}: a parameter in the script");
        assert!(container.pointer("/securityContext/privileged").is_none(), "{name}");
    }
}

#[test]
fn scripts_pass_shellcheck() {
    for (name, container) in containers() {
        let mut shellcheck = Command::new("shellcheck")
            .args(["--shell=sh", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("shellcheck is installed: scripts/setup --test");
        let script = container["args"][0].as_str().expect("a script");
        shellcheck.stdin.take().expect("piped").write_all(script.as_bytes()).expect("writes");
        let output = shellcheck.wait_with_output().expect("ends");
        assert!(output.status.success(), "{name}:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Runs a script with these variables; for inputs that it refuses before it does anything.
fn refusal(step: &str, variables: &[(&str, &str)]) -> String {
    let (_, container) = containers().into_iter().find(|(name, _)| name.contains(step)).expect("the step");
    let output = Command::new("/bin/sh")
        .args(["-c", container["args"][0].as_str().expect("a script")])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.iter().copied())
        .output()
        .expect("a shell");
    assert_eq!(output.status.code(), Some(1), "{variables:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_checkout_refuses_what_git_would_misunderstand() {
    let url = "https://git.invalid/r";
    for (repository, branch, commit, expected) in [
        ("file:///etc", "main", "", "the git URL file:///etc is not one to build from"),
        ("--upload-pack=touch /tmp/x", "main", "", "is not one to build from"),
        ("ext::sh -c id", "main", "", "is not one to build from"),
        ("https://u:secret@git.invalid/r", "main", "", "the git URL holds a password; put it into a Secret"),
        ("https://git.invalid/a b", "main", "", "the git URL has blanks or control characters"),
        ("https://git.invalid/a\nb", "main", "", "the git URL has blanks or control characters"),
        (url, "-x", "", "the branch -x starts with -"),
        (url, "a..b", "", "a..b is not a name that a branch or tag can have"),
        (url, "$(id)\n", "", "is not a name that a branch or tag can have"),
        (url, "main", "xyz1234", "the commit xyz1234 is not hexadecimal"),
        (url, "main", "abc", "the commit abc is too short to be certain"),
        ("ssh://git@git.invalid/r", "main", "", "an ssh URL needs a key"),
        ("git@git.invalid:r", "main", "", "an ssh URL needs a key"),
    ] {
        let message =
            refusal("checkout", &[("GIT_REPO", repository), ("BRANCH", branch), ("COMMIT", commit)]);
        assert!(
            message.starts_with("error: ") && message.contains(expected),
            "{repository:?} {branch:?}: {message}"
        );
        assert!(!message.contains("secret@"), "{message}");
    }
}

#[test]
fn paths_must_be_in_the_repository() {
    let missing = [("DOCKER_CONTEXT", "nowhere"), ("DOCKERFILE_PATH", "x"), ("GIT_REVISION", "x")];
    let message = refusal("build-image", &missing);
    assert_eq!(
        message,
        "error: the repository has no directory nowhere; set docker.context to the one to build from\n"
    );
}

/// The Dockerfile `text` in a directory that goes with the value, and its path.
fn dockerfile(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Dockerfile");
    std::fs::write(&path, text).expect("writes");
    let path = path.to_string_lossy().into_owned();
    (directory, path)
}

#[test]
fn what_a_build_fetches_first_is_what_its_dockerfile_names() {
    let (_, container) = containers().into_iter().find(|(name, _)| name.contains("build-image")).expect("it");
    let script = container["args"][0].as_str().expect("a script");
    let function = script.split_once("base_images() {").and_then(|(_, rest)| rest.split_once("\n}\n"));
    let (body, _) = function.expect("the function");
    for (text, expected) in [
        ("FROM a/b:1", "a/b:1\n"),
        ("from a/b\nFROM a/b AS again", "a/b\n"),
        ("FROM scratch\nCOPY x /x", ""),
        ("FROM a/b AS Build\nFROM build\nCOPY --from=build /x /x\nCOPY --from=0 /x /x", "a/b\n"),
        ("ARG IMAGE=a/b\nARG TAG=\"1.2\"\nFROM --platform=$BUILDPLATFORM ${IMAGE}:$TAG", "a/b:1.2\n"),
        ("FROM ${NOWHERE:-a/b}", "a/b\n"),
        ("FROM $NOWHERE", ""),
        ("FROM \\\n  # a comment between\n  a/b@sha256:00", "a/b@sha256:00\n"),
        ("# escape=`\nFROM `\na/b", "a/b\n"),
        ("# FROM c/d\nFROM scratch\nCOPY --from=a/b /x /x", "a/b\n"),
        ("FROM scratch\nRUN --mount=type=bind,from=a/b,target=/x true", "a/b\n"),
        // Neither options nor commands nor this machine's files.
        ("FROM -rf\nFROM $(id)\nFROM `id`\nFROM dir:/etc\nFROM docker-archive:/x", ""),
    ] {
        let (_directory, path) = dockerfile(text);
        let output = Command::new("/bin/sh")
            .args(["-c", &format!("set -eu\nbase_images() {{{body}\n}}\nbase_images \"$0\""), &path])
            .output()
            .expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{text:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{text:?}");
    }
}

#[test]
fn a_build_has_no_credentials_beside_it() {
    let (_, container) = containers().into_iter().find(|(name, _)| name.contains("build-image")).expect("it");
    let script = container["args"][0].as_str().expect("a script");
    let (_, build) = script.split_once("\nunshare ").expect("the build in namespaces of its own");
    assert!(build.contains("--pid ") && build.contains("--mount-proc"), "sees the processes of the step");
    assert!(build.contains("mount --bind /tmp/hidden /mnt/secrets"), "sees the Secrets of the step");
    assert!(!build.contains("registry_login"), "is given the credentials");
}
