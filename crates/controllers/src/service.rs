use crate::config::Config;
use crate::error::Error;
use tokio_util::sync::CancellationToken;
/// Runs every controller until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let _ = config;
    shutdown.cancelled().await;
    Ok(())
}
