//! The kinds that are served: built in, and defined by CustomResourceDefinitions.

mod builtin;
pub(crate) mod crd;
mod registry;
pub(crate) mod rules;

use std::sync::{Arc, OnceLock};

use buildplane_apimachinery::schema::Schema;
use buildplane_apimachinery::table::Columns;
use serde_json::Value;

pub(crate) use builtin::{definitions, metadata_definitions, token_request};
pub(crate) use registry::Registry;

pub(crate) const CRD_GROUP: &str = "apiextensions.k8s.io";
pub(crate) const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// One resource in one version.
#[expect(
    clippy::struct_field_names,
    clippy::struct_excessive_bools,
    reason = "the fields are what discovery and definitions say of a kind"
)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// The version objects are stored in.
    pub(crate) storage_version: String,
    /// Whether `status` is written through its own subresource.
    pub(crate) has_status: bool,
    /// Subresources beside status: `log`.
    pub(crate) subresources: &'static [&'static str],
    /// Nothing here makes use of its objects, so none are taken.
    pub(crate) read_only: bool,
    /// A review: it is answered, never stored.
    pub(crate) ephemeral: bool,
    /// `apiVersion` of the kind is this; kept so that nobody joins it again and again.
    pub(crate) api_version: String,
    /// Where its objects are stored: `/{group}/{plural}/`.
    pub(crate) prefix: String,
    pub(crate) columns: Columns,
    pub(crate) source: Source,
    pub(crate) deprecation: Option<String>,
    /// Its definition is being deleted: nothing new is taken.
    pub(crate) terminating: bool,
    /// Fields selectable beside name and namespace.
    pub(crate) selectable: Vec<String>,
    pub(crate) schema: OnceLock<Arc<Schema>>,
}

/// Where a kind's schema comes from.
pub(crate) enum Source {
    /// A definition of the built-in OpenAPI documents.
    Builtin(&'static builtin::Definition),
    /// `openAPIV3Schema` of a CustomResourceDefinition version.
    Custom(Box<Value>),
}

impl Kind {
    /// `secrets`, `buildplanes.openchoreo.dev`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(crate) fn is_custom(&self) -> bool {
        matches!(self.source, Source::Custom(_))
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// The store's key of an object.
    pub(crate) fn key(&self, namespace: Option<&str>, name: &str) -> String {
        match namespace {
            Some(namespace) => format!("{}{namespace}/{name}", self.prefix),
            None => format!("{}{name}", self.prefix),
        }
    }

    /// The prefix of all objects, or of those of one namespace.
    pub(crate) fn range(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("{}{namespace}/", self.prefix),
            None => self.prefix.clone(),
        }
    }

    /// The compiled schema; made on first use.
    pub(crate) fn schema(&self) -> Arc<Schema> {
        Arc::clone(self.schema.get_or_init(|| {
            let compiled = match &self.source {
                Source::Builtin(definition) => definition.compile(),
                Source::Custom(schema) => Schema::from_crd(schema),
            };
            Arc::new(compiled.unwrap_or_else(|error| {
                tracing::error!(kind = %self.kind, group = %self.group, %error, "schema cannot be used");
                Schema::permissive()
            }))
        }))
    }

    /// The stored text is of this version already.
    pub(crate) fn stored_as_served(&self) -> bool {
        self.version == self.storage_version && !self.is("events.k8s.io", "events")
    }

    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        if self.ephemeral {
            &["create"]
        } else if self.read_only {
            &["get", "list", "watch"]
        } else if self.plural == "namespaces" && self.group.is_empty() {
            &["create", "delete", "get", "list", "patch", "update", "watch"]
        } else {
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        }
    }
}
