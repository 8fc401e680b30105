//! `x-kubernetes-validations`: from the texts to programs.

use buildplane_expr::{Environment, Error as ExpressionError};
use serde_json::{Map, Value};

use super::At;
use crate::field::ErrorKind;
use crate::jsonpath::JsonPath;
use crate::schema::SchemaError;
use crate::schema::rules::{OLD_SELF_LIST, OldSelf, Rule};

/// Most rules on one node; each is compiled when the schema is.
const MAX_RULES: usize = 100;

const OLD_SELF: &str = "oldSelf";

pub(super) fn read(keywords: &Map<String, Value>, at: &At) -> Result<Vec<Rule>, SchemaError> {
    let keyword = "x-kubernetes-validations";
    let rules = match keywords.get(keyword) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(rules)) if rules.len() <= MAX_RULES => rules,
        Some(Value::Array(_)) => {
            return Err(SchemaError::TooLarge(format!("more than {MAX_RULES} rules on one field")));
        }
        Some(_) => return Err(at.error(keyword, "must be a list")),
    };
    rules
        .iter()
        .enumerate()
        .map(|(index, rule)| read_rule(rule, &at.child(&format!("{keyword}[{index}]"), "")))
        .collect()
}

fn read_rule(rule: &Value, at: &At) -> Result<Rule, SchemaError> {
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let source = text("rule");
    if source.is_empty() {
        return Err(at.error("rule", "Required value: rule is not specified"));
    }
    let is_optional = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
    let failed = |name: &str, source: &str, error: &ExpressionError| {
        let problem = format!("Invalid value: {}: compilation failed: {error}", crate::field::quote(source));
        at.error(name, problem)
    };
    let compile = |source: &str| {
        let environment = Environment::standard().with_escaped_fields();
        if !is_optional {
            return environment.compile(source, &["self", OLD_SELF]);
        }
        // Bindings are JSON, in which there is no optional: a list of at most one becomes it.
        let optional = format!(
            "cel.bind({OLD_SELF}, size({OLD_SELF_LIST}) > 0 ? optional.of({OLD_SELF_LIST}[0]) : optional.none(), {source}\n)"
        );
        environment.compile(&optional, &["self", OLD_SELF_LIST])
    };
    let program = compile(&source).map_err(|error| failed("rule", &source, &error))?;
    let message_source = text("messageExpression");
    let message_program = match message_source.as_str() {
        "" => None,
        source => Some(compile(source).map_err(|error| failed("messageExpression", source, &error))?),
    };
    let old_self = match (is_optional, program.variables().contains(OLD_SELF)) {
        (true, _) => OldSelf::Optional,
        (false, true) => OldSelf::Required,
        (false, false) => OldSelf::Unused,
    };
    Ok(Rule {
        source,
        program,
        message: text("message"),
        message_program,
        kind: kind(&text("reason"), at)?,
        field_path: field_path(&text("fieldPath"), at)?,
        old_self,
    })
}

fn kind(reason: &str, at: &At) -> Result<ErrorKind, SchemaError> {
    match reason {
        "" | "FieldValueInvalid" => Ok(ErrorKind::Invalid),
        "FieldValueForbidden" => Ok(ErrorKind::Forbidden),
        "FieldValueRequired" => Ok(ErrorKind::Required),
        "FieldValueDuplicate" => Ok(ErrorKind::Duplicate),
        other => {
            let supported =
                r#""FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired""#;
            Err(at.error("reason", format!("Unsupported value: {other:?}: supported values: {supported}")))
        }
    }
}

fn field_path(path: &str, at: &At) -> Result<String, SchemaError> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let parsed =
        JsonPath::parse(path).map_err(|error| at.error("fieldPath", format!("Invalid value: {error}")))?;
    let fields = parsed.fields().ok_or_else(|| {
        at.error("fieldPath", format!("Invalid value: {path:?}: fieldPath must be a path of fields"))
    })?;
    Ok(fields.join("."))
}
