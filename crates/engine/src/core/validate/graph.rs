//! The order of the tasks of a DAG.

use std::collections::BTreeMap;

use buildplane_argo::template::Step;

/// The indices of the tasks such that each comes after what it depends on, in the order they are written otherwise.
///
/// # Errors
/// What is wrong: a task that does not exist, or tasks that wait for each other.
pub(crate) fn order(tasks: &[Step]) -> Result<Vec<usize>, String> {
    let index: BTreeMap<&str, usize> =
        tasks.iter().enumerate().map(|(index, task)| (task.name.as_str(), index)).collect();
    let mut waits_for = Vec::with_capacity(tasks.len());
    for task in tasks {
        let mut needed: Vec<usize> = task
            .dependencies
            .iter()
            .map(|name| {
                index.get(name.as_str()).copied().ok_or_else(|| {
                    format!(
                        "task \"{}\" depends on \"{name}\", which does not exist: correct the name",
                        task.name
                    )
                })
            })
            .collect::<Result<_, _>>()?;
        needed.sort_unstable();
        needed.dedup();
        waits_for.push(needed.len());
    }
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (at, task) in tasks.iter().enumerate() {
        let mut names: Vec<&str> = task.dependencies.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        for followed in names.into_iter().filter_map(|name| index.get(name)) {
            if let Some(list) = followers.get_mut(*followed) {
                list.push(at);
            }
        }
    }
    let mut ready: std::collections::BTreeSet<usize> =
        waits_for.iter().enumerate().filter(|(_, count)| **count == 0).map(|(at, _)| at).collect();
    let mut order = Vec::with_capacity(tasks.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for follower in followers.get(next).into_iter().flatten() {
            if let Some(count) = waits_for.get_mut(*follower) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(*follower);
                }
            }
        }
    }
    if order.len() == tasks.len() {
        return Ok(order);
    }
    let stuck: Vec<&str> = (0..tasks.len())
        .filter(|at| !order.contains(at))
        .filter_map(|at| tasks.get(at).map(|task| task.name.as_str()))
        .take(10)
        .collect();
    Err(format!("tasks wait for each other ({}): remove a dependency", stuck.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(tasks: &[(&str, &[&str])]) -> Result<Vec<usize>, String> {
        let tasks: Vec<Step> = tasks
            .iter()
            .map(|(name, dependencies)| Step {
                name: (*name).to_owned(),
                dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
                ..Step::default()
            })
            .collect();
        order(&tasks)
    }

    #[test]
    fn tasks_come_after_what_they_depend_on() {
        assert_eq!(sorted(&[("c", &["a", "b", "a"]), ("b", &["a"]), ("a", &[])]), Ok(vec![2, 1, 0]));
    }

    #[test]
    fn circles_and_unknown_tasks_are_errors() {
        assert!(sorted(&[("a", &["b"]), ("b", &["a"])]).unwrap_err().contains("a, b"));
        assert!(sorted(&[("a", &["a"])]).is_err());
        assert!(sorted(&[("a", &["x"])]).unwrap_err().contains("\"x\""));
    }
}
