//! Giving templates what they take.

use buildplane_argo::AnyString;
use buildplane_argo::template::Parameter;

use crate::core::limits::Limits;
use crate::core::substitute::{Budget, ExpandError, Piece, Scope, pieces};

/// What a template takes cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentError {
    /// Nothing is given and there is no default.
    #[error("{0} was not supplied: give it a value, or a default where it is declared")]
    Missing(String),
    /// A variable in it cannot be resolved.
    #[error("{path}: {cause}")]
    Expand {
        /// The parameter.
        path: String,
        /// What is wrong.
        cause: ExpandError,
    },
    /// Not one of the values it may have.
    #[error("{path}: \"{value}\" is none of the allowed values ({choices})")]
    NotAChoice {
        /// The parameter.
        path: String,
        /// What it was given.
        value: String,
        /// What it may be.
        choices: String,
    },
    /// Too long.
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// The parameter.
        path: String,
        /// The longest it may be.
        limit: usize,
    },
}

/// Values for the parameters of the workflow. They are data from outside and are never expanded.
pub(crate) fn of_workflow(declared: &[Parameter], limits: &Limits) -> Result<Vec<Parameter>, ArgumentError> {
    declared
        .iter()
        .map(|parameter| {
            let path = format!("spec.arguments.parameters.{}", parameter.name);
            let value = parameter.value.clone().or_else(|| parameter.default.clone());
            checked(parameter, value.map(|value| value.0), path, limits)
        })
        .collect()
}

/// Values for what a template takes: what is given, or the declared value or default expanded in `outer`.
pub(crate) fn bind(
    declared: &[Parameter],
    given: &[Parameter],
    outer: &Scope<'_>,
    limits: &Limits,
) -> Result<Vec<Parameter>, ArgumentError> {
    let mut budget = Budget::new(limits.expansion_bytes);
    declared
        .iter()
        .map(|parameter| {
            let path = format!("inputs.parameters.{}", parameter.name);
            let given =
                given.iter().find(|given| given.name == parameter.name).and_then(Parameter::value_str);
            let own = parameter.value.as_ref().or(parameter.default.as_ref()).map(AnyString::as_str);
            let value = match (given, own) {
                (Some(given), _) => Some(given.to_owned()),
                (None, Some(own)) => Some(
                    outer
                        .expand(own, &mut budget)
                        .map_err(|cause| ArgumentError::Expand { path: path.clone(), cause })?,
                ),
                (None, None) => None,
            };
            checked(parameter, value, path, limits)
        })
        .collect()
}

/// The arguments of a step with their values expanded in `scope`.
///
/// An argument that is nothing but the output of a step that was skipped is not given at all, so that the default of
/// what is called applies.
pub(crate) fn expand(
    arguments: &[Parameter],
    scope: &Scope<'_>,
    limits: &Limits,
) -> Result<Vec<Parameter>, ArgumentError> {
    let mut budget = Budget::new(limits.expansion_bytes);
    arguments
        .iter()
        .map(|argument| {
            let path = format!("arguments.parameters.{}", argument.name);
            let from = argument.value_from.as_ref().and_then(|from| from.parameter.as_deref());
            let text = argument.value_str().or(from).ok_or_else(|| ArgumentError::Missing(path.clone()))?;
            match scope.expand(text, &mut budget) {
                Ok(value) => checked(argument, Some(value), path, limits).map(Some),
                Err(ExpandError::Unresolved(name)) if is_output_alone(text, &name) => Ok(None),
                Err(cause) => Err(ArgumentError::Expand { path, cause }),
            }
        })
        .filter_map(Result::transpose)
        .collect()
}

fn is_output_alone(text: &str, name: &str) -> bool {
    let is_output =
        ["steps.", "tasks."].iter().any(|family| name.starts_with(family)) && name.contains(".outputs.");
    is_output && pieces(text).eq([Piece::Variable(name)])
}

fn checked(
    declared: &Parameter,
    value: Option<String>,
    path: String,
    limits: &Limits,
) -> Result<Parameter, ArgumentError> {
    let value = value.ok_or_else(|| ArgumentError::Missing(path.clone()))?;
    if value.len() > limits.parameter_bytes {
        return Err(ArgumentError::TooLong { path, limit: limits.parameter_bytes });
    }
    if !declared.choices.is_empty() && !declared.choices.iter().any(|choice| choice.as_str() == value) {
        let choices: Vec<&str> = declared.choices.iter().take(20).map(AnyString::as_str).collect();
        return Err(ArgumentError::NotAChoice { path, value, choices: choices.join(", ") });
    }
    Ok(Parameter::with_value(&declared.name, value))
}
