//! Repository chores: write the generated files, check the rules that people would have to remember.

mod edges;
mod generate;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Repository chores")]
enum Command {
    /// Write the generated files (CRDs) anew.
    Generate {
        /// Only tell which ones are stale.
        #[arg(long)]
        check: bool,
    },
    /// Check the edges between crates, the sizes of files, and that generated files are current.
    Check,
}

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let problems = match Command::parse() {
        Command::Generate { check: false } => generate::write(&root).map(|()| Vec::new()),
        Command::Generate { check: true } => generate::stale(&root),
        Command::Check => check(&root),
    };
    match problems {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            report(&problems);
            ExitCode::FAILURE
        }
        Err(error) => {
            report(&[format!("{error:#}")]);
            ExitCode::FAILURE
        }
    }
}

fn check(root: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let mut problems = edges::problems(root)?;
    problems.extend(tidy::problems(root)?);
    problems.extend(generate::stale(root)?);
    Ok(problems)
}

#[expect(clippy::print_stderr, reason = "this is where chores report")]
fn report(problems: &[String]) {
    for problem in problems {
        eprintln!("error: {problem}");
    }
}
