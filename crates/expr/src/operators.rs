//! Operators: arithmetic, equality, order, membership and indexing.

use std::cmp::Ordering;

use crate::budget::Budget;
use crate::error::Error;
use crate::eval::no_overload;
use crate::foreign;
use crate::node::Binary;
use crate::value::{Key, Val, integer_of};

/// Applies `operator`.
pub(crate) fn binary<'a>(
    operator: Binary,
    left: &Val<'a>,
    right: &Val<'a>,
    budget: &mut Budget,
) -> Result<Val<'a>, Error> {
    let ordered = |wanted: fn(Ordering) -> bool, budget: &mut Budget| {
        let order = compare(left, right, budget)?;
        // A NaN is neither below nor above anything, which is no error.
        if order.is_none() && !both_numbers(left, right) {
            return Err(no_overload(operator.symbol(), &[left, right]));
        }
        Ok(Val::Bool(order.is_some_and(wanted)))
    };
    match operator {
        Binary::Equal => equal(left, right, budget).map(Val::Bool),
        Binary::NotEqual => equal(left, right, budget).map(|equal| Val::Bool(!equal)),
        Binary::Less => ordered(Ordering::is_lt, budget),
        Binary::LessEqual => ordered(Ordering::is_le, budget),
        Binary::Greater => ordered(Ordering::is_gt, budget),
        Binary::GreaterEqual => ordered(Ordering::is_ge, budget),
        Binary::In => contains(right, left, budget).map(Val::Bool),
        Binary::Add => add(left, right, budget),
        Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Modulo => {
            arithmetic(operator, left, right, budget)
        }
    }
}

fn add<'a>(left: &Val<'a>, right: &Val<'a>, budget: &mut Budget) -> Result<Val<'a>, Error> {
    match (left, right) {
        (Val::Text(left), Val::Text(right)) => {
            budget.take_bytes(left.len() + right.len())?;
            Ok(Val::text(format!("{}{}", &**left, &**right)))
        }
        (Val::List(left), Val::List(right)) => {
            budget.take(left.len() + right.len())?;
            Ok(Val::list(left.iter().chain(right.iter()).collect()))
        }
        _ => arithmetic(Binary::Add, left, right, budget),
    }
}

/// Arithmetic on numbers; an integer beside a double counts as one, because JSON does not tell the two apart.
fn arithmetic<'a>(
    operator: Binary,
    left: &Val<'a>,
    right: &Val<'a>,
    budget: &mut Budget,
) -> Result<Val<'a>, Error> {
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => integers(operator, *left, *right).map(Val::Int),
        (Val::Foreign(_), _) | (_, Val::Foreign(_)) => {
            let call = foreign::call(&format!("_{}_", operator.symbol()), None, 2);
            foreign::evaluate(&call, &[left.clone(), right.clone()], budget)
        }
        _ => match (as_double(left), as_double(right)) {
            (Some(x), Some(y)) if operator != Binary::Modulo => Ok(Val::Double(doubles(operator, x, y))),
            _ => Err(no_overload(operator.symbol(), &[left, right])),
        },
    }
}

fn integers(operator: Binary, left: i64, right: i64) -> Result<i64, Error> {
    let failed = |problem| Error::Arithmetic { operation: operator.symbol().to_owned(), problem };
    if right == 0 && matches!(operator, Binary::Divide | Binary::Modulo) {
        return Err(failed("division by zero"));
    }
    let result = match operator {
        Binary::Subtract => left.checked_sub(right),
        Binary::Multiply => left.checked_mul(right),
        Binary::Divide => left.checked_div(right),
        Binary::Modulo => left.checked_rem(right),
        _ => left.checked_add(right),
    };
    result.ok_or_else(|| failed("overflow"))
}

fn doubles(operator: Binary, left: f64, right: f64) -> f64 {
    match operator {
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide => left / right,
        _ => left + right,
    }
}

/// The number as a double; integers beyond 2^53 lose digits, as they do in any JSON reader.
pub(crate) fn as_double(val: &Val<'_>) -> Option<f64> {
    match val {
        #[expect(clippy::cast_precision_loss, reason = "what converting to a double means")]
        Val::Int(value) => Some(*value as f64),
        Val::Double(value) => Some(*value),
        _ => None,
    }
}

/// `-x`.
pub(crate) fn negate<'a>(operand: &Val<'a>) -> Result<Val<'a>, Error> {
    match operand {
        Val::Int(value) => value
            .checked_neg()
            .map(Val::Int)
            .ok_or_else(|| Error::Arithmetic { operation: "-".to_owned(), problem: "overflow" }),
        Val::Double(value) => Ok(Val::Double(-value)),
        other => Err(no_overload("-", &[other])),
    }
}

/// `==`: values of different types differ, but numbers compare by value.
pub(crate) fn equal(left: &Val<'_>, right: &Val<'_>, budget: &mut Budget) -> Result<bool, Error> {
    budget.take(1)?;
    match (left, right) {
        (Val::Null, Val::Null) | (Val::Optional(None), Val::Optional(None)) | (Val::Absent, Val::Absent) => {
            Ok(true)
        }
        (Val::Bool(left), Val::Bool(right)) => Ok(left == right),
        (Val::Type(left), Val::Type(right)) => Ok(left == right),
        (Val::Text(left), Val::Text(right)) => {
            budget.take_bytes(left.len().min(right.len()))?;
            Ok(**left == **right)
        }
        (Val::List(left), Val::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal(&left, &right, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Val::Map(left), Val::Map(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            budget.take(left.len())?;
            for (key, left) in left.entries() {
                match right.at(&key) {
                    Some(right) if equal(&left, &right, budget)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Val::Optional(Some(left)), Val::Optional(Some(right))) => equal(left, right, budget),
        (Val::Foreign(_), _) | (_, Val::Foreign(_)) => foreign::equal(left, right, budget),
        _ => Ok(numbers(left, right).is_some_and(Ordering::is_eq)),
    }
}

/// The order of two values, `None` where they have none.
pub(crate) fn compare(
    left: &Val<'_>,
    right: &Val<'_>,
    budget: &mut Budget,
) -> Result<Option<Ordering>, Error> {
    budget.take(1)?;
    match (left, right) {
        (Val::Bool(left), Val::Bool(right)) => Ok(Some(left.cmp(right))),
        (Val::Text(left), Val::Text(right)) => {
            budget.take_bytes(left.len().min(right.len()))?;
            Ok(Some((**left).cmp(&**right)))
        }
        (Val::Foreign(_), _) | (_, Val::Foreign(_)) => foreign::compare(left, right, budget),
        _ => Ok(numbers(left, right)),
    }
}

fn both_numbers(left: &Val<'_>, right: &Val<'_>) -> bool {
    as_double(left).is_some() && as_double(right).is_some()
}

fn numbers(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => Some(left.cmp(right)),
        (Val::Int(integer), Val::Double(double)) => mixed(*integer, *double),
        (Val::Double(double), Val::Int(integer)) => mixed(*integer, *double).map(Ordering::reverse),
        (Val::Double(left), Val::Double(right)) => left.partial_cmp(right),
        _ => None,
    }
}

/// Compares exactly: a conversion to double alone would make 2^53 and 2^53+1 equal.
fn mixed(integer: i64, double: f64) -> Option<Ordering> {
    match integer_of(double) {
        Some(other) => Some(integer.cmp(&other)),
        #[expect(
            clippy::cast_precision_loss,
            reason = "far from a whole double, rounding cannot change the order"
        )]
        None => (integer as f64).partial_cmp(&double),
    }
}

/// `element in container`.
pub(crate) fn contains(container: &Val<'_>, element: &Val<'_>, budget: &mut Budget) -> Result<bool, Error> {
    match container {
        Val::List(list) => {
            for item in list.iter() {
                if equal(&item, element, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Val::Map(map) => Ok(Key::of(element).is_some_and(|key| map.at(&key).is_some())),
        other => Err(no_overload("in", &[element, other])),
    }
}

/// `container[key]`.
pub(crate) fn index<'a>(container: &Val<'a>, key: &Val<'_>) -> Result<Val<'a>, Error> {
    let mismatch = || no_overload("[]", &[container, key]);
    match container {
        Val::List(list) => {
            let position = key.as_integer().ok_or_else(mismatch)?;
            let found = usize::try_from(position).ok().and_then(|position| list.at(position));
            found.ok_or_else(|| Error::IndexOutOfRange { index: position.to_string(), length: list.len() })
        }
        Val::Map(map) => {
            let key = Key::of(key).ok_or_else(mismatch)?;
            map.at(&key).ok_or_else(|| Error::NoSuchKey { key: key.to_string() })
        }
        _ => Err(mismatch()),
    }
}

/// Sorts values by their keys. All keys must be comparable.
pub(crate) fn sort<'a>(
    mut keyed: Vec<(Val<'a>, Val<'a>)>,
    budget: &mut Budget,
) -> Result<Vec<Val<'a>>, Error> {
    let mut failure = None;
    keyed.sort_by(|(left, _), (right, _)| {
        if failure.is_some() {
            return Ordering::Equal;
        }
        match compare(left, right, budget) {
            Ok(Some(order)) => order,
            Ok(None) => {
                failure = Some(no_overload("sort", &[left, right]));
                Ordering::Equal
            }
            Err(error) => {
                failure = Some(error);
                Ordering::Equal
            }
        }
    });
    failure.map_or_else(|| Ok(keyed.into_iter().map(|(_, value)| value).collect()), Err)
}
