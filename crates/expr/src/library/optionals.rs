//! Optional values.

use super::{invalid, mismatch};
use crate::budget::Budget;
use crate::error::Error;
use crate::value::Val;

#[expect(clippy::unnecessary_wraps, reason = "all functions of the table have one type")]
pub(crate) fn of<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    Ok(Val::some(arguments[0].clone()))
}

#[expect(clippy::unnecessary_wraps, reason = "all functions of the table have one type")]
pub(crate) fn of_non_zero<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    if arguments[0].is_zero() { Ok(Val::Optional(None)) } else { Ok(Val::some(arguments[0].clone())) }
}

#[expect(clippy::unnecessary_wraps, reason = "all functions of the table have one type")]
pub(crate) fn none<'a>(_: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    Ok(Val::Optional(None))
}

pub(crate) fn has_value<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Optional(value) => Ok(Val::Bool(value.is_some())),
        _ => Err(mismatch("hasValue", arguments)),
    }
}

pub(crate) fn value<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Optional(Some(value)) => Ok((**value).clone()),
        Val::Optional(None) => Err(invalid("value", "the optional is empty")),
        _ => Err(mismatch("value", arguments)),
    }
}

pub(crate) fn or<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    match (&arguments[0], &arguments[1]) {
        (Val::Optional(Some(_)), Val::Optional(_)) => Ok(arguments[0].clone()),
        (Val::Optional(None), Val::Optional(_)) => Ok(arguments[1].clone()),
        _ => Err(mismatch("or", arguments)),
    }
}

pub(crate) fn or_value<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Optional(Some(value)) => Ok((**value).clone()),
        Val::Optional(None) => Ok(arguments[1].clone()),
        _ => Err(mismatch("orValue", arguments)),
    }
}
