//! `buildplane status`.

use std::time::Duration;

use buildplane_api::plane::{ClusterBuildPlane, Plane as _};
use buildplane_platform::{Layout, state};
use kube::Api;
use serde_json::json;

use crate::connection::{Connection, ConnectionArgs, DataDirArgs};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::output::document::{DocumentFormat, render};
use crate::output::line;
use crate::output::sanitize::sanitize;

/// Show whether the local platform runs, and where
///
/// The exit code is 5 when it does not run or does not answer.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    data_dir: DataDirArgs,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<DocumentFormat>,
}

/// How long the API may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: StatusArgs) -> Result<ExitStatus> {
    let data_dir = args.data_dir.resolve()?;
    let layout = Layout::new(&data_dir);
    let Some(running) = state::read(&layout) else {
        if let Some(format) = args.output {
            line(render(&json!({"dataDir": data_dir, "running": false}), format)?)?;
            return Ok(ExitStatus::Unreachable);
        }
        let text = match state::holder(&layout) {
            Some(pid) => format!("a platform is starting on {} (process {pid})", data_dir.display()),
            None => format!("no platform runs on {}", data_dir.display()),
        };
        line(text)?;
        return Ok(ExitStatus::Unreachable);
    };
    let plane = tokio::time::timeout(PATIENCE, plane(&args.data_dir, &layout)).await.unwrap_or_else(|_| {
        Err(Failure::new(format!("no answer within {} s", PATIENCE.as_secs())).exit(ExitStatus::Unreachable))
    });
    if let Some(format) = args.output {
        let document = json!({
            "dataDir": data_dir, "running": true, "process": running, "kubeconfig": layout.kubeconfig(),
            "plane": plane.as_ref().map_or_else(|failure| json!({"error": failure.to_string()}), |text| json!(text)),
        });
        line(render(&document, format)?)?;
    } else {
        let endpoints = &running.endpoints;
        for (name, value) in [
            ("Platform", format!("running, process {}, version {}", running.pid, running.version)),
            ("Started", running.started_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ("Ready after", format!("{} ms", running.ready_after_ms)),
            ("Data", data_dir.display().to_string()),
            ("Kubeconfig", layout.kubeconfig().display().to_string()),
            ("Control plane", format!("https://{}", endpoints.control_plane)),
            ("Build plane", format!("https://{}", endpoints.build_plane)),
            ("Gateway", format!("https://{} (agents: {})", endpoints.gateway, endpoints.agents)),
            ("Registry", endpoints.registry.to_string()),
            ("Git", format!("https://{}", endpoints.git)),
            ("Health", format!("http://{}", endpoints.health)),
        ] {
            line(format_args!("{:<15}{value}", format!("{name}:")))?;
        }
        if let Ok(text) = &plane {
            line(format_args!("{:<15}{}", "Own plane:", sanitize(text.as_bytes())))?;
        }
    }
    plane.map(|_| ExitStatus::Success).context("the platform runs but its API does not answer")
}

/// How the platform's own plane is doing.
async fn plane(data_dir: &DataDirArgs, layout: &Layout) -> Result<String> {
    let connection = Connection::open(&ConnectionArgs {
        kubeconfig: Some(layout.kubeconfig()),
        data_dir: data_dir.clone(),
        ..ConnectionArgs::default()
    })
    .await?;
    let planes: Api<ClusterBuildPlane> = Api::all(connection.client.clone());
    let Some(plane) = planes.get_opt(buildplane_api::meta::DEFAULT_PLANE).await? else {
        return Ok("not registered".to_owned());
    };
    let conditions = plane.status().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready =
        conditions.iter().find(|condition| condition.type_ == buildplane_api::conditions::plane::READY);
    Ok(match ready {
        Some(condition) if condition.status == "True" => "ready".to_owned(),
        Some(condition) => format!("not ready: {}", condition.message),
        None => "not looked at yet".to_owned(),
    })
}
