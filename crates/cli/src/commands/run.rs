//! `buildplane run`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use buildplane_api::schema::Object;
use buildplane_api::{Workflow, WorkflowRun};
use buildplane_template::ParameterSchema;
use kube::Api;
use serde_json::Value;

use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::follow::{self, BlockedArgs, Ending, Following, OnInterrupt, View, ViewOptions, failure_reason};
use crate::output::terminal::{Color, Paint};
use crate::output::{line, note};
use crate::parameters::{Assignment, assign};
use crate::runs::{self, NewRun};
use crate::signals::Interrupts;

/// Start a run of a workflow
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Name of the workflow
    #[arg(value_name = "WORKFLOW")]
    workflow: String,
    /// A parameter, by its path: repository.url=https://…; a string, unless the workflow's schema says otherwise
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = Assignment::parse)]
    parameters: Vec<Assignment>,
    /// Parameters from a YAML or JSON file, - for standard input; -p overrides them
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Name of the run [default: the workflow's with a generated suffix]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A label of the run
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Show the run as it goes on; the exit status is its own
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    blocked: BlockedArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

fn parse_label(argument: &str) -> Result<(String, String), String> {
    let (key, value) = argument.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) async fn run(args: RunArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let parameters = match &args.from_file {
        Some(path) => read_parameters(path)?,
        None => Object::new(),
    };
    let workflow = find_workflow(&connection, &args.workflow).await?;
    let parameters = prepare(&workflow, parameters, &args.parameters)?;
    let api: Api<WorkflowRun> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let started = runs::start(
        &api,
        NewRun {
            workflow: args.workflow.clone(),
            prefix: args.workflow,
            name: args.name,
            parameters: Some(parameters).filter(|parameters| !parameters.is_empty()),
            labels: args.labels.into_iter().collect(),
            annotations: BTreeMap::new(),
        },
    )
    .await?;
    let name = started.metadata.name.unwrap_or_default();
    line(format_args!("run {name} started"))?;
    if !args.follow {
        return Ok(ExitStatus::Success);
    }
    let mut view = View::new(ViewOptions::default());
    let ending = follow_to_end(&connection, &name, &mut view, args.blocked).await?;
    finish(&name, ending, &view)
}

/// Reads a Workflow, or explains where it could have been.
pub(crate) async fn find_workflow(connection: &Connection, name: &str) -> Result<Workflow> {
    let api: Api<Workflow> = Api::namespaced(connection.client.clone(), &connection.namespace);
    if let Some(workflow) = api.get_opt(name).await? {
        return Ok(workflow);
    }
    let known = api.list(&kube::api::ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let known: Vec<String> = known.into_iter().filter_map(|workflow| workflow.metadata.name).collect();
    let hint = if known.is_empty() {
        format!(
            "the namespace has no workflows; copy one into {0}: kubectl get workflows.openchoreo.dev {name} -n default -o yaml | sed 's/namespace: default/namespace: {0}/' | kubectl apply -f -",
            connection.namespace
        )
    } else {
        format!("there is {}", known.join(", "))
    };
    Err(Failure::new(format!("there is no workflow {name} in namespace {}", connection.namespace))
        .hint(hint)
        .exit(ExitStatus::NotFound))
}

/// Puts assignments into parameters and judges them by the Workflow's schema, as the control plane will.
pub(crate) fn prepare(
    workflow: &Workflow,
    mut parameters: Object,
    assignments: &[Assignment],
) -> Result<Object> {
    let Some(schema) = &workflow.spec.schema else {
        assign(&mut parameters, assignments, None)?;
        return Ok(parameters);
    };
    let value = |part: &Option<Object>| part.clone().map_or(Value::Null, Value::Object);
    let schema = ParameterSchema::parse(&value(&schema.parameters), &value(&schema.types))
        .context("the workflow's parameter schema is wrong")?;
    assign(&mut parameters, assignments, Some(&schema.to_openapi()))?;
    match schema.prepare(&Value::Object(parameters.clone())) {
        // The defaults are the control plane's to add: a run holds what was asked for.
        Ok(_) => Ok(parameters),
        Err(errors) => {
            let messages = errors.iter().rev().map(|error| format!("{}: {}", error.path, error.message));
            let failure = Failure::new("the workflow does not take these parameters").exit(ExitStatus::Usage);
            Err(messages.fold(failure, Failure::cause))
        }
    }
}

fn read_parameters(path: &Path) -> Result<Object> {
    let cannot = || format!("cannot read parameters from {}", path.display());
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context(cannot())?;
        text
    } else {
        fs::read_to_string(path).context(cannot())?
    };
    if text.trim().is_empty() {
        return Ok(Object::new());
    }
    serde_saphyr::from_str(&text).context(cannot()).exit(ExitStatus::Usage)
}

/// Follows a run that goes on when Ctrl-C ends us.
pub(crate) async fn follow_to_end(
    connection: &Connection,
    name: &str,
    view: &mut View,
    blocked: BlockedArgs,
) -> Result<Ending> {
    let mut interrupts = Interrupts::listen()?;
    let following = Following { on_interrupt: OnInterrupt::Leave, blocked: blocked.patience() };
    follow::follow(connection, name, view, following, &mut interrupts).await
}

/// Says how a run ended and turns it into an exit status.
pub(crate) fn finish(name: &str, ending: Ending, view: &View) -> Result<ExitStatus> {
    let paint = Paint::for_stdout();
    match ending {
        Ending::Left => {
            note(format_args!("run {name} goes on; `buildplane logs -f {name}` follows it"));
            Ok(ExitStatus::Interrupted)
        }
        Ending::Final { run, interrupted } => {
            let phase = runs::phase(&run).unwrap_or(buildplane_api::run::RunPhase::Failed);
            let status = runs::exit_status(phase);
            if status == ExitStatus::Success {
                line(paint.apply(Color::Good, &format!("run {name} succeeded")))?;
            } else {
                let reason = failure_reason(&run, view);
                let text = format!("run {name} {}: {reason}", phase.as_str().to_lowercase());
                line(paint.apply(Color::Bad, &text))?;
            }
            Ok(if interrupted { ExitStatus::Interrupted } else { status })
        }
    }
}
