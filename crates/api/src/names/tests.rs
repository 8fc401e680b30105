use super::*;

#[test]
fn plane_ids_are_dns_labels() {
    let longest = "a".repeat(63);
    for good in ["default", "us-west-2", "0", longest.as_str()] {
        assert_eq!(PlaneId::parse(good).map(|id| id.to_string()), Ok(good.to_owned()));
    }
    let too_long = "a".repeat(64);
    for bad in ["", "-a", "a-", "A", "a.b", "a/b", "a b", "é", "a\n", too_long.as_str()] {
        assert!(PlaneId::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn effective_plane_id_falls_back_to_the_object_name() {
    let effective = |spec, name| PlaneId::effective(spec, name).map(|id| id.to_string()).ok();
    assert_eq!(effective(Some("shared"), "bp"), Some("shared".into()));
    assert_eq!(effective(None, "bp"), Some("bp".into()));
    assert_eq!(effective(Some(""), "bp"), Some("bp".into()));
    assert_eq!(effective(None, "bp.example"), None);
}

#[test]
fn references_round_trip() {
    for text in ["buildplane/my-org/production", "clusterbuildplane/_cluster/default.x", "dataplane/a/b"] {
        assert_eq!(text.parse::<CrRef>().map(|cr| cr.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn references_that_are_refused() {
    for text in [
        "",
        "buildplane",
        "buildplane/a",
        "buildplane/a/b/c",
        "buildplane/_cluster/a",
        "clusterbuildplane/ns/a",
        "BuildPlane/ns/a",
        "workflowplane/ns/a",
        "buildplane//a",
        "buildplane/ns/",
        "buildplane/ns/..",
        "buildplane/n.s/a",
        "buildplane/ns/a%2fb",
        "buildplane/ns/a ",
    ] {
        assert!(text.parse::<CrRef>().is_err(), "{text:?}");
    }
}

#[test]
fn segments_of_a_path_tell_the_kind() {
    let cluster = CrRef::from_segments(PlaneType::BuildPlane, "_cluster", "default");
    assert_eq!(cluster.map(|cr| cr.kind()), Ok(PlaneKind::ClusterBuildPlane));
    let namespaced = CrRef::from_segments(PlaneType::DataPlane, "org", "default");
    assert_eq!(namespaced.map(|cr| cr.kind()), Ok(PlaneKind::DataPlane));
}

#[test]
fn ci_namespace_leaves_no_room_beyond_49_characters() {
    assert_eq!(
        CiNamespace::for_namespace("my-org").map(|ns| ns.to_string()),
        Ok("openchoreo-ci-my-org".into())
    );
    assert_eq!(CiNamespace::for_namespace(&"a".repeat(49)).map(|ns| ns.as_str().len()), Ok(63));
    assert_eq!(
        CiNamespace::for_namespace(&"a".repeat(50)),
        Err(NameError::NamespaceTooLong { namespace: "a".repeat(50), length: 50 })
    );
    assert_eq!(
        CiNamespace::parse("openchoreo-ci-my-org").map(|ns| ns.control_plane_namespace().to_owned()),
        Some("my-org".into())
    );
    for other in ["openchoreo-ci-", "kube-system", "openchoreo-ci-A", "openchoreo-ci"] {
        assert_eq!(CiNamespace::parse(other), None, "{other}");
    }
}
