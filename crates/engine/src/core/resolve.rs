//! Finding templates.
//!
//! A template of another object is copied into the status when it is first used, so that an edit of that object cannot
//! change a workflow under way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use buildplane_argo::spec::TemplateRef;
use buildplane_argo::template::Step;
use buildplane_argo::{Template, WorkflowSpec, read};
use serde_json::Value;

use crate::core::observed::{Observed, Reference};

/// The object a template belongs to, which is where it looks for templates it calls by name alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// The workflow itself.
    Local,
    /// A WorkflowTemplate.
    Namespaced(String),
    /// A ClusterWorkflowTemplate.
    Cluster(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("workflow"),
            Self::Namespaced(name) => write!(f, "WorkflowTemplate \"{name}\""),
            Self::Cluster(name) => write!(f, "ClusterWorkflowTemplate \"{name}\""),
        }
    }
}

/// How a template is named by the one that calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// By name, in the same object.
    Name(String),
    /// In another object.
    Ref(TemplateRef),
}

impl Call {
    /// What a step calls.
    pub(crate) fn of(step: &Step) -> Result<Self, ResolveError> {
        match (&step.template, &step.template_ref) {
            (Some(name), None) if !name.is_empty() => Ok(Self::Name(name.clone())),
            (None, Some(reference)) => Ok(Self::Ref(reference.clone())),
            (Some(_), Some(_)) => Err(ResolveError::Ambiguous),
            (_, None) => Err(ResolveError::Nothing),
        }
    }
}

/// A template that was found.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// The template.
    pub(crate) template: Arc<Template>,
    /// The object it belongs to.
    pub(crate) origin: Origin,
}

/// A template cannot be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The object has to be looked up first.
    #[error("the template object is not known yet")]
    Unknown(Reference),
    /// No such object.
    #[error("{0} not found: create it, or correct templateRef.name")]
    NoObject(String),
    /// No such template.
    #[error("template \"{template}\" not found in {origin}: {hint}")]
    NoTemplate {
        /// The template.
        template: String,
        /// Where it was looked for.
        origin: String,
        /// What there is.
        hint: String,
    },
    /// Both ways of naming at once.
    #[error("both template and templateRef are set: remove one of them")]
    Ambiguous,
    /// Neither way of naming.
    #[error("neither template nor templateRef is set: name the template to run")]
    Nothing,
    /// It is malformed.
    #[error("{0}")]
    Malformed(String),
}

/// Finds templates and remembers what it found.
#[derive(Debug)]
pub(crate) struct Resolver<'o> {
    observed: &'o Observed,
    local: BTreeMap<String, Arc<Template>>,
    stored: BTreeMap<String, Value>,
    parsed: BTreeMap<String, Arc<Template>>,
    unknown: BTreeSet<Reference>,
}

impl<'o> Resolver<'o> {
    /// A resolver that knows the templates of the workflow and those stored earlier.
    pub(crate) fn new(observed: &'o Observed, spec: &WorkflowSpec, stored: BTreeMap<String, Value>) -> Self {
        let templates = spec.templates.iter();
        Self {
            observed,
            local: templates.map(|template| (template.name.clone(), Arc::new(template.clone()))).collect(),
            stored,
            parsed: BTreeMap::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// The templates of other objects used so far, by `<scope>/<object>/<template>`.
    pub(crate) fn into_stored(self) -> BTreeMap<String, Value> {
        self.stored
    }

    /// Objects that have to be looked up before everything can be found.
    pub(crate) fn unknown(&self) -> &BTreeSet<Reference> {
        &self.unknown
    }

    /// Finds what a template of `caller` calls.
    pub(crate) fn resolve(&mut self, caller: &Origin, call: &Call) -> Result<Resolved, ResolveError> {
        let (origin, name) = match call {
            Call::Name(name) => (caller.clone(), name),
            Call::Ref(reference) if reference.cluster_scope => {
                (Origin::Cluster(reference.name.clone()), &reference.template)
            }
            Call::Ref(reference) => (Origin::Namespaced(reference.name.clone()), &reference.template),
        };
        let template = match &origin {
            Origin::Local => self.local.get(name).cloned().ok_or_else(|| ResolveError::NoTemplate {
                template: name.clone(),
                origin: origin.to_string(),
                hint: there_is(self.local.keys().map(String::as_str)),
            })?,
            Origin::Namespaced(object) => self.foreign(
                &origin,
                Reference::Template(object.clone()),
                &format!("namespaced/{object}/{name}"),
                name,
            )?,
            Origin::Cluster(object) => self.foreign(
                &origin,
                Reference::ClusterTemplate(object.clone()),
                &format!("cluster/{object}/{name}"),
                name,
            )?,
        };
        Ok(Resolved { template, origin })
    }

    fn foreign(
        &mut self,
        origin: &Origin,
        reference: Reference,
        key: &str,
        name: &str,
    ) -> Result<Arc<Template>, ResolveError> {
        if let Some(template) = self.parsed.get(key) {
            return Ok(template.clone());
        }
        let value = match self.stored.get(key) {
            Some(value) => value.clone(),
            None => self.find(origin, reference, name)?,
        };
        let template: Template = read(&format!("{origin} template \"{name}\""), &value)
            .map_err(|error| ResolveError::Malformed(error.to_string()))?;
        let template = Arc::new(template);
        self.stored.insert(key.to_owned(), value);
        self.parsed.insert(key.to_owned(), template.clone());
        Ok(template)
    }

    fn find(&mut self, origin: &Origin, reference: Reference, name: &str) -> Result<Value, ResolveError> {
        let Some(spec) = self.observed.templates.get(&reference) else {
            if self.observed.absent.contains(&reference) {
                return Err(ResolveError::NoObject(origin.to_string()));
            }
            self.unknown.insert(reference.clone());
            return Err(ResolveError::Unknown(reference));
        };
        let templates = spec["templates"].as_array().map(Vec::as_slice).unwrap_or_default();
        templates.iter().find(|template| template["name"] == name).cloned().ok_or_else(|| {
            ResolveError::NoTemplate {
                template: name.to_owned(),
                origin: origin.to_string(),
                hint: there_is(templates.iter().filter_map(|template| template["name"].as_str())),
            }
        })
    }
}

/// The names to choose from, as a hint.
fn there_is<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.take(10).collect();
    if names.is_empty() {
        "there are no templates".to_owned()
    } else {
        format!("there is {}", names.join(", "))
    }
}
