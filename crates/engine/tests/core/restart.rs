//! The engine dies after every single effect of every script: nothing runs twice, and the end is the same.

use crate::world::{Crash, Script, World};

/// Scripts in which time passes between events alone, so that a crash cannot change what the script means.
const SCRIPTS: [(&str, &str); 8] = [
    ("one_step", include_str!("scripts/one_step.yaml")),
    ("build_four_steps", include_str!("scripts/build_four_steps.yaml")),
    ("conditions_and_loops", include_str!("scripts/conditions_and_loops.yaml")),
    ("dag_diamond", include_str!("scripts/dag_diamond.yaml")),
    ("exit_handler", include_str!("scripts/exit_handler.yaml")),
    ("garbage", include_str!("scripts/garbage.yaml")),
    ("retries", include_str!("scripts/retries.yaml")),
    ("stopped", include_str!("scripts/stopped.yaml")),
];

#[test]
fn a_crash_at_any_point_changes_nothing_and_repeats_nothing() {
    for (name, yaml) in SCRIPTS {
        let script: Script = serde_saphyr::from_str(yaml).expect("the script is well formed");
        let undisturbed = World::play(&script, Crash::Never);
        for after in 1.. {
            let world = World::play(&script, Crash::After(after));
            if !world.log.contains("the engine dies") {
                assert!(after > 3, "{name}: the engine has to die a few times for this to say anything");
                break;
            }
            for (pod, count) in &world.created {
                assert_eq!(*count, 1, "{name}: {pod} was created twice after crash {after}\n{}", world.log);
            }
            assert_eq!(
                world.workflow["status"], undisturbed.workflow["status"],
                "{name}: crash {after} changed the outcome\n{}",
                world.log
            );
            assert_eq!(world.claims, undisturbed.claims, "{name}: crash {after}");
            assert_eq!(
                world.pods.keys().collect::<Vec<_>>(),
                undisturbed.pods.keys().collect::<Vec<_>>(),
                "{name}: crash {after}"
            );
        }
    }
}
