use buildplane_expr as expr;

use crate::path::DocumentPath;

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Error {
    /// Where in the template.
    pub path: DocumentPath,
    /// What is wrong there. Part of the message, not a cause of its own.
    pub problem: Problem,
}

/// What is wrong with a part of a template.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// An expression that does not compile or evaluate.
    #[error("${{{expression}}}: {cause}")]
    Expression {
        /// The expression, shortened.
        expression: String,
        /// Why. Part of the message: without it, the message would say nothing.
        cause: expr::Error,
    },
    /// `${` inside an expression and outside quotes.
    #[error("an expression inside another one: {text}")]
    NestedExpression {
        /// The text it stands in, shortened.
        text: String,
    },
    /// A map key that does not render to a string.
    #[error("the key {key} must evaluate to a string, not {actual}")]
    KeyNotString {
        /// The key as written.
        key: String,
        /// What it rendered to.
        actual: &'static str,
    },
    /// Two keys that render to the same string.
    #[error("two keys render to {key:?}")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// An absent value in the middle of a text.
    #[error("${{{expression}}} is part of a text but evaluates to nothing")]
    AbsentInText {
        /// The expression, shortened.
        expression: String,
    },
    /// A condition that is not true or false.
    #[error("a condition must evaluate to true or false, not {actual}")]
    ConditionNotBool {
        /// What it evaluated to.
        actual: &'static str,
    },
    /// A value that must be a string.
    #[error("must evaluate to a string, not {actual}")]
    NotString {
        /// What it evaluated to.
        actual: &'static str,
    },
    /// A rendered object without a field that every object has.
    #[error("the rendered object has no {field}")]
    MissingField {
        /// The field's path.
        field: &'static str,
    },
    /// An id in `externalRefs` that the Workflow does not declare.
    #[error("${{{expression}}}: externalRefs has no {id:?}")]
    UnknownExternalReference {
        /// The expression, shortened.
        expression: String,
        /// The id.
        id: String,
        /// Ids that are declared.
        declared: Vec<String>,
    },
    /// A member that one of the variables never has.
    #[error("${{{expression}}}: {variable} has no {member:?}")]
    UnknownMember {
        /// The expression, shortened.
        expression: String,
        /// The variable.
        variable: String,
        /// What was selected on it.
        member: String,
        /// What it has.
        known: Vec<String>,
    },
    /// A document that is larger than is reasonable.
    #[error("the document has more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most there may be.
        limit: usize,
    },
}

impl Error {
    pub(crate) fn new(path: &DocumentPath, problem: Problem) -> Self {
        Self { path: path.clone(), problem }
    }

    /// What the author can do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        self.problem.hint()
    }

    /// One line for a condition or an event: the place, the problem and the remedy.
    pub fn message(&self) -> String {
        match self.hint() {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }
}

impl Problem {
    pub(crate) fn expression(expression: &str, cause: expr::Error) -> Self {
        Self::Expression { expression: shorten(expression), cause }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Expression { expression, cause } => return expression_hint(expression, cause),
            Self::NestedExpression { .. } => {
                "expressions do not nest: write ${a + b}, or quote the inner ${ as a string".to_owned()
            }
            Self::AbsentInText { .. } => {
                "give it a value with orValue(\"…\") or ? :, or let the whole field be the expression"
                    .to_owned()
            }
            Self::ConditionNotBool { .. } => "write a comparison, as in ${parameters.x != \"\"}".to_owned(),
            Self::UnknownExternalReference { declared, .. } => {
                format!("declare it in spec.externalRefs; declared: {}", listed(declared))
            }
            Self::UnknownMember { known, .. } => format!("known: {}", listed(known)),
            Self::KeyNotString { .. } | Self::NotString { .. } => "convert it with string(…)".to_owned(),
            Self::TooLarge { .. } => "split it into several Workflows".to_owned(),
            Self::MissingField { .. } | Self::DuplicateKey { .. } => return None,
        })
    }
}

fn expression_hint(expression: &str, error: &expr::Error) -> Option<String> {
    Some(match error {
        expr::Error::UndeclaredReference { name } if expression.contains(&format!("-{name}")) => {
            "a hyphen reads as minus: write names that have one in brackets, as in metadata.labels[\"a-b\"]"
                .to_owned()
        }
        expr::Error::UndeclaredReference { .. } => {
            format!("variables are {}", listed(&crate::context::VARIABLES.map(str::to_owned)))
        }
        expr::Error::NoSuchKey { key } => format!(
            "give {key:?} a value or a default in the schema, or test for it with has(…) or .?{key}.orValue(…)"
        ),
        expr::Error::NoSuchOverload { .. } => {
            "convert the values with string(…), int(…) or double(…)".to_owned()
        }
        _ => return None,
    })
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The beginning of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
