//! Whole runs as text, reviewed as diffs.

use crate::world::{Crash, Script, World};

fn script(yaml: &str) -> Script {
    serde_saphyr::from_str(yaml).expect("the script is well formed")
}

macro_rules! golden {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            let script = script(include_str!(concat!("scripts/", stringify!($name), ".yaml")));
            let world = World::play(&script, Crash::Never);
            insta::assert_snapshot!(stringify!($name), world.log);
        }
    )+};
}

golden!(
    build_four_steps,
    conditions_and_loops,
    continue_on_failure,
    dag_diamond,
    dag_failure,
    deadline,
    exit_handler,
    failed_step,
    garbage,
    interrupted,
    made_from_template,
    one_step,
    parallelism_and_suspend,
    refused_features,
    removed_pod,
    retries,
    script_template,
    skipped_output,
    stopped,
    terminated,
);

#[test]
fn the_status_has_argos_form() {
    let script = script(include_str!("scripts/build_four_steps.yaml"));
    let world = World::play(&script, Crash::Never);
    insta::assert_yaml_snapshot!("status_of_build", world.workflow["status"]);
    insta::assert_yaml_snapshot!("metadata_of_build", world.workflow["metadata"]);
    let pod = world.pod_name("checkout-source").expect("pods stay");
    insta::assert_yaml_snapshot!("pod_of_checkout", world.pods[&pod]);
}
