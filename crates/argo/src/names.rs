//! How Argo derives ids and pod names from node names. Both are pure functions of names, which is what makes a pod
//! creatable at most once.

/// The longest name of a Kubernetes object.
const MAX_NAME: usize = 253;
/// What Argo reserves for the hash at the end of a pod's name.
const HASH_LENGTH: usize = 10;

/// The id of the node called `node` in the workflow called `workflow`.
pub fn node_id(workflow: &str, node: &str) -> String {
    if node == workflow { workflow.to_owned() } else { format!("{workflow}-{}", fnv1a_32(node.as_bytes())) }
}

/// The name of the pod that runs the node called `node` from `template` (Argo's second naming rule).
pub fn pod_name(workflow: &str, node: &str, template: &str) -> String {
    if node == workflow {
        return workflow.to_owned();
    }
    let mut prefix = if template.is_empty() { workflow.to_owned() } else { format!("{workflow}-{template}") };
    let mut end = prefix.len().min(MAX_NAME - HASH_LENGTH - 1);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    prefix.truncate(end);
    format!("{prefix}-{}", fnv1a_32(node.as_bytes()))
}

/// FNV-1a, as Go's `hash/fnv` computes `New32a`.
fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_agrees_with_the_published_vectors() {
        for (input, expected) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(fnv1a_32(input.as_bytes()), expected, "{input}");
        }
    }

    #[test]
    fn root_nodes_carry_the_name_of_the_workflow() {
        assert_eq!(node_id("wf", "wf"), "wf");
        assert_eq!(pod_name("wf", "wf", "main"), "wf");
    }

    #[test]
    fn pod_names_never_outgrow_kubernetes() {
        let name = pod_name(&"w".repeat(240), "node", &"ü".repeat(60));
        assert!(name.len() <= MAX_NAME, "{}", name.len());
    }
}
