//! Creates a run's objects on its build plane. Creates only: what is there and the run's own is left as it is.

use buildplane_api::WorkflowRun;
use buildplane_api::conditions::run::reason;
use futures::future::try_join_all;

use super::build::{Objects, Owned, Prerequisite};
use super::problem::Problem;
use super::remote::{Remote, already_exists, owner_uid};

/// Proof that the run's objects are on the plane.
#[derive(Debug)]
pub(super) struct Applied(());

pub(super) async fn apply(
    remote: &Remote,
    run: &WorkflowRun,
    plane: &str,
    objects: &Objects,
) -> Result<Applied, Problem> {
    create_shared(remote, plane, &objects.namespace).await?;
    // All three stand in the namespace and none needs another to be there: what counts is the time of one request.
    try_join_all(objects.prerequisites.iter().map(|prerequisite| create_shared(remote, plane, prerequisite)))
        .await?;
    for owned in objects.resources.iter().chain([&objects.run]) {
        create_owned(remote, run, plane, owned).await?;
    }
    Ok(Applied(()))
}

async fn create_shared(remote: &Remote, plane: &str, prerequisite: &Prerequisite) -> Result<(), Problem> {
    match remote.create(&prerequisite.path, &prerequisite.object).await {
        Err(error) if !already_exists(&error) => {
            let kind = prerequisite.object["kind"].as_str().unwrap_or_default();
            let name = prerequisite.object["metadata"]["name"].as_str().unwrap_or_default();
            Err(Problem::from_plane(plane, &format!("{kind} {name}"), &error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn create_owned(remote: &Remote, run: &WorkflowRun, plane: &str, owned: &Owned) -> Result<(), Problem> {
    let what = format!("{} {}", owned.reference.kind, owned.reference.name);
    match remote.create(&owned.path, &owned.object).await {
        Ok(_) => return Ok(()),
        Err(error) if already_exists(&error) => {}
        Err(error) => return Err(Problem::from_plane(plane, &what, &error)),
    }
    let existing = remote.read(&owned.path, &owned.reference.name).await;
    match existing.map_err(|error| Problem::from_plane(plane, &what, &error))? {
        Some(existing) if owner_uid(&existing) == run.metadata.uid.as_deref() => Ok(()),
        Some(_) => Err(Problem::retry(
            reason::NAME_CONFLICT,
            format!(
                "{what} exists in {} on {plane} and is not this run's; delete it there, or create the run under another \
                 name",
                owned.reference.namespace.as_deref().unwrap_or_default()
            ),
        )),
        None => {
            Err(Problem::retry(reason::NAME_CONFLICT, format!("{what} is just being deleted on {plane}")))
        }
    }
}
