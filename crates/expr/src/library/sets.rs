//! Lists as sets.

use super::{mismatch, strings};
use crate::budget::Budget;
use crate::error::Error;
use crate::operators;
use crate::value::{List, Val};

fn sets<'v, 'a>(function: &str, arguments: &'v [Val<'a>]) -> Result<[&'v List<'a>; 2], Error> {
    match (strings::as_list(arguments), strings::as_list(&arguments[1..])) {
        (Some(left), Some(right)) => Ok([left, right]),
        _ => Err(mismatch(function, arguments)),
    }
}

/// Whether all of `part` are in `whole`.
fn covers(whole: &List<'_>, part: &List<'_>, budget: &mut Budget) -> Result<bool, Error> {
    let whole = Val::List(whole.clone());
    for item in part.iter() {
        if !operators::contains(&whole, &item, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) fn contains<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [whole, part] = sets("sets.contains", arguments)?;
    covers(whole, part, budget).map(Val::Bool)
}

pub(crate) fn equivalent<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [left, right] = sets("sets.equivalent", arguments)?;
    Ok(Val::Bool(covers(left, right, budget)? && covers(right, left, budget)?))
}

pub(crate) fn intersects<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [left, right] = sets("sets.intersects", arguments)?;
    let left = Val::List(left.clone());
    for item in right.iter() {
        if operators::contains(&left, &item, budget)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}
