//! The run that builds what was fetched.

use std::collections::BTreeMap;

use buildplane_api::Workflow;
use buildplane_api::meta::{annotation, label};
use buildplane_api::schema::Object;

use super::BuildArgs;
use super::source::Fetched;
use crate::commands::run::prepare;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::parameters::Assignment;
use crate::runs::{self, NewRun};

/// Where a workflow keeps what every build needs: from its annotation, else as the shipped workflows have it.
struct ParameterPaths {
    url: String,
    branch: String,
    commit: String,
    secret_reference: String,
    dockerfile: String,
}

impl ParameterPaths {
    fn of(workflow: &Workflow) -> Result<Self> {
        let annotations = workflow.metadata.annotations.as_ref();
        let declared: BTreeMap<String, String> =
            match annotations.and_then(|annotations| annotations.get(annotation::COMPONENT_PARAMETERS)) {
                Some(text) => serde_saphyr::from_str(text).context(format!(
                    "the workflow's annotation {} is no map",
                    annotation::COMPONENT_PARAMETERS
                ))?,
                None => BTreeMap::new(),
            };
        let path = |key: &str, default: &str| {
            let declared = declared.get(key).map(|path| path.strip_prefix("parameters.").unwrap_or(path));
            declared.unwrap_or(default).to_owned()
        };
        Ok(Self {
            url: path("repoUrl", "repository.url"),
            branch: path("branch", "repository.revision.branch"),
            commit: path("commit", "repository.revision.commit"),
            secret_reference: path("secretRef", "repository.secretRef"),
            dockerfile: path("dockerfilePath", "docker.filePath"),
        })
    }
}

pub(super) fn run_for(workflow: &Workflow, fetched: &Fetched, args: &BuildArgs) -> Result<NewRun> {
    let paths = ParameterPaths::of(workflow)?;
    let mut assignments = Vec::new();
    let mut set = |path: &str, value: Option<&String>| -> Result<()> {
        if let Some(value) = value {
            assignments.push(Assignment::new(path, value).map_err(Failure::new)?);
        }
        Ok(())
    };
    set(&paths.url, Some(&fetched.url))?;
    set(&paths.branch, fetched.branch.as_ref())?;
    set(&paths.commit, fetched.commit.as_ref())?;
    set(&paths.secret_reference, fetched.secret_reference.as_ref())?;
    // Other workflows than docker's have no Dockerfile, and need none.
    if fetched.dockerfile != "Dockerfile" {
        set(&paths.dockerfile, Some(&fetched.dockerfile))?;
    }
    assignments.extend(args.parameters.iter().cloned());
    let parameters = prepare(workflow, Object::new(), &assignments)?;
    let component = match &args.name {
        Some(name) if *name != runs::dns_label(name) => {
            return Err(Failure::new(format!("{name:?} cannot be the name of a component"))
                .hint(format!("{:?} can", runs::dns_label(name)))
                .exit(ExitStatus::Usage));
        }
        Some(name) => name.clone(),
        None => fetched.component.clone(),
    };
    let labels = [(label::PROJECT, args.project.clone()), (label::COMPONENT, component.clone())];
    Ok(NewRun {
        workflow: args.workflow.clone(),
        name: None,
        prefix: component,
        parameters: Some(parameters),
        labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
        annotations: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use buildplane_api::workflow::WorkflowSpec;
    use clap::Parser as _;
    use serde_json::Value;

    use super::*;
    use crate::args::{Arguments, Command};

    fn args(words: &[&str]) -> BuildArgs {
        let words = ["buildplane", "build"].into_iter().chain(words.iter().copied());
        match Arguments::parse_from(words).command {
            Command::Build(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn fetched() -> Fetched {
        Fetched {
            url: "https://127.0.0.1:5051/default/greeter.git".to_owned(),
            branch: Some("snapshot-12345678".to_owned()),
            commit: Some("1234567890".to_owned()),
            secret_reference: Some("buildplane-git".to_owned()),
            component: "greeter".to_owned(),
            dockerfile: "docker/Dockerfile".to_owned(),
        }
    }

    fn parameters(workflow: &Workflow) -> Value {
        let new = run_for(workflow, &fetched(), &args(&["-p", "docker.context=app"])).expect("a run");
        assert_eq!(new.prefix, "greeter");
        Value::Object(new.parameters.unwrap_or_default())
    }

    #[test]
    fn parameters_go_where_the_workflow_wants_them() {
        let mut workflow = Workflow::new("docker", WorkflowSpec::default());
        assert_eq!(
            parameters(&workflow),
            serde_json::json!({
                "repository": {
                    "url": "https://127.0.0.1:5051/default/greeter.git",
                    "secretRef": "buildplane-git",
                    "revision": {"branch": "snapshot-12345678", "commit": "1234567890"},
                },
                "docker": {"context": "app", "filePath": "docker/Dockerfile"},
            })
        );
        let declared = "repoUrl: parameters.source.location\ncommit: parameters.source.sha\n";
        workflow.metadata.annotations =
            Some([(annotation::COMPONENT_PARAMETERS.to_owned(), declared.to_owned())].into());
        let parameters = parameters(&workflow);
        assert_eq!(
            parameters["source"],
            serde_json::json!({
                "location": "https://127.0.0.1:5051/default/greeter.git", "sha": "1234567890",
            })
        );
    }

    #[test]
    fn a_component_needs_a_proper_name() {
        let workflow = Workflow::new("docker", WorkflowSpec::default());
        let failure = run_for(&workflow, &fetched(), &args(&["--name", "My App"])).expect_err("refused");
        assert_eq!(
            failure.to_string(),
            "error: \"My App\" cannot be the name of a component\nhint: \"my-app\" can"
        );
    }
}
