use super::*;
use crate::gateway::{
    Agent, Connection, GatewayError, GatewayState, Refusal, Registered, Siblings, Unadmitted,
};
use crate::planes::dereference::{ClientCa, Dereferenced, Observability};
use crate::planes::testing::{at, ca, plane};
use crate::planes::validate::validate;
use buildplane_api::BuildPlane;
use buildplane_api::plane::{SecretStoreRef, ValueFrom};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const NOW: &str = "2026-01-01T00:00:00Z";

/// One case: what was found, what the gateway says.
struct Case {
    object: BuildPlane,
    found: Dereferenced,
    applied: Applied,
}

fn connected(n_agents: u32, seen: &str) -> Connection {
    Connection { connected: n_agents > 0, n_agents, last_seen: Some(at(seen)), ..Connection::default() }
}

fn good() -> Case {
    Case {
        object: plane(ValueFrom::default()),
        found: Dereferenced {
            client_ca: ClientCa::Inline { text: ca("a"), secret_ignored: false },
            observability: Observability::NotConfigured,
        },
        applied: Applied {
            registered: Ok(Registered::Everywhere),
            gateway: GatewayState::Connected,
            connection: Some(connected(1, NOW)),
            refusal: None,
            siblings: Siblings::default(),
            cluster_id: None,
            store: None,
        },
    }
}

fn told(case: &mut Case, now: &str) -> PlaneStatus {
    let found = std::mem::replace(
        &mut case.found,
        Dereferenced { client_ca: ClientCa::Absent, observability: Observability::NotApplicable },
    );
    let validated = validate(&case.object, found, at(now));
    tell(&case.object, case.object.status.as_ref(), &validated, &case.applied, at(now)).status
}

/// The status of a condition and its reason.
fn aspect(status: &PlaneStatus, type_: &str) -> (String, String) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
    condition.map(|c| (c.status.clone(), c.reason.clone())).unwrap_or_default()
}

fn check(change: impl FnOnce(&mut Case), type_: &str, expected: (&str, &str), ready: &str) {
    let mut case = good();
    change(&mut case);
    let status = told(&mut case, NOW);
    let got = aspect(&status, type_);
    assert_eq!((got.0.as_str(), got.1.as_str()), expected);
    assert_eq!(aspect(&status, plane::READY).0, ready, "{type_} {expected:?}");
}

#[test]
fn ready_is_the_conjunction_of_all_aspects() {
    check(|_| {}, plane::READY, ("True", reason::READY), "True");
    check(|_| {}, plane::CREATED, ("True", reason::BUILD_PLANE_CREATED), "True");
    check(
        |case| case.found.client_ca = ClientCa::Absent,
        plane::CLIENT_CA_VALID,
        ("False", reason::CLIENT_CA_MISSING),
        "False",
    );
    check(
        |case| case.applied.connection = Some(connected(0, NOW)),
        plane::AGENT_CONNECTED,
        ("False", reason::NO_AGENT_CONNECTED),
        "False",
    );
    check(
        |case| {
            case.applied.connection = Some(connected(0, NOW));
            case.applied.refusal =
                Some(Refusal { reason: "UnknownCA".into(), message: "m".into(), at: None });
        },
        plane::AGENT_CONNECTED,
        ("False", reason::AGENT_REFUSED),
        "False",
    );
    check(
        |case| case.applied.gateway = GatewayState::Unreachable("connection refused".into()),
        plane::AGENT_CONNECTED,
        ("Unknown", reason::GATEWAY_UNREACHABLE),
        "Unknown",
    );
    check(
        |case| {
            case.found.observability = Observability::Missing {
                kind: "ObservabilityPlane",
                namespace: Some("org".into()),
                name: "o".into(),
            };
        },
        plane::OBSERVABILITY_PLANE_RESOLVED,
        ("False", reason::OBSERVABILITY_PLANE_NOT_FOUND),
        "False",
    );
    check(
        |case| case.object.metadata.name = Some("not.a.label".into()),
        plane::READY,
        ("False", reason::INVALID_PLANE_ID),
        "False",
    );
}

#[test]
fn a_secret_store_counts_only_where_one_is_named() {
    let named = |store: SecretStore| {
        move |case: &mut Case| {
            case.object.spec.secret_store_ref = Some(SecretStoreRef { name: "vault".into() });
            case.applied.store = Some(store);
        }
    };
    check(|_| {}, plane::SECRET_STORE_READY, ("", ""), "True");
    for (store, expected, ready) in [
        (SecretStore::Ready, ("True", reason::SECRET_STORE_READY), "True"),
        (SecretStore::NotReady("sealed".into()), ("False", reason::SECRET_STORE_NOT_READY), "False"),
        (SecretStore::NotFound, ("False", reason::SECRET_STORE_NOT_FOUND), "False"),
        (SecretStore::NotInstalled, ("False", reason::EXTERNAL_SECRETS_NOT_INSTALLED), "False"),
        (SecretStore::Unreachable("x".into()), ("Unknown", reason::PLANE_UNREACHABLE), "Unknown"),
    ] {
        check(named(store), plane::SECRET_STORE_READY, expected, ready);
    }
}

#[test]
fn connecting_and_disconnecting_leave_their_times() {
    let mut case = good();
    case.object.status = Some(told(&mut good(), "2026-01-01T00:00:10Z"));
    let connection =
        case.object.status.as_ref().and_then(|status| status.agent_connection.clone()).expect("told");
    assert!(connection.connected);
    assert_eq!(connection.message.as_deref(), Some("1 agent connected"));
    assert_eq!(connection.last_connected_time, Some(Time(at("2026-01-01T00:00:10Z"))));
    assert_eq!(connection.last_disconnected_time, None);

    case.applied.connection = Some(connected(0, NOW));
    let connection = told(&mut case, "2026-01-01T00:00:20Z").agent_connection.expect("told");
    assert!(!connection.connected);
    assert_eq!(connection.connected_agents, 0);
    assert_eq!(connection.last_connected_time, Some(Time(at("2026-01-01T00:00:10Z"))));
    assert_eq!(connection.last_disconnected_time, Some(Time(at("2026-01-01T00:00:20Z"))));
}

#[test]
fn several_agents_are_counted() {
    let mut case = good();
    case.applied.connection = Some(connected(3, NOW));
    let connection = told(&mut case, NOW).agent_connection.expect("told");
    assert_eq!(connection.message.as_deref(), Some("3 agents connected (HA mode)"));
}

#[test]
fn heartbeats_alone_are_written_when_they_are_due() {
    let before = told(&mut good(), NOW);
    let at_most = |n_agents: u32, seen: &str, is_due: bool| {
        let mut case = good();
        case.object.status = Some(before.clone());
        case.applied.connection = Some(connected(n_agents, seen));
        let after = told(&mut case, seen);
        is_worth_writing(Some(&before), &after, is_due)
    };
    assert!(is_worth_writing(None, &before, false));
    assert!(!at_most(1, "2026-01-01T00:00:00Z", true), "nothing was heard since");
    assert!(!at_most(1, "2026-01-01T00:00:15Z", false));
    assert!(at_most(1, "2026-01-01T00:00:15Z", true));
    assert!(at_most(2, "2026-01-01T00:00:01Z", false), "a second agent is no heartbeat");
}

fn agent(instance: &str, until: &str) -> Agent {
    Agent {
        instance: instance.into(),
        version: "0.1.0".into(),
        certificate_not_after: Some(at(until)),
        connected_at: Some(at(NOW)),
        narrowed: false,
    }
}

fn nobody(change: impl FnOnce(&mut Connection)) -> Connection {
    let mut connection = connected(0, NOW);
    change(&mut connection);
    connection
}

fn refusal(reason: &str) -> Refusal {
    Refusal { reason: reason.into(), message: "because".into(), at: Some(at(NOW)) }
}

/// Checks `AgentConnected`, and that its message holds the words that tell what to do.
fn check_agent(change: impl FnOnce(&mut Case), expected: (&str, &str), words: &[&str]) {
    let mut case = good();
    change(&mut case);
    let status = told(&mut case, NOW);
    let condition = status.conditions.iter().find(|c| c.type_ == plane::AGENT_CONNECTED).expect("told");
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), expected, "{}", condition.message);
    for word in words {
        assert!(condition.message.contains(word), "{word}: {}", condition.message);
    }
    let ready = status.conditions.iter().find(|c| c.type_ == plane::READY).expect("told");
    if expected.0 != "True" {
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), expected);
    }
}

#[test]
fn a_plane_without_an_agent_says_what_to_do() {
    let unadmitted = Unadmitted { instance: "a".into(), message: "allowedPlanes has 2 patterns".into() };
    check_agent(
        |case| case.applied.connection = Some(nobody(|c| c.unadmitted = vec![unadmitted])),
        ("False", reason::NOT_ADMITTED_BY_PLANE),
        &[
            "ask the owner",
            "{kind: BuildPlane, namespace: org, name: bp}",
            "buildplane/org/bp",
            "has 2 patterns",
        ],
    );
    check_agent(
        |case| case.applied.connection = Some(nobody(|c| c.refusal = Some(refusal("ClusterConflict")))),
        ("False", reason::CLUSTER_CONFLICT),
        &["because", "openchoreo.dev/cluster-id"],
    );
    check_agent(
        |case| {
            case.applied.connection = Some(nobody(|_| {}));
            case.applied.siblings = Siblings { n: 1, any_connected: true };
        },
        ("False", reason::AGENT_NOT_VERIFIED),
        &["clientCA does not verify its certificate", "cluster-agent-tls", "ca.crt"],
    );
    check_agent(
        |case| case.applied.connection = Some(nobody(|c| c.refusal = Some(refusal("PlaneMismatch")))),
        ("False", reason::AGENT_REFUSED),
        &["PlaneMismatch", "because"],
    );
    check_agent(
        |case| case.applied.registered = Err(GatewayError::Refused("no anchors".into())),
        ("False", reason::AGENT_REFUSED),
        &["no anchors"],
    );
    check_agent(
        |case| {
            case.applied.connection = Some(nobody(|_| {}));
            case.applied.registered = Err(GatewayError::Away("gone".into()));
        },
        ("Unknown", reason::GATEWAY_UNREACHABLE),
        &["gone"],
    );
}

#[test]
fn a_plane_with_agents_says_what_is_wrong_with_them() {
    let with = |agent: Agent| Some(Connection { agents: vec![agent], ..connected(1, NOW) });
    let fine = || agent("a", "2026-02-01T00:00:00Z");
    check_agent(
        |case| case.applied.connection = with(fine()),
        ("True", reason::AGENT_CONNECTED),
        &["1 agent connected"],
    );
    check_agent(
        |case| case.applied.connection = with(agent("a", "2026-01-14T23:59:59Z")),
        ("True", reason::AGENT_CERTIFICATE_EXPIRING),
        &["agent a ends at 2026-01-14T23:59:59Z", "renewed"],
    );
    check_agent(
        |case| {
            case.applied.connection = with(fine());
            case.applied.registered = Ok(Registered::InPart);
            case.applied.siblings.n = 1;
        },
        ("True", reason::AGENT_CONNECTED),
        &["not every gateway replica", "allowedPlanes"],
    );
    let mut case = good();
    let many = (0..20).map(|index| agent(&format!("a-{index:02}"), "2026-02-01T00:00:00Z")).collect();
    case.applied.connection = Some(Connection { agents: many, ..connected(20, NOW) });
    let connection = told(&mut case, NOW).agent_connection.expect("told");
    assert_eq!((connection.connected_agents, connection.agents.len()), (20, 16));
    assert_eq!(connection.agents[0].version.as_deref(), Some("0.1.0"));
}
