//! Rules about files: sizes, module style, shared lints.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Beyond this a file has more than one subject.
const MAX_LINES: usize = 800;

/// What the tree's files break.
pub(crate) fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    for file in files {
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let name = file.file_name().unwrap_or_default();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {shown}"))?;
        if name == "mod.rs" {
            problems.push(format!("{shown}: use {{module}}.rs beside its folder instead of mod.rs"));
        }
        if name == "Cargo.toml" && !text.contains("[lints]\nworkspace = true") {
            problems.push(format!("{shown}: the workspace's lints are not inherited"));
        }
        if name.as_encoded_bytes().ends_with(b".rs") {
            let lines = production_lines(&text);
            if lines > MAX_LINES {
                problems.push(format!("{shown}: {lines} lines; split it by subject (at most {MAX_LINES})"));
            }
        }
    }
    Ok(problems)
}

/// Lines before the tests that stand at the end of a file.
fn production_lines(text: &str) -> usize {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}
