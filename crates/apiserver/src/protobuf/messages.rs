//! Field numbers of the messages that are read, from the `.proto` files of Kubernetes.

use Field::{Bool, Bytes, FieldsV1, Int, Lists, Map, Message, MicroTime, NonZero, Repeated, Text, Time};

/// A message: field number, JSON name, content.
pub(crate) type Table = &'static [(u64, &'static str, Field)];

/// How a field is encoded.
pub(crate) enum Field {
    Text,
    Bytes,
    Bool,
    Int,
    /// A number that is absent when it is zero.
    NonZero,
    /// `metav1.Time`
    Time,
    /// `metav1.MicroTime`
    MicroTime,
    /// Raw JSON.
    FieldsV1,
    Message(Table),
    Repeated(&'static Field),
    /// From strings to the given content.
    Map(&'static Field),
    /// From strings to lists of strings.
    Lists,
}

/// The table of a kind.
pub(crate) fn of(api_version: &str, kind: &str) -> Option<Table> {
    Some(match (api_version, kind) {
        (_, "DeleteOptions") => DELETE_OPTIONS,
        ("v1", "ConfigMap") => CONFIG_MAP,
        ("v1", "Event") => EVENT,
        ("v1", "Namespace") => NAMESPACE,
        ("v1", "Secret") => SECRET,
        ("v1", "ServiceAccount") => SERVICE_ACCOUNT,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => SELF_SUBJECT_REVIEW,
        ("authentication.k8s.io/v1", "TokenRequest") => TOKEN_REQUEST,
        ("authentication.k8s.io/v1", "TokenReview") => TOKEN_REVIEW,
        ("authorization.k8s.io/v1", "LocalSubjectAccessReview") => LOCAL_SUBJECT_ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => SELF_SUBJECT_ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => SELF_SUBJECT_RULES_REVIEW,
        ("authorization.k8s.io/v1", "SubjectAccessReview") => SUBJECT_ACCESS_REVIEW,
        ("coordination.k8s.io/v1", "Lease") => LEASE,
        ("events.k8s.io/v1", "Event") => EVENTS_EVENT,
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => CLUSTER_ROLE,
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => CLUSTER_ROLE_BINDING,
        ("rbac.authorization.k8s.io/v1", "Role") => ROLE,
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => ROLE_BINDING,
        _ => return None,
    })
}

/// A list of strings as a message.
pub(crate) static STRINGS: Table = &[(1, "items", Repeated(&Text))];
static OWNER_REFERENCE: Table = &[
    (1, "kind", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "controller", Bool),
    (7, "blockOwnerDeletion", Bool),
];
static MANAGED_FIELDS_ENTRY: Table = &[
    (1, "manager", Text),
    (2, "operation", Text),
    (3, "apiVersion", Text),
    (4, "time", Time),
    (6, "fieldsType", Text),
    (7, "fieldsV1", FieldsV1),
    (8, "subresource", Text),
];
static OBJECT_META: Table = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (4, "selfLink", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (7, "generation", NonZero),
    (8, "creationTimestamp", Time),
    (9, "deletionTimestamp", Time),
    (10, "deletionGracePeriodSeconds", Int),
    (11, "labels", Map(&Text)),
    (12, "annotations", Map(&Text)),
    (13, "ownerReferences", Repeated(&Message(OWNER_REFERENCE))),
    (14, "finalizers", Repeated(&Text)),
    (17, "managedFields", Repeated(&Message(MANAGED_FIELDS_ENTRY))),
];
static SECRET: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "data", Map(&Bytes)),
    (3, "type", Text),
    (4, "stringData", Map(&Text)),
    (5, "immutable", Bool),
];
static NAMESPACE_SPEC: Table = &[(1, "finalizers", Repeated(&Text))];
static NAMESPACE_CONDITION: Table = &[
    (1, "type", Text),
    (2, "status", Text),
    (4, "lastTransitionTime", Time),
    (5, "reason", Text),
    (6, "message", Text),
];
static NAMESPACE_STATUS: Table =
    &[(1, "phase", Text), (2, "conditions", Repeated(&Message(NAMESPACE_CONDITION)))];
static NAMESPACE: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "spec", Message(NAMESPACE_SPEC)),
    (3, "status", Message(NAMESPACE_STATUS)),
];
static CONFIG_MAP: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "data", Map(&Text)),
    (3, "binaryData", Map(&Bytes)),
    (4, "immutable", Bool),
];
static OBJECT_REFERENCE: Table = &[
    (1, "kind", Text),
    (2, "namespace", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "resourceVersion", Text),
    (7, "fieldPath", Text),
];
static LOCAL_OBJECT_REFERENCE: Table = &[(1, "name", Text)];
static SERVICE_ACCOUNT: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "secrets", Repeated(&Message(OBJECT_REFERENCE))),
    (3, "imagePullSecrets", Repeated(&Message(LOCAL_OBJECT_REFERENCE))),
    (4, "automountServiceAccountToken", Bool),
];
static EVENT_SOURCE: Table = &[(1, "component", Text), (2, "host", Text)];
static EVENT_SERIES: Table = &[(1, "count", NonZero), (2, "lastObservedTime", MicroTime)];
static EVENT: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "involvedObject", Message(OBJECT_REFERENCE)),
    (3, "reason", Text),
    (4, "message", Text),
    (5, "source", Message(EVENT_SOURCE)),
    (6, "firstTimestamp", Time),
    (7, "lastTimestamp", Time),
    (8, "count", NonZero),
    (9, "type", Text),
    (10, "eventTime", MicroTime),
    (11, "series", Message(EVENT_SERIES)),
    (12, "action", Text),
    (13, "related", Message(OBJECT_REFERENCE)),
    (14, "reportingComponent", Text),
    (15, "reportingInstance", Text),
];
static EVENTS_EVENT_SERIES: Table = &[(1, "count", NonZero), (2, "lastObservedTime", MicroTime)];
static EVENTS_EVENT: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "eventTime", MicroTime),
    (3, "series", Message(EVENTS_EVENT_SERIES)),
    (4, "reportingController", Text),
    (5, "reportingInstance", Text),
    (6, "action", Text),
    (7, "reason", Text),
    (8, "regarding", Message(OBJECT_REFERENCE)),
    (9, "related", Message(OBJECT_REFERENCE)),
    (10, "note", Text),
    (11, "type", Text),
    (12, "deprecatedSource", Message(EVENT_SOURCE)),
    (13, "deprecatedFirstTimestamp", Time),
    (14, "deprecatedLastTimestamp", Time),
    (15, "deprecatedCount", NonZero),
];
static LEASE_SPEC: Table = &[
    (1, "holderIdentity", Text),
    (2, "leaseDurationSeconds", Int),
    (3, "acquireTime", MicroTime),
    (4, "renewTime", MicroTime),
    (5, "leaseTransitions", Int),
    (6, "strategy", Text),
    (7, "preferredHolder", Text),
];
static LEASE: Table = &[(1, "metadata", Message(OBJECT_META)), (2, "spec", Message(LEASE_SPEC))];
static POLICY_RULE: Table = &[
    (1, "verbs", Repeated(&Text)),
    (2, "apiGroups", Repeated(&Text)),
    (3, "resources", Repeated(&Text)),
    (4, "resourceNames", Repeated(&Text)),
    (5, "nonResourceURLs", Repeated(&Text)),
];
static ROLE: Table = &[(1, "metadata", Message(OBJECT_META)), (2, "rules", Repeated(&Message(POLICY_RULE)))];
static SUBJECT: Table =
    &[(1, "kind", Text), (2, "apiGroup", Text), (3, "name", Text), (4, "namespace", Text)];
static ROLE_REF: Table = &[(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)];
static ROLE_BINDING: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "subjects", Repeated(&Message(SUBJECT))),
    (3, "roleRef", Message(ROLE_REF)),
];
static LABEL_SELECTOR_REQUIREMENT: Table =
    &[(1, "key", Text), (2, "operator", Text), (3, "values", Repeated(&Text))];
static LABEL_SELECTOR: Table = &[
    (1, "matchLabels", Map(&Text)),
    (2, "matchExpressions", Repeated(&Message(LABEL_SELECTOR_REQUIREMENT))),
];
static AGGREGATION_RULE: Table = &[(1, "clusterRoleSelectors", Repeated(&Message(LABEL_SELECTOR)))];
static CLUSTER_ROLE: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "rules", Repeated(&Message(POLICY_RULE))),
    (3, "aggregationRule", Message(AGGREGATION_RULE)),
];
static CLUSTER_ROLE_BINDING: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "subjects", Repeated(&Message(SUBJECT))),
    (3, "roleRef", Message(ROLE_REF)),
];
static FIELD_SELECTOR_REQUIREMENT: Table =
    &[(1, "key", Text), (2, "operator", Text), (3, "values", Repeated(&Text))];
static FIELD_SELECTOR_ATTRIBUTES: Table =
    &[(1, "rawSelector", Text), (2, "requirements", Repeated(&Message(FIELD_SELECTOR_REQUIREMENT)))];
static LABEL_SELECTOR_ATTRIBUTES: Table =
    &[(1, "rawSelector", Text), (2, "requirements", Repeated(&Message(LABEL_SELECTOR_REQUIREMENT)))];
static RESOURCE_ATTRIBUTES: Table = &[
    (1, "namespace", Text),
    (2, "verb", Text),
    (3, "group", Text),
    (4, "version", Text),
    (5, "resource", Text),
    (6, "subresource", Text),
    (7, "name", Text),
    (8, "fieldSelector", Message(FIELD_SELECTOR_ATTRIBUTES)),
    (9, "labelSelector", Message(LABEL_SELECTOR_ATTRIBUTES)),
];
static NON_RESOURCE_ATTRIBUTES: Table = &[(1, "path", Text), (2, "verb", Text)];
static SELF_SUBJECT_ACCESS_REVIEW_SPEC: Table = &[
    (1, "resourceAttributes", Message(RESOURCE_ATTRIBUTES)),
    (2, "nonResourceAttributes", Message(NON_RESOURCE_ATTRIBUTES)),
];
static SUBJECT_ACCESS_REVIEW_STATUS: Table =
    &[(1, "allowed", Bool), (2, "reason", Text), (3, "evaluationError", Text), (4, "denied", Bool)];
static SELF_SUBJECT_ACCESS_REVIEW: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "spec", Message(SELF_SUBJECT_ACCESS_REVIEW_SPEC)),
    (3, "status", Message(SUBJECT_ACCESS_REVIEW_STATUS)),
];
static SUBJECT_ACCESS_REVIEW_SPEC: Table = &[
    (1, "resourceAttributes", Message(RESOURCE_ATTRIBUTES)),
    (2, "nonResourceAttributes", Message(NON_RESOURCE_ATTRIBUTES)),
    (3, "user", Text),
    (4, "groups", Repeated(&Text)),
    (5, "extra", Lists),
    (6, "uid", Text),
];
static SUBJECT_ACCESS_REVIEW: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "spec", Message(SUBJECT_ACCESS_REVIEW_SPEC)),
    (3, "status", Message(SUBJECT_ACCESS_REVIEW_STATUS)),
];
static LOCAL_SUBJECT_ACCESS_REVIEW: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "spec", Message(SUBJECT_ACCESS_REVIEW_SPEC)),
    (3, "status", Message(SUBJECT_ACCESS_REVIEW_STATUS)),
];
static SELF_SUBJECT_RULES_REVIEW_SPEC: Table = &[(1, "namespace", Text)];
static RESOURCE_RULE: Table = &[
    (1, "verbs", Repeated(&Text)),
    (2, "apiGroups", Repeated(&Text)),
    (3, "resources", Repeated(&Text)),
    (4, "resourceNames", Repeated(&Text)),
];
static NON_RESOURCE_RULE: Table = &[(1, "verbs", Repeated(&Text)), (2, "nonResourceURLs", Repeated(&Text))];
static SUBJECT_RULES_REVIEW_STATUS: Table = &[
    (1, "resourceRules", Repeated(&Message(RESOURCE_RULE))),
    (2, "nonResourceRules", Repeated(&Message(NON_RESOURCE_RULE))),
    (3, "incomplete", Bool),
    (4, "evaluationError", Text),
];
static SELF_SUBJECT_RULES_REVIEW: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "spec", Message(SELF_SUBJECT_RULES_REVIEW_SPEC)),
    (3, "status", Message(SUBJECT_RULES_REVIEW_STATUS)),
];
static USER_INFO: Table =
    &[(1, "username", Text), (2, "uid", Text), (3, "groups", Repeated(&Text)), (4, "extra", Lists)];
static SELF_SUBJECT_REVIEW_STATUS: Table = &[(1, "userInfo", Message(USER_INFO))];
static SELF_SUBJECT_REVIEW: Table =
    &[(1, "metadata", Message(OBJECT_META)), (2, "status", Message(SELF_SUBJECT_REVIEW_STATUS))];
static BOUND_OBJECT_REFERENCE: Table =
    &[(1, "kind", Text), (2, "apiVersion", Text), (3, "name", Text), (4, "uid", Text)];
static TOKEN_REVIEW_SPEC: Table = &[(1, "token", Text), (2, "audiences", Repeated(&Text))];
static TOKEN_REVIEW: Table =
    &[(1, "metadata", Message(OBJECT_META)), (2, "spec", Message(TOKEN_REVIEW_SPEC))];
static TOKEN_REQUEST_SPEC: Table = &[
    (1, "audiences", Repeated(&Text)),
    (3, "boundObjectRef", Message(BOUND_OBJECT_REFERENCE)),
    (4, "expirationSeconds", Int),
];
static TOKEN_REQUEST_STATUS: Table = &[(1, "token", Text), (2, "expirationTimestamp", Time)];
static TOKEN_REQUEST: Table = &[
    (1, "metadata", Message(OBJECT_META)),
    (2, "spec", Message(TOKEN_REQUEST_SPEC)),
    (3, "status", Message(TOKEN_REQUEST_STATUS)),
];
static PRECONDITIONS: Table = &[(1, "uid", Text), (2, "resourceVersion", Text)];
static DELETE_OPTIONS: Table = &[
    (1, "gracePeriodSeconds", Int),
    (2, "preconditions", Message(PRECONDITIONS)),
    (3, "orphanDependents", Bool),
    (4, "propagationPolicy", Text),
    (5, "dryRun", Repeated(&Text)),
    (6, "ignoreStoreReadErrorWithClusterBreakingPotential", Bool),
];
