//! `math.greatest` and `math.least`; the rest of `math` is the `cel` crate's.

use std::cmp::Ordering;

use super::{lists, strings};
use crate::budget::Budget;
use crate::error::Error;
use crate::value::Val;

pub(crate) fn greatest<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    extreme("math.greatest", arguments, Ordering::Greater, budget)
}

pub(crate) fn least<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    extreme("math.least", arguments, Ordering::Less, budget)
}

/// Over the arguments, or over the one list that is the argument.
fn extreme<'a>(
    function: &str,
    arguments: &[Val<'a>],
    wanted: Ordering,
    budget: &mut Budget,
) -> Result<Val<'a>, Error> {
    match (strings::as_list(arguments), arguments.len()) {
        (Some(list), 1) => lists::extreme(function, list.iter(), wanted, budget),
        _ => lists::extreme(function, arguments.iter().cloned(), wanted, budget),
    }
}
