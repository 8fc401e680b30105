use std::collections::BTreeMap;

use buildplane_expr::{Limits, Program};
use serde_json::Value as Json;

use crate::context::{EXTERNAL_REFS, RunContext, VARIABLES, Variables};
use crate::document::{CheckExpression, Compiler, Document, Renderer, Text};
use crate::error::{Error, Problem, shorten};
use crate::path::DocumentPath;
use crate::schema::ParameterSchema;
use crate::text::{to_text, type_of};

/// What all expressions of one rendering may use together.
const LIMITS: Limits = Limits { cost: 2_000_000, output_bytes: 2 << 20, output_depth: 64 };

/// An object to create beside the run.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceTemplate {
    /// Its id, for messages.
    pub id: String,
    /// `${…}` that says whether it is wanted; wanted if absent.
    pub include_when: Option<String>,
    /// The object.
    pub template: Json,
}

/// A reference to an object of the control plane, whose spec templates can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalReference {
    /// How templates call it.
    pub id: String,
    /// Its name, in which `${…}` may stand.
    pub name: String,
}

/// A Workflow's templates, compiled.
#[derive(Debug, Clone)]
pub struct WorkflowTemplate {
    run: Document,
    resources: Vec<CompiledResource>,
    external_refs: Vec<(String, DocumentPath, Text)>,
}

#[derive(Debug, Clone)]
struct CompiledResource {
    id: String,
    path: DocumentPath,
    include_when: Option<Text>,
    template: Document,
}

/// The objects that a run consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedWorkflow {
    /// The run itself.
    pub run: Json,
    /// The objects to create before it, in this order.
    pub resources: Vec<RenderedResource>,
}

/// An object to create beside the run.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedResource {
    /// The id of its template.
    pub id: String,
    /// The object.
    pub object: Json,
}

impl WorkflowTemplate {
    /// Compiles a Workflow's templates, and so checks all that can be checked without data: syntax, names of
    /// variables and functions, ids of external references, and names of parameters where the schema is given.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first problem.
    pub fn compile(
        run_template: &Json,
        resources: &[ResourceTemplate],
        external_refs: &[ExternalReference],
        schema: Option<&ParameterSchema>,
    ) -> Result<Self, Vec<Error>> {
        let ids: Vec<String> = external_refs.iter().map(|reference| reference.id.clone()).collect();
        let members = Members { external_refs: &ids, parameters: schema.map(ParameterSchema::names) };
        let mut errors = Vec::new();

        let mut compiler = Compiler::new(&ids, Some(&members));
        let run = compiler.document(run_template, &DocumentPath::new("runTemplate"), &mut errors);
        let resources = resources
            .iter()
            .enumerate()
            .map(|(index, resource)| {
                let path = DocumentPath::new("resources").index(index);
                let include_when = resource.include_when.as_deref().filter(|text| !text.trim().is_empty());
                CompiledResource {
                    id: resource.id.clone(),
                    include_when: include_when
                        .map(|text| condition(&mut compiler, text, &path.key("includeWhen"), &mut errors)),
                    template: compiler.document(&resource.template, &path.key("template"), &mut errors),
                    path,
                }
            })
            .collect();

        let names_only = Members { external_refs: &[], parameters: schema.map(ParameterSchema::names) };
        let mut compiler = Compiler::new(&[], Some(&names_only));
        let external_refs = external_refs
            .iter()
            .enumerate()
            .map(|(index, reference)| {
                let path = DocumentPath::new("externalRefs").index(index).key("name");
                let name = compiler.text(&reference.name, &path, &mut errors);
                (reference.id.clone(), path, name)
            })
            .collect();

        if errors.is_empty() { Ok(Self { run, resources, external_refs }) } else { Err(errors) }
    }

    /// The names of the external references by id, to be resolved into [`RunContext::external_refs`]. Those whose
    /// name renders empty are left out: the run does without.
    pub fn external_reference_names(&self, context: &RunContext) -> Result<BTreeMap<String, String>, Error> {
        let variables = context.variables();
        let bindings = variables.bindings();
        let mut renderer = Renderer { bindings: &bindings, limits: LIMITS };
        let mut names = BTreeMap::new();
        for (id, path, name) in &self.external_refs {
            match renderer.text(name, path)? {
                None => {}
                Some(Json::String(name)) if name.is_empty() => {}
                Some(Json::String(name)) => {
                    names.insert(id.clone(), name);
                }
                Some(other) => {
                    return Err(Error::new(path, Problem::NotString { actual: type_of(&other) }));
                }
            }
        }
        Ok(names)
    }

    /// Renders the run and the resources that it includes.
    pub fn render(&self, context: &RunContext) -> Result<RenderedWorkflow, Error> {
        let variables: Variables = context.variables();
        let bindings = variables.bindings();
        let mut renderer = Renderer { bindings: &bindings, limits: LIMITS };

        let path = DocumentPath::new("runTemplate");
        let mut run = object(renderer.document(&self.run, &path)?, &path)?;
        print_argument_values(&mut run);

        let mut resources = Vec::new();
        for resource in &self.resources {
            if !resource.is_included(&mut renderer)? {
                continue;
            }
            let path = resource.path.key("template");
            let object = object(renderer.document(&resource.template, &path)?, &path)?;
            resources.push(RenderedResource { id: resource.id.clone(), object });
        }
        Ok(RenderedWorkflow { run, resources })
    }
}

impl CompiledResource {
    fn is_included(&self, renderer: &mut Renderer<'_>) -> Result<bool, Error> {
        let Some(condition) = &self.include_when else { return Ok(true) };
        let path = self.path.key("includeWhen");
        match renderer.text(condition, &path)? {
            Some(Json::Bool(included)) => Ok(included),
            other => {
                let actual = other.as_ref().map_or("nothing", type_of);
                Err(Error::new(&path, Problem::ConditionNotBool { actual }))
            }
        }
    }
}

/// Compiles a condition, which must be an expression: a plain text can never be true or false.
fn condition(compiler: &mut Compiler<'_>, text: &str, path: &DocumentPath, errors: &mut Vec<Error>) -> Text {
    let n_errors = errors.len();
    let condition = compiler.text(text, path, errors);
    if errors.len() == n_errors && !matches!(condition, Text::Standalone(_)) {
        errors.push(Error::new(path, Problem::ConditionNotBool { actual: "a text" }));
    }
    condition
}

/// Checks that what was rendered is an object with a type and a name.
fn object(rendered: Option<Json>, path: &DocumentPath) -> Result<Json, Error> {
    let rendered = rendered.unwrap_or(Json::Null);
    for (field, pointer) in
        [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")]
    {
        let value = rendered.pointer(pointer).and_then(Json::as_str);
        if value.is_none_or(str::is_empty) {
            return Err(Error::new(path, Problem::MissingField { field }));
        }
    }
    Ok(rendered)
}

/// Prints the values of parameters and environment variables, which the API takes as strings only.
///
/// Upstream does this to every field called `value`, and turns every string that starts with `[` back into a list,
/// anywhere: scripts and configuration data included. Neither is done here.
fn print_argument_values(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(print_argument_values),
        Json::Object(entries) => {
            for (key, value) in entries {
                if let ("parameters" | "env", Json::Array(items)) = (key.as_str(), &mut *value) {
                    items.iter_mut().for_each(print_value);
                }
                print_argument_values(value);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn print_value(item: &mut Json) {
    for field in ["value", "default"] {
        match item.get_mut(field) {
            None | Some(Json::Null | Json::String(_)) => {}
            Some(value) => *value = Json::String(to_text(value)),
        }
    }
}

/// What may be selected on the variables.
#[derive(Debug)]
struct Members<'m> {
    external_refs: &'m [String],
    parameters: Option<Vec<String>>,
}

const METADATA: [&str; 4] = ["namespaceName", "workflowRunName", "namespace", "labels"];
const PLANE: [&str; 1] = ["secretStore"];

impl CheckExpression for Members<'_> {
    fn problem(&self, program: &Program) -> Option<Problem> {
        let expression = || shorten(program.source().trim());
        for variable in VARIABLES {
            let known: Vec<String> = match variable {
                "metadata" => METADATA.map(str::to_owned).to_vec(),
                "workflowplane" | "buildplane" => PLANE.map(str::to_owned).to_vec(),
                EXTERNAL_REFS => self.external_refs.to_vec(),
                _ => match &self.parameters {
                    Some(parameters) => parameters.clone(),
                    None => continue,
                },
            };
            let members = program.members(variable);
            let Some(unknown) = members.into_iter().find(|member| !known.iter().any(|known| known == member))
            else {
                continue;
            };
            let (expression, member) = (expression(), unknown.to_owned());
            return Some(match variable {
                EXTERNAL_REFS => {
                    Problem::UnknownExternalReference { expression, id: member, declared: known }
                }
                _ => Problem::UnknownMember { expression, variable: variable.to_owned(), member, known },
            });
        }
        None
    }
}
