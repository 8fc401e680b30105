//! Step four: the build itself, of a git repository that holds `examples/greeter`.

use std::fs;
use std::path::Path;

use buildplane_api::WorkflowRun;
use clap::Parser as _;

use super::{COMPONENT, Demo, PROJECT};
use crate::args::{Arguments, Command};
use crate::commands;
use crate::commands::build::Source;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::follow::{self, Ending, Following, OnInterrupt, View, ViewOptions, failure_reason};
use crate::git::Git;
use crate::runs;
use crate::signals::Interrupts;

/// The program, as the repository ships it.
const FILES: [(&str, &str); 4] = [
    ("Dockerfile", include_str!("../../../../examples/greeter/Dockerfile")),
    ("greet.sh", include_str!("../../../../examples/greeter/greet.sh")),
    ("greetings.txt", include_str!("../../../../examples/greeter/greetings.txt")),
    ("workload.yaml", include_str!("../../../../examples/greeter/workload.yaml")),
];

pub(super) async fn run(demo: &mut Demo) -> Result<WorkflowRun> {
    demo.narrator.part("Build a git repository on it")?;
    let source = demo.scratch.join(COMPONENT);
    repository(&source).await?;
    demo.narrator.same_as("buildplane build ./greeter -n demo --project demo")?;
    let words = ["buildplane", "build", "--project", PROJECT].map(str::to_owned);
    let words = words.into_iter().chain([source.display().to_string()]);
    let Command::Build(args) = Arguments::parse_from(words).command else {
        return Err(Failure::new("the demo's own command line is not understood"));
    };
    let name = commands::build::start(&demo.connection, &Source::parse(&args)?, &args).await?;
    let mut view = View::new(ViewOptions::default());
    // The demo's own interrupt ends everything; here it would only be heard twice.
    let mut interrupts = Interrupts::listen()?;
    let following = Following { on_interrupt: OnInterrupt::Leave, blocked: args.blocked.patience() };
    match follow::follow(&demo.connection, &name, &mut view, following, &mut interrupts).await? {
        Ending::Left => Err(Failure::new("interrupted").exit(ExitStatus::Interrupted)),
        Ending::Final { run, .. } => {
            let succeeded = runs::phase(&run).map(runs::exit_status) == Some(ExitStatus::Success);
            if !succeeded {
                let reason = failure_reason(&run, &view);
                return Err(Failure::new(reason).context("the build failed").exit(ExitStatus::RunFailed));
            }
            Ok(*run)
        }
    }
}

/// A real git repository with one commit.
async fn repository(path: &Path) -> Result<()> {
    let cannot = "cannot make the demo's repository";
    fs::create_dir_all(path).context(cannot)?;
    for (name, text) in FILES {
        fs::write(path.join(name), text).context(cannot)?;
    }
    let git = Git::reading(path);
    git.run(&["init", "--quiet", "--initial-branch=main", "--template="], b"").await?;
    git.run(&["add", "--all"], b"").await?;
    let commit = [
        "-c",
        "user.name=BuildPlane demo",
        "-c",
        "user.email=demo@localhost",
        "-c",
        "commit.gpgSign=false",
        "commit",
        "--quiet",
        "--message",
        "Greet",
    ];
    git.run(&commit, b"").await?;
    Ok(())
}
