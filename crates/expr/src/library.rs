//! The functions evaluated here, by name.

pub(crate) mod conversions;
pub(crate) mod lists;
pub(crate) mod math;
pub(crate) mod optionals;
pub(crate) mod sets;
pub(crate) mod strings;

use crate::budget::Budget;
use crate::error::Error;
use crate::value::Val;

/// How a function is called: `f(x)`, `x.f()`, or either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Global,
    Member,
    Both,
}

/// A function. The target of a member call is its first argument.
#[derive(Debug)]
pub(crate) struct Native {
    pub(crate) name: &'static str,
    style: Style,
    /// Fewest and most arguments, target included.
    arity: (usize, usize),
    pub(crate) call: for<'a> fn(&[Val<'a>], &mut Budget) -> Result<Val<'a>, Error>,
}

const ANY: usize = usize::MAX;

#[rustfmt::skip]
static FUNCTIONS: &[Native] = {
    use Style::{Both, Global, Member};
    &[
        Native { name: "size", style: Both, arity: (1, 1), call: lists::size },
        Native { name: "string", style: Global, arity: (1, 1), call: conversions::string },
        Native { name: "int", style: Global, arity: (1, 1), call: conversions::int },
        Native { name: "double", style: Global, arity: (1, 1), call: conversions::double },
        Native { name: "bool", style: Global, arity: (1, 1), call: conversions::bool },
        Native { name: "dyn", style: Global, arity: (1, 1), call: conversions::dynamic },
        Native { name: "type", style: Global, arity: (1, 1), call: conversions::type_of },
        Native { name: "startsWith", style: Member, arity: (2, 2), call: strings::starts_with },
        Native { name: "endsWith", style: Member, arity: (2, 2), call: strings::ends_with },
        Native { name: "contains", style: Member, arity: (2, 2), call: strings::contains },
        Native { name: "matches", style: Both, arity: (2, 2), call: strings::matches },
        Native { name: "find", style: Member, arity: (2, 2), call: strings::find },
        Native { name: "findAll", style: Member, arity: (2, 3), call: strings::find_all },
        Native { name: "charAt", style: Member, arity: (2, 2), call: strings::char_at },
        Native { name: "lowerAscii", style: Member, arity: (1, 1), call: strings::lower_ascii },
        Native { name: "upperAscii", style: Member, arity: (1, 1), call: strings::upper_ascii },
        Native { name: "trim", style: Member, arity: (1, 1), call: strings::trim },
        Native { name: "replace", style: Member, arity: (3, 4), call: strings::replace },
        Native { name: "split", style: Member, arity: (2, 3), call: strings::split },
        Native { name: "join", style: Member, arity: (1, 2), call: strings::join },
        Native { name: "substring", style: Member, arity: (2, 3), call: strings::substring },
        Native { name: "indexOf", style: Member, arity: (2, 3), call: lists::index_of },
        Native { name: "lastIndexOf", style: Member, arity: (2, 3), call: lists::last_index_of },
        Native { name: "reverse", style: Member, arity: (1, 1), call: lists::reverse },
        Native { name: "slice", style: Member, arity: (3, 3), call: lists::slice },
        Native { name: "flatten", style: Member, arity: (1, 2), call: lists::flatten },
        Native { name: "distinct", style: Member, arity: (1, 1), call: lists::distinct },
        Native { name: "sort", style: Member, arity: (1, 1), call: lists::sort },
        Native { name: "isSorted", style: Member, arity: (1, 1), call: lists::is_sorted },
        Native { name: "sum", style: Member, arity: (1, 1), call: lists::sum },
        Native { name: "min", style: Member, arity: (1, 1), call: lists::min },
        Native { name: "max", style: Member, arity: (1, 1), call: lists::max },
        Native { name: "first", style: Member, arity: (1, 1), call: lists::first },
        Native { name: "last", style: Member, arity: (1, 1), call: lists::last },
        Native { name: "lists.range", style: Global, arity: (1, 1), call: lists::range },
        Native { name: "math.greatest", style: Global, arity: (1, ANY), call: math::greatest },
        Native { name: "math.least", style: Global, arity: (1, ANY), call: math::least },
        Native { name: "sets.contains", style: Global, arity: (2, 2), call: sets::contains },
        Native { name: "sets.equivalent", style: Global, arity: (2, 2), call: sets::equivalent },
        Native { name: "sets.intersects", style: Global, arity: (2, 2), call: sets::intersects },
        Native { name: "optional.of", style: Global, arity: (1, 1), call: optionals::of },
        Native { name: "optional.ofNonZeroValue", style: Global, arity: (1, 1), call: optionals::of_non_zero },
        Native { name: "optional.none", style: Global, arity: (0, 0), call: optionals::none },
        Native { name: "hasValue", style: Member, arity: (1, 1), call: optionals::has_value },
        Native { name: "value", style: Member, arity: (1, 1), call: optionals::value },
        Native { name: "or", style: Member, arity: (2, 2), call: optionals::or },
        Native { name: "orValue", style: Member, arity: (2, 2), call: optionals::or_value },
    ]
};

/// The function `name`. `Ok(None)`: there is none; an error: it does not take `count` arguments.
pub(crate) fn find(name: &str, style: Style, count: usize) -> Result<Option<&'static Native>, Error> {
    let named =
        |native: &&Native| native.name == name && (native.style == style || native.style == Style::Both);
    let Some(native) = FUNCTIONS.iter().find(named) else { return Ok(None) };
    let (fewest, most) = native.arity;
    if (fewest..=most).contains(&count) {
        return Ok(Some(native));
    }
    // Users do not count the target.
    let target = usize::from(style == Style::Member);
    let message = match (fewest - target, most) {
        (fewest, ANY) => format!("takes at least {fewest} arguments"),
        (fewest, most) if fewest == most - target => format!("takes {fewest} arguments"),
        (fewest, most) => format!("takes {fewest} to {} arguments", most - target),
    };
    Err(Error::InvalidCall {
        function: name.to_owned(),
        message: format!("{message}, got {}", count - target),
    })
}

/// The error for arguments of types that `function` does not work on.
fn mismatch(function: &str, arguments: &[Val<'_>]) -> Error {
    let types = arguments.iter().map(Val::type_name).collect();
    Error::NoSuchOverload { operation: function.to_owned(), types }
}

fn invalid(function: &str, message: impl Into<String>) -> Error {
    Error::InvalidArgument { function: function.to_owned(), message: message.into() }
}
