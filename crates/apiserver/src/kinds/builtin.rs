//! The built-in kinds: a table, and their schemas out of `k8s-openapi`, made when first needed.

use std::sync::{Arc, OnceLock};

use buildplane_apimachinery::schema::{Schema, SchemaError};
use buildplane_apimachinery::table::Columns;
use k8s_openapi::api::{
    authentication::v1 as authn, authorization::v1 as authz, coordination::v1 as coordination,
    core::v1 as core, events::v1 as events, rbac::v1 as rbac,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::kinds::{CRD_GROUP, Kind, RBAC_GROUP, Source};

/// What the table says of a built-in kind.
#[expect(clippy::struct_excessive_bools, reason = "the fields are what discovery says of a kind")]
pub(crate) struct Definition {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) namespaced: bool,
    pub(crate) has_status: bool,
    pub(crate) ephemeral: bool,
    pub(crate) read_only: bool,
    pub(crate) subresources: &'static [&'static str],
    pub(crate) selectable: &'static [&'static str],
    /// Adds the kind and all it refers to to a document and returns the name of its definition.
    pub(crate) define: fn(&mut SchemaGenerator) -> String,
}

const PLAIN: Definition = Definition {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    short_names: &[],
    namespaced: true,
    has_status: false,
    ephemeral: false,
    read_only: false,
    subresources: &[],
    selectable: &[],
    define: define::<core::Secret>,
};

fn define<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> String {
    let _reference = generator.subschema_for::<T>();
    T::schema_name().into_owned()
}

const AUTHN: &str = "authentication.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";

const fn review(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    define: fn(&mut SchemaGenerator) -> String,
) -> Definition {
    Definition { group, kind, plural, namespaced: false, ephemeral: true, define, ..PLAIN }
}

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

static DEFINITIONS: &[Definition] = &[
    Definition {
        kind: "ConfigMap",
        plural: "configmaps",
        short_names: &["cm"],
        define: define::<core::ConfigMap>,
        ..PLAIN
    },
    Definition {
        kind: "Event",
        plural: "events",
        short_names: &["ev"],
        selectable: EVENT_FIELDS,
        define: define::<core::Event>,
        ..PLAIN
    },
    Definition {
        kind: "Namespace",
        plural: "namespaces",
        short_names: &["ns"],
        namespaced: false,
        has_status: true,
        subresources: &["finalize"],
        selectable: &["status.phase"],
        define: define::<core::Namespace>,
        ..PLAIN
    },
    Definition {
        kind: "PersistentVolumeClaim",
        plural: "persistentvolumeclaims",
        short_names: &["pvc"],
        has_status: true,
        define: define::<core::PersistentVolumeClaim>,
        ..PLAIN
    },
    Definition {
        kind: "Pod",
        plural: "pods",
        short_names: &["po"],
        has_status: true,
        subresources: &["log"],
        selectable: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        define: define::<core::Pod>,
        ..PLAIN
    },
    Definition {
        kind: "Secret",
        plural: "secrets",
        selectable: &["type"],
        define: define::<core::Secret>,
        ..PLAIN
    },
    // There is no network of services here; clients that look for one (`kubectl cluster-info`) are told that it is empty.
    Definition {
        kind: "Service",
        plural: "services",
        short_names: &["svc"],
        read_only: true,
        define: define::<core::Service>,
        ..PLAIN
    },
    Definition {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        short_names: &["sa"],
        subresources: &["token"],
        define: define::<core::ServiceAccount>,
        ..PLAIN
    },
    Definition {
        group: CRD_GROUP,
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        short_names: &["crd", "crds"],
        namespaced: false,
        has_status: true,
        define: define::<apiextensions::CustomResourceDefinition>,
        ..PLAIN
    },
    Definition {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        define: define::<coordination::Lease>,
        ..PLAIN
    },
    Definition {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        short_names: &["ev"],
        define: define::<events::Event>,
        ..PLAIN
    },
    Definition {
        group: RBAC_GROUP,
        kind: "ClusterRole",
        plural: "clusterroles",
        namespaced: false,
        define: define::<rbac::ClusterRole>,
        ..PLAIN
    },
    Definition {
        group: RBAC_GROUP,
        kind: "ClusterRoleBinding",
        plural: "clusterrolebindings",
        namespaced: false,
        define: define::<rbac::ClusterRoleBinding>,
        ..PLAIN
    },
    Definition { group: RBAC_GROUP, kind: "Role", plural: "roles", define: define::<rbac::Role>, ..PLAIN },
    Definition {
        group: RBAC_GROUP,
        kind: "RoleBinding",
        plural: "rolebindings",
        define: define::<rbac::RoleBinding>,
        ..PLAIN
    },
    review(AUTHN, "SelfSubjectReview", "selfsubjectreviews", define::<authn::SelfSubjectReview>),
    review(AUTHN, "TokenReview", "tokenreviews", define::<authn::TokenReview>),
    Definition {
        namespaced: true,
        ..review(
            AUTHZ,
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
            define::<authz::LocalSubjectAccessReview>,
        )
    },
    review(
        AUTHZ,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        define::<authz::SelfSubjectAccessReview>,
    ),
    review(
        AUTHZ,
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        define::<authz::SelfSubjectRulesReview>,
    ),
    review(AUTHZ, "SubjectAccessReview", "subjectaccessreviews", define::<authz::SubjectAccessReview>),
];

static TOKEN_REQUEST: Definition =
    review(AUTHN, "TokenRequest", "tokenrequests", define::<authn::TokenRequest>);

/// What is posted to `serviceaccounts/token`; served nowhere else.
pub(crate) fn token_request() -> &'static Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    KIND.get_or_init(|| TOKEN_REQUEST.kind())
}

impl Definition {
    pub(crate) fn compile(&self) -> Result<Schema, SchemaError> {
        let mut generator = generator();
        let name = (self.define)(&mut generator);
        let document = document(&mut generator);
        Schema::from_document(&document, &format!("/components/schemas/{name}"))
    }

    fn kind(&'static self) -> Kind {
        let api_version = if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        };
        // Events of both groups are the same objects.
        let stored_in = match self.group {
            "" | "events.k8s.io" => "core",
            group => group,
        };
        Kind {
            group: self.group.into(),
            version: self.version.into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.into(),
            singular: self.kind.to_lowercase(),
            short_names: self.short_names.iter().map(|name| (*name).to_owned()).collect(),
            categories: Vec::new(),
            namespaced: self.namespaced,
            storage_version: self.version.into(),
            has_status: self.has_status,
            subresources: self.subresources,
            ephemeral: self.ephemeral,
            read_only: self.read_only,
            api_version,
            prefix: format!("/{stored_in}/{}/", self.plural),
            columns: Columns::builtin(self.group, self.plural),
            source: Source::Builtin(self),
            deprecation: None,
            terminating: false,
            selectable: self.selectable.iter().map(|field| (*field).to_owned()).collect(),
            schema: OnceLock::new(),
        }
    }
}

fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft07();
    settings.definitions_path = "/components/schemas".into();
    settings.into_generator()
}

fn document(generator: &mut SchemaGenerator) -> Value {
    json!({"components": {"schemas": generator.take_definitions(true)}})
}

/// All built-in kinds.
pub(crate) fn kinds() -> impl Iterator<Item = Arc<Kind>> {
    DEFINITIONS.iter().map(|definition| Arc::new(definition.kind()))
}

/// The OpenAPI definitions of the built-in kinds of a group, by name, and the name of each kind's own.
pub(crate) fn definitions(group: &str) -> (Map<String, Value>, Vec<(&'static Definition, String)>) {
    let mut generator = generator();
    let names = DEFINITIONS
        .iter()
        .filter(|definition| definition.group == group)
        .map(|definition| (definition, (definition.define)(&mut generator)))
        .collect();
    for define in [define::<meta::DeleteOptions>, define::<meta::Status>, define::<meta::ListMeta>] {
        define(&mut generator);
    }
    (generator.take_definitions(true), names)
}

/// The definitions a custom resource's document needs: its metadata.
pub(crate) fn metadata_definitions() -> Map<String, Value> {
    let mut generator = generator();
    for define in [
        define::<meta::ObjectMeta>,
        define::<meta::DeleteOptions>,
        define::<meta::Status>,
        define::<meta::ListMeta>,
    ] {
        define(&mut generator);
    }
    generator.take_definitions(true)
}
