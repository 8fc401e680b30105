//! Removing a data directory with everything in it.

use std::path::Path;

use buildplane_executor::{Bubblewrap, Config, Executor as _};
use buildplane_platform::Layout;

use crate::commands::up::explain;
use crate::failure::{Explain as _, Result};

/// Removes the data directory of a platform that does not run.
///
/// Workspaces of builds that were in flight belong to subordinate ids, which an ordinary user cannot remove directly;
/// who made them, removes them.
pub(crate) async fn purge(data_dir: &Path) -> Result<()> {
    let volumes = Layout::new(data_dir).root().join("node/volumes");
    if volumes.is_dir() {
        let executor =
            Bubblewrap::new(Config::new(&volumes)).context("cannot use the workspaces of builds")?;
        for volume in executor.volumes().context("cannot list the workspaces of builds")? {
            executor.remove_volume(&volume).await.context("cannot remove the workspace of a build")?;
        }
    }
    buildplane_platform::purge(data_dir).map_err(explain)
}
