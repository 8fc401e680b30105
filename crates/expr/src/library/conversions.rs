//! `string`, `int`, `double`, `bool`, `dyn` and `type`.

use std::sync::LazyLock;

use super::{invalid, mismatch};
use crate::budget::Budget;
use crate::error::Error;
use crate::foreign;
use crate::node::ForeignCall;
use crate::output;
use crate::value::{Val, integer_of};

static STRING: LazyLock<ForeignCall> = LazyLock::new(|| foreign::call("string", None, 1));
static INT: LazyLock<ForeignCall> = LazyLock::new(|| foreign::call("int", None, 1));
static DOUBLE: LazyLock<ForeignCall> = LazyLock::new(|| foreign::call("double", None, 1));

pub(crate) fn string<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Text(text) => Ok(Val::Text(text.clone())),
        Val::Bool(value) => Ok(Val::text(value.to_string())),
        Val::Int(value) => Ok(Val::text(value.to_string())),
        Val::Double(value) => Ok(Val::text(output::double_text(*value))),
        Val::Foreign(value) => {
            if let Some((seconds, nanos)) = value.as_duration() {
                return Ok(Val::text(output::duration_text(seconds, nanos)));
            }
            if let Some((seconds, nanos)) = value.as_timestamp() {
                return Ok(Val::text(output::timestamp_text(seconds, nanos)));
            }
            foreign::evaluate(&STRING, arguments, budget)
        }
        _ => Err(mismatch("string", arguments)),
    }
}

pub(crate) fn int<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Int(value) => Ok(Val::Int(*value)),
        Val::Double(value) => {
            let whole = integer_of(value.trunc());
            whole.map(Val::Int).ok_or_else(|| invalid("int", format!("{value} does not fit")))
        }
        Val::Text(text) => match text.parse() {
            Ok(value) => Ok(Val::Int(value)),
            Err(_) => Err(invalid("int", format!("{:?} is not an integer", &**text))),
        },
        Val::Foreign(_) => foreign::evaluate(&INT, arguments, budget),
        _ => Err(mismatch("int", arguments)),
    }
}

pub(crate) fn double<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Double(value) => Ok(Val::Double(*value)),
        value @ Val::Int(_) => {
            let value = crate::operators::as_double(value);
            value.map(Val::Double).ok_or_else(|| mismatch("double", arguments))
        }
        Val::Text(text) => match text.parse() {
            Ok(value) => Ok(Val::Double(value)),
            Err(_) => Err(invalid("double", format!("{:?} is not a number", &**text))),
        },
        Val::Foreign(_) => foreign::evaluate(&DOUBLE, arguments, budget),
        _ => Err(mismatch("double", arguments)),
    }
}

pub(crate) fn bool<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Bool(value) => Ok(Val::Bool(*value)),
        Val::Text(text) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Val::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Val::Bool(false)),
            other => Err(invalid("bool", format!("{other:?} is not a bool"))),
        },
        _ => Err(mismatch("bool", arguments)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all functions of the table have one type")]
pub(crate) fn dynamic<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    Ok(arguments[0].clone())
}

#[expect(clippy::unnecessary_wraps, reason = "all functions of the table have one type")]
pub(crate) fn type_of<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    Ok(Val::Type(arguments[0].type_name()))
}
