//! `buildplane up`.

use crate::connection::DataDirArgs;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};

/// Run the local platform
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    data_dir: DataDirArgs,
}

pub(crate) async fn run(_args: UpArgs) -> Result<ExitStatus> {
    Err(Failure::new("not there yet"))
}

/// A platform's error with its hint.
pub(crate) fn explain(error: buildplane_platform::Error) -> Failure {
    let hint = error.hint();
    let refused = matches!(
        error,
        buildplane_platform::Error::InUse { .. }
            | buildplane_platform::Error::ForeignDirectory { .. }
            | buildplane_platform::Error::PortTaken { .. }
    );
    let mut failure = Failure::from(error);
    if refused {
        failure = failure.exit(ExitStatus::Refused);
    }
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
