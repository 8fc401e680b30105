//! Functions on strings. Positions count characters, not bytes.

use regex::{Regex, RegexBuilder};

use super::{Native, invalid, mismatch};
use crate::budget::Budget;
use crate::error::Error;
use crate::node::Node;
use crate::value::{List, Text, Val};

/// Compiled size of a regular expression, in bytes.
const MAX_REGEX_SIZE: usize = 1 << 20;
/// What compiling a regular expression during evaluation costs, beside its length.
const REGEX_COST: usize = 2_000;

/// Compiles the pattern of `matches` once if it is a literal.
pub(crate) fn precompiled(native: &'static Native, mut arguments: Vec<Node>) -> Result<Node, Error> {
    if native.name == "matches"
        && let [_, Node::Constant(Val::Text(pattern))] = arguments.as_slice()
    {
        let regex = regex("matches", pattern)?;
        return Ok(Node::Matches(Box::new((arguments.swap_remove(0), regex))));
    }
    Ok(Node::Native(native, arguments))
}

fn regex(function: &str, pattern: &str) -> Result<Regex, Error> {
    let built = RegexBuilder::new(pattern).size_limit(MAX_REGEX_SIZE).build();
    built.map_err(|error| {
        invalid(function, format!("{pattern:?} is not a usable regular expression: {error}"))
    })
}

/// The texts that all arguments must be.
fn texts<'v, const N: usize>(function: &str, arguments: &'v [Val<'_>]) -> Result<[&'v str; N], Error> {
    let mut texts = [""; N];
    if arguments.len() < N {
        return Err(mismatch(function, arguments));
    }
    for (text, argument) in texts.iter_mut().zip(arguments) {
        *text = argument.as_text().ok_or_else(|| mismatch(function, arguments))?;
    }
    Ok(texts)
}

fn integer(function: &str, arguments: &[Val<'_>], index: usize) -> Result<Option<i64>, Error> {
    match arguments.get(index) {
        None => Ok(None),
        Some(argument) => match argument.as_integer() {
            Some(value) => Ok(Some(value)),
            None => Err(mismatch(function, arguments)),
        },
    }
}

pub(crate) fn starts_with<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    let [text, prefix] = texts("startsWith", arguments)?;
    Ok(Val::Bool(text.starts_with(prefix)))
}

pub(crate) fn ends_with<'a>(arguments: &[Val<'a>], _: &mut Budget) -> Result<Val<'a>, Error> {
    let [text, suffix] = texts("endsWith", arguments)?;
    Ok(Val::Bool(text.ends_with(suffix)))
}

pub(crate) fn contains<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text, part] = texts("contains", arguments)?;
    budget.take_bytes(text.len())?;
    Ok(Val::Bool(text.contains(part)))
}

pub(crate) fn matches<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text, pattern] = texts("matches", arguments)?;
    let regex = dynamic_regex("matches", text, pattern, budget)?;
    Ok(Val::Bool(regex.is_match(text)))
}

fn dynamic_regex(function: &str, text: &str, pattern: &str, budget: &mut Budget) -> Result<Regex, Error> {
    budget.take(REGEX_COST + pattern.len())?;
    budget.take_bytes(text.len())?;
    regex(function, pattern)
}

pub(crate) fn find<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text, pattern] = texts("find", arguments)?;
    let regex = dynamic_regex("find", text, pattern, budget)?;
    Ok(Val::text(regex.find(text).map_or("", |found| found.as_str())))
}

pub(crate) fn find_all<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text, pattern] = texts("findAll", arguments)?;
    let most = integer("findAll", arguments, 2)?.and_then(|most| usize::try_from(most).ok());
    let regex = dynamic_regex("findAll", text, pattern, budget)?;
    let mut found = Vec::new();
    for part in regex.find_iter(text).take(most.unwrap_or(usize::MAX)) {
        budget.take(2)?;
        found.push(Val::text(part.as_str()));
    }
    Ok(Val::list(found))
}

pub(crate) fn char_at<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text] = texts("charAt", arguments)?;
    budget.take_bytes(text.len())?;
    let position = integer("charAt", arguments, 1)?.unwrap_or(0);
    let length = text.chars().count();
    match usize::try_from(position) {
        Ok(position) if position == length => Ok(Val::text("")),
        Ok(position) if position < length => {
            Ok(Val::text(text.chars().nth(position).map(String::from).unwrap_or_default()))
        }
        _ => Err(Error::IndexOutOfRange { index: position.to_string(), length }),
    }
}

pub(crate) fn lower_ascii<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text] = texts("lowerAscii", arguments)?;
    budget.take_bytes(text.len())?;
    Ok(Val::text(text.to_ascii_lowercase()))
}

pub(crate) fn upper_ascii<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text] = texts("upperAscii", arguments)?;
    budget.take_bytes(text.len())?;
    Ok(Val::text(text.to_ascii_uppercase()))
}

pub(crate) fn trim<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    match &arguments[0] {
        Val::Text(Text::Borrowed(text)) => Ok(Val::Text(Text::Borrowed(text.trim()))),
        Val::Text(Text::Shared(text)) => {
            budget.take_bytes(text.len())?;
            Ok(Val::text(text.trim()))
        }
        _ => Err(mismatch("trim", arguments)),
    }
}

/// `text.replace(old, new[, most])`. A negative count means all.
pub(crate) fn replace<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text, old, new] = texts("replace", arguments)?;
    let most = integer("replace", arguments, 3)?.and_then(|most| usize::try_from(most).ok());
    budget.take_bytes(text.len())?;
    let n_replaced = text.matches(old).count().min(most.unwrap_or(usize::MAX));
    // Before the work: each replacement can grow the text by all of `new`.
    budget.take_bytes(n_replaced.saturating_mul(new.len()))?;
    Ok(Val::text(text.replacen(old, new, n_replaced)))
}

/// `text.split(separator[, most])`: 0 gives no parts, a negative count all of them.
pub(crate) fn split<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text, separator] = texts("split", arguments)?;
    let most = match integer("split", arguments, 2)? {
        Some(0) => return Ok(Val::list(Vec::new())),
        most => most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX),
    };
    budget.take_bytes(text.len())?;
    let mut parts = Vec::new();
    if separator.is_empty() {
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            budget.take(2)?;
            if parts.len() + 1 == most {
                break;
            }
            parts.push(Val::text(character.to_string()));
            rest = &rest[character.len_utf8()..];
        }
        if !rest.is_empty() {
            parts.push(Val::text(rest));
        }
    } else {
        for part in text.splitn(most, separator) {
            budget.take(2)?;
            parts.push(Val::text(part));
        }
    }
    Ok(Val::list(parts))
}

pub(crate) fn join<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let Val::List(list) = &arguments[0] else { return Err(mismatch("join", arguments)) };
    let separator = match arguments.get(1) {
        None => "",
        Some(separator) => separator.as_text().ok_or_else(|| mismatch("join", arguments))?,
    };
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let part = item.as_text().ok_or_else(|| mismatch("join", std::slice::from_ref(&item)))?;
        budget.take_bytes(part.len() + separator.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(part);
    }
    Ok(Val::text(joined))
}

/// `text.substring(start[, end])`.
pub(crate) fn substring<'a>(arguments: &[Val<'a>], budget: &mut Budget) -> Result<Val<'a>, Error> {
    let [text] = texts("substring", arguments)?;
    budget.take_bytes(text.len())?;
    let length = text.chars().count();
    let position = |index: usize, default: usize| match integer("substring", arguments, index)? {
        None => Ok(default),
        Some(value) => match usize::try_from(value) {
            Ok(position) if position <= length => Ok(position),
            _ => Err(Error::IndexOutOfRange { index: value.to_string(), length }),
        },
    };
    let (start, end) = (position(1, 0)?, position(2, length)?);
    if start > end {
        return Err(invalid("substring", format!("start {start} is after end {end}")));
    }
    Ok(Val::text(text.chars().skip(start).take(end - start).collect::<String>()))
}

pub(super) fn reverse<'a>(text: &str, budget: &mut Budget) -> Result<Val<'a>, Error> {
    budget.take_bytes(text.len())?;
    Ok(Val::text(text.chars().rev().collect::<String>()))
}

/// The first (or last) position of `part` in `text`, in characters, or -1.
pub(super) fn position<'a>(
    function: &str,
    arguments: &[Val<'a>],
    from_end: bool,
    budget: &mut Budget,
) -> Result<Val<'a>, Error> {
    let [text, part] = texts(function, arguments)?;
    budget.take_bytes(text.len() + part.len())?;
    let length = text.chars().count();
    let offset = match integer(function, arguments, 2)? {
        None => None,
        Some(value) => match usize::try_from(value) {
            Ok(offset) if offset <= length => Some(offset),
            _ => return Err(Error::IndexOutOfRange { index: value.to_string(), length }),
        },
    };
    let byte_at = |position: usize| text.char_indices().nth(position).map_or(text.len(), |(byte, _)| byte);
    let found = match (from_end, offset) {
        (false, offset) => {
            let start = byte_at(offset.unwrap_or(0));
            text[start..].find(part).map(|byte| start + byte)
        }
        // The last match may start at the offset, so it may end as much later as it is long.
        (true, Some(offset)) => {
            let end = byte_at(offset.saturating_add(part.chars().count()));
            text[..end].rfind(part)
        }
        (true, None) => text.rfind(part),
    };
    Ok(found.map_or(Val::Int(-1), |byte| Val::length(text[..byte].chars().count())))
}

/// Number of characters.
pub(super) fn size<'a>(text: &str, budget: &mut Budget) -> Result<Val<'a>, Error> {
    budget.take_bytes(text.len())?;
    Ok(Val::length(text.chars().count()))
}

/// Whether the argument is a list, which shares some function names with strings.
pub(super) fn as_list<'v, 'a>(arguments: &'v [Val<'a>]) -> Option<&'v List<'a>> {
    match arguments.first() {
        Some(Val::List(list)) => Some(list),
        _ => None,
    }
}
