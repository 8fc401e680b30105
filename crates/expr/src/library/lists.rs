//! Functions on lists, and those that lists share with strings and maps.

use std::cmp::Ordering;

use super::{invalid, mismatch, strings};
use crate::budget::Budget;
use crate::error::Error;
use crate::node::Binary;
use crate::operators;
use crate::value::{List, Val};

/// Most numbers that `lists.range` gives.
const MAX_RANGE: i64 = 100_000;

fn list<'v, 'a>(function: &str, arguments: &'v [Val<'a>]) -> Result<&'v List<'a>, Error> {
    strings::as_list(arguments).ok_or_else(|| mismatch(function, arguments))
}

pub(crate) fn size<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Text(text) => strings::size(text, budget),
        Val::List(list) => Ok(Val::length(list.len())),
        Val::Map(map) => Ok(Val::length(map.len())),
        Val::Foreign(value) => match value.as_bytes() {
            Some(bytes) => Ok(Val::length(bytes.len())),
            None => Err(mismatch("size", arguments)),
        },
        _ => Err(mismatch("size", arguments)),
    }
}

pub(crate) fn index_of<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let Some(list) = strings::as_list(arguments) else {
        return strings::position("indexOf", arguments, false, budget);
    };
    for (index, item) in list.iter().enumerate() {
        if operators::equal(&item, &arguments[1], budget)? {
            return Ok(Val::length(index));
        }
    }
    Ok(Val::Int(-1))
}

pub(crate) fn last_index_of<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let Some(list) = strings::as_list(arguments) else {
        return strings::position("lastIndexOf", arguments, true, budget);
    };
    for (index, item) in list.iter().enumerate().rev() {
        if operators::equal(&item, &arguments[1], budget)? {
            return Ok(Val::length(index));
        }
    }
    Ok(Val::Int(-1))
}

pub(crate) fn reverse<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    if let Some(text) = arguments[0].as_text() {
        return strings::reverse(text, budget);
    }
    let list = list("reverse", arguments)?;
    budget.take(list.len())?;
    Ok(Val::list(list.iter().rev().collect()))
}

pub(crate) fn slice<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let list = list("slice", arguments)?;
    let bound = |index: usize| {
        let value = arguments[index].as_integer().ok_or_else(|| mismatch("slice", arguments))?;
        let position = usize::try_from(value).ok().filter(|position| *position <= list.len());
        position.ok_or_else(|| Error::IndexOutOfRange { index: value.to_string(), length: list.len() })
    };
    let (start, end) = (bound(1)?, bound(2)?);
    if start > end {
        return Err(invalid("slice", format!("start {start} is after end {end}")));
    }
    budget.take(end - start)?;
    Ok(Val::list(list.iter().skip(start).take(end - start).collect()))
}

pub(crate) fn flatten<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let list = list("flatten", arguments)?;
    let depth =
        arguments.get(1).map_or(Some(1), Val::as_integer).and_then(|depth| usize::try_from(depth).ok());
    let depth = depth.ok_or_else(|| invalid("flatten", "the depth must be a number from 0"))?;
    let mut flat = Vec::new();
    flatten_into(list, depth, &mut flat, budget)?;
    Ok(Val::list(flat))
}

/// Recursion is as deep as the value, which inputs and nesting limits bound.
fn flatten_into<'a>(
    list: &List<'a>,
    depth: usize,
    flat: &mut Vec<Val<'a>>,
    budget: &mut Budget,
) -> Result<(), Error> {
    for item in list.iter() {
        budget.take(1)?;
        match item {
            Val::List(inner) if depth > 0 => flatten_into(&inner, depth - 1, flat, budget)?,
            item => flat.push(item),
        }
    }
    Ok(())
}

pub(crate) fn distinct<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let mut kept: Vec<Val<'a>> = Vec::new();
    for item in list("distinct", arguments)?.iter() {
        let mut known = false;
        for other in &kept {
            known = operators::equal(other, &item, budget)?;
            if known {
                break;
            }
        }
        if !known {
            kept.push(item);
        }
    }
    Ok(Val::list(kept))
}

pub(crate) fn sort<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let list = list("sort", arguments)?;
    budget.take(list.len())?;
    let keyed = list.iter().map(|item| (item.clone(), item)).collect();
    operators::sort(keyed, budget).map(Val::list)
}

pub(crate) fn is_sorted<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let list = list("isSorted", arguments)?;
    for (left, right) in list.iter().zip(list.iter().skip(1)) {
        match operators::compare(&left, &right, budget)? {
            Some(Ordering::Greater) => return Ok(Val::Bool(false)),
            Some(_) => {}
            None => return Err(mismatch("isSorted", &[left, right])),
        }
    }
    Ok(Val::Bool(true))
}

pub(crate) fn sum<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let mut items = list("sum", arguments)?.iter();
    let Some(mut sum) = items.next() else { return Ok(Val::Int(0)) };
    for item in items {
        budget.take(1)?;
        sum = operators::binary(Binary::Add, &sum, &item, budget)?;
    }
    match sum {
        Val::Int(_) | Val::Double(_) | Val::Foreign(_) => Ok(sum),
        other => Err(mismatch("sum", &[other])),
    }
}

pub(crate) fn min<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    extreme("min", list("min", arguments)?.iter(), Ordering::Less, budget)
}

pub(crate) fn max<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    extreme("max", list("max", arguments)?.iter(), Ordering::Greater, budget)
}

/// The item that compares as `wanted` with all others; the first of equal ones.
pub(super) fn extreme<'a>(
    function: &str,
    mut items: impl Iterator<Item = Val<'a>>,
    wanted: Ordering,
    budget: &mut Budget,
) -> Result<Val<'a>, Error> {
    let Some(mut best) = items.next() else {
        return Err(invalid(function, "there is none of an empty list"));
    };
    for item in items {
        match operators::compare(&item, &best, budget)? {
            Some(order) if order == wanted => best = item,
            Some(_) => {}
            None => return Err(mismatch(function, &[best, item])),
        }
    }
    Ok(best)
}

pub(crate) fn first<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    let list = list("first", arguments)?;
    Ok(list.at(0).map_or(Val::Optional(None), Val::some))
}

pub(crate) fn last<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    let list = list("last", arguments)?;
    let found = list.len().checked_sub(1).and_then(|index| list.at(index));
    Ok(found.map_or(Val::Optional(None), Val::some))
}

pub(crate) fn range<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let end = arguments[0].as_integer().ok_or_else(|| mismatch("lists.range", arguments))?;
    if end > MAX_RANGE {
        return Err(invalid("lists.range", format!("gives at most {MAX_RANGE} numbers, not {end}")));
    }
    budget.take(usize::try_from(end).unwrap_or(0))?;
    Ok(Val::list((0..end).map(Val::Int).collect()))
}
