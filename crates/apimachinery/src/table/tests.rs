use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn cells(columns: &Columns, object: &Value) -> Value {
    columns.row(object, IncludeObject::None, now())["cells"].clone()
}

#[test]
fn custom_columns_follow_the_name() {
    let columns = Columns::from_crd(&[
        json!({"name": "Plane", "type": "string", "jsonPath": ".spec.planeID"}),
        json!({"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}),
        json!({"name": "Agents", "type": "integer", "jsonPath": ".status.agentConnection.connectedAgents"}),
        json!({"name": "On", "type": "boolean", "jsonPath": ".spec.on", "priority": 1}),
        json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
    ])
    .unwrap();
    let object = json!({
        "metadata": {"name": "bp", "creationTimestamp": "2026-11-21T11:55:00Z"},
        "spec": {"planeID": "p1", "on": true},
        "status": {
            "conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}],
            "agentConnection": {"connectedAgents": 2},
        },
    });
    assert_eq!(cells(&columns, &object), json!(["bp", "p1", "True", 2, true, "5m"]));
    assert_eq!(
        cells(&columns, &json!({"metadata": {"name": "bp"}})),
        json!(["bp", null, null, null, null, null])
    );
    let definitions = columns.definitions();
    assert_eq!(definitions[0]["format"], "name");
    assert_eq!(definitions[4]["priority"], 1);
    assert_eq!(definitions[5]["type"], "date");
}

#[test]
fn values_of_another_type_leave_the_cell_empty() {
    let column = |kind: &str| json!({"name": "X", "type": kind, "jsonPath": ".x"});
    let check = |kind: &str, value: Value, expected: Value| {
        let columns = Columns::from_crd(&[column(kind)]).unwrap();
        let object = json!({"metadata": {"name": "n"}, "x": value});
        assert_eq!(cells(&columns, &object)[1], expected, "{kind} {value}");
    };
    check("string", json!({"a": 1}), json!(r#"{"a":1}"#));
    check("string", json!(5), json!("5"));
    check("integer", json!("5"), Value::Null);
    check("integer", json!(5.9), json!(5));
    check("number", json!(5.9), json!(5.9));
    check("boolean", json!("true"), Value::Null);
    check("date", json!("yesterday"), json!("<invalid>"));
    assert!(Columns::from_crd(&[json!({"name": "X", "type": "string", "jsonPath": ".x["})]).is_err());
}

#[test]
fn without_columns_there_are_name_and_age() {
    let columns = Columns::from_crd(&[]).unwrap();
    let object = json!({"metadata": {"name": "n", "creationTimestamp": "2026-11-20T12:00:00Z"}});
    assert_eq!(cells(&columns, &object), json!(["n", "24h"]));
    let unborn = json!({"metadata": {"name": "n"}});
    assert_eq!(cells(&columns, &unborn), json!(["n", "<unknown>"]));
}

#[test]
fn built_in_kinds_show_what_kubectl_users_know() {
    let check = |group: &str, resource: &str, mut object: Value, expected: Value| {
        object["metadata"] = json!({"name": "n", "creationTimestamp": "2026-11-21T11:59:00Z"});
        assert_eq!(cells(&Columns::builtin(group, resource), &object), expected, "{resource}");
    };
    check(
        "",
        "pods",
        json!({
            "spec": {"containers": [{"name": "main"}]},
            "status": {"phase": "Succeeded", "containerStatuses": [
                {"ready": false, "restartCount": 1, "state": {"terminated": {"reason": "Completed"}}},
            ]},
        }),
        json!(["n", "0/1", "Completed", "1", "60s", "<none>", "<none>"]),
    );
    check(
        "",
        "pods",
        json!({"status": {"phase": "Failed", "reason": "Interrupted"}}),
        json!(["n", "0/0", "Interrupted", "0", "60s", "<none>", "<none>"]),
    );
    check("", "namespaces", json!({"status": {"phase": "Active"}}), json!(["n", "Active", "60s"]));
    check(
        "",
        "secrets",
        json!({"type": "Opaque", "data": {"a": "", "b": ""}}),
        json!(["n", "Opaque", 2, "60s"]),
    );
    check("", "configmaps", json!({"data": {"a": ""}, "binaryData": {"b": ""}}), json!(["n", 2, "60s"]));
    check("", "serviceaccounts", json!({}), json!(["n", 0, "60s"]));
    check(
        "coordination.k8s.io",
        "leases",
        json!({"spec": {"holderIdentity": "me"}}),
        json!(["n", "me", "60s"]),
    );
    check("rbac.authorization.k8s.io", "roles", json!({}), json!(["n", "2026-11-21T11:59:00Z"]));
    check(
        "rbac.authorization.k8s.io",
        "rolebindings",
        json!({
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "x"}],
        }),
        json!(["n", "Role/r", "60s", "u", "", "x/s"]),
    );
    check(
        "",
        "events",
        json!({
            "type": "Normal", "reason": "Created", "message": " made \n", "lastTimestamp": "2026-11-21T11:58:00Z",
            "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "c"}, "count": 3,
        }),
        json!(["2m", "Normal", "Created", "pod/p", "c", "made", "<unknown>", "3", "n"]),
    );
    check("made.up", "things", json!({}), json!(["n", "60s"]));
}

#[test]
fn rows_include_what_is_asked_for() {
    let columns = Columns::builtin("", "namespaces");
    let object = json!({"kind": "Namespace", "metadata": {"name": "n"}, "status": {"phase": "Active"}});
    let row = |include| columns.row(&object, include, now());
    assert_eq!(row(IncludeObject::None).get("object"), None);
    assert_eq!(row(IncludeObject::Object)["object"], object);
    assert_eq!(
        row(IncludeObject::Metadata)["object"],
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "n"}})
    );
    let table = columns.table([&object], json!({"resourceVersion": "7"}), IncludeObject::None, now());
    assert_eq!(table["metadata"], json!({"resourceVersion": "7"}));
    assert_eq!(table["rows"].as_array().unwrap().len(), 1);
    assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), 3);
}
