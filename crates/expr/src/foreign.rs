//! The door to the `cel` crate's own values and functions.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr, IdedExpr};
use cel::{Context, Env, ExecutionError, Value};

use crate::budget::Budget;
use crate::error::Error;
use crate::node::ForeignCall;
use crate::value::{Key, Val};

/// A value of a type that only the `cel` crate works on.
#[derive(Debug, Clone)]
pub(crate) struct Foreign(Value);

static LIBRARY: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let added = env
        .add_extension(cel::extensions::strings)
        .and_then(|()| env.add_extension(cel::extensions::math))
        .and_then(|()| env.add_extension(cel::extensions::encoders));
    debug_assert!(added.is_ok(), "the extensions do not overlap: {added:?}");
    Arc::new(env)
});

/// Global functions left to the crate.
const GLOBALS: &[&str] = &[
    "timestamp",
    "duration",
    "uint",
    "bytes",
    "base64.encode",
    "base64.decode",
    "strings.quote",
    "math.abs",
    "math.ceil",
    "math.floor",
    "math.round",
    "math.trunc",
    "math.sign",
    "math.sqrt",
    "math.isNaN",
    "math.isInf",
    "math.isFinite",
    "math.bitAnd",
    "math.bitOr",
    "math.bitXor",
    "math.bitNot",
    "math.bitShiftLeft",
    "math.bitShiftRight",
];

/// Member functions left to the crate.
const MEMBERS: &[&str] = &[
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "format",
];

/// The call of a global function of the crate, if it has one of that name.
pub(crate) fn global(name: &str, arguments: usize) -> Option<ForeignCall> {
    GLOBALS.contains(&name).then(|| call(name, None, arguments))
}

/// The call of a member function of the crate, if it has one of that name. `arguments` counts the target.
pub(crate) fn member(name: &str, arguments: usize) -> Option<ForeignCall> {
    MEMBERS.contains(&name).then(|| call(name, Some(variable(0)), arguments))
}

/// A call of an operator or function by the name the crate has for it.
pub(crate) fn call(name: &str, target: Option<IdedExpr>, arguments: usize) -> ForeignCall {
    let first = usize::from(target.is_some());
    let call = CallExpr {
        func_name: name.to_owned(),
        target: target.map(Box::new),
        args: (first..arguments).map(variable).collect(),
    };
    ForeignCall { name: name.to_owned(), expression: IdedExpr { id: 0, expr: Expr::Call(call) } }
}

fn variable(index: usize) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Ident(format!("a{index}")) }
}

/// Lets the crate evaluate one call.
pub(crate) fn evaluate<'a>(
    call: &ForeignCall,
    arguments: &[Val<'a>],
    budget: &mut Budget,
) -> Result<Val<'a>, Error> {
    if call.name == "format" {
        check_format(arguments)?;
    }
    let mut context = Context::with_env(Arc::clone(&LIBRARY));
    for (index, argument) in arguments.iter().enumerate() {
        let value = to_value(argument, budget)?;
        context.add_variable_from_value(format!("a{index}"), value);
    }
    let types = || arguments.iter().map(Val::type_name).collect();
    let value = Value::resolve(&call.expression, &context).map_err(|error| match error {
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::ValuesNotComparable(..) => {
            Error::NoSuchOverload { operation: call.name.clone(), types: types() }
        }
        ExecutionError::FunctionError { function, message } => Error::InvalidArgument { function, message },
        ExecutionError::Overflow(..) => {
            Error::Arithmetic { operation: call.name.clone(), problem: "overflow" }
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            Error::Arithmetic { operation: call.name.clone(), problem: "division by zero" }
        }
        other => Error::InvalidArgument { function: call.name.clone(), message: other.to_string() },
    })?;
    from_value(value, &call.name)
}

/// Refuses precisions that would print more than anybody reads: `%.1000000000f` is a memory bomb.
fn check_format(arguments: &[Val<'_>]) -> Result<(), Error> {
    const MOST_DIGITS: usize = 2;
    let format = arguments.first().and_then(Val::as_text).unwrap_or_default();
    let too_precise = format
        .split("%.")
        .skip(1)
        .any(|rest| rest.bytes().take_while(u8::is_ascii_digit).count() > MOST_DIGITS);
    if too_precise {
        let message = "a precision may have at most two digits".to_owned();
        return Err(Error::InvalidArgument { function: "format".to_owned(), message });
    }
    Ok(())
}

/// The crate's form of a value. Charges for every part of it, as this copies.
fn to_value(val: &Val<'_>, budget: &mut Budget) -> Result<Value, Error> {
    budget.take(1)?;
    Ok(match val {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Int(value) => Value::Int(*value),
        Val::Double(value) => Value::Float(*value),
        Val::Text(text) => {
            budget.take_bytes(text.len())?;
            Value::String(Arc::new(text.to_string()))
        }
        Val::List(list) => {
            let items: Result<Vec<_>, _> = list.iter().map(|item| to_value(&item, budget)).collect();
            Value::List(Arc::new(items?))
        }
        Val::Map(map) => {
            let mut entries = std::collections::HashMap::new();
            for (key, value) in map.entries() {
                let key = match key {
                    Key::Bool(key) => cel::objects::Key::Bool(key),
                    Key::Int(key) => cel::objects::Key::Int(key),
                    Key::Text(key) => cel::objects::Key::from(&*key),
                };
                entries.insert(key, to_value(&value, budget)?);
            }
            Value::Map(entries.into())
        }
        Val::Foreign(value) => value.0.clone(),
        Val::Optional(_) | Val::Type(_) | Val::Absent => {
            return Err(Error::NoSuchOverload { operation: "call".to_owned(), types: vec![val.type_name()] });
        }
    })
}

fn from_value<'a>(value: Value, function: &str) -> Result<Val<'a>, Error> {
    Ok(match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(value),
        Value::Int(value) => Val::Int(value),
        Value::Float(value) => Val::Double(value),
        Value::String(text) => Val::text(text.as_str()),
        Value::List(items) => {
            let items: Result<Vec<_>, _> =
                items.iter().map(|item| from_value(item.clone(), function)).collect();
            Val::list(items?)
        }
        Value::UInt(_) | Value::Bytes(_) | Value::Duration(_) | Value::Timestamp(_) => {
            Val::Foreign(Foreign(value))
        }
        // No function that is left to the crate gives anything else.
        Value::Map(_) | Value::Function(..) | Value::Opaque(_) | Value::Struct(_) => {
            let message = format!("gave an unsupported {}", value.type_of());
            return Err(Error::InvalidArgument { function: function.to_owned(), message });
        }
    })
}

/// Equality where one side is the crate's.
pub(crate) fn equal(left: &Val<'_>, right: &Val<'_>, budget: &mut Budget) -> Result<bool, Error> {
    if is_container(left) || is_container(right) {
        return Ok(false);
    }
    Ok(to_value(left, budget)? == to_value(right, budget)?)
}

/// Order where one side is the crate's; `None` where there is none.
pub(crate) fn compare(
    left: &Val<'_>,
    right: &Val<'_>,
    budget: &mut Budget,
) -> Result<Option<Ordering>, Error> {
    if is_container(left) || is_container(right) {
        return Ok(None);
    }
    Ok(to_value(left, budget)?.partial_cmp(&to_value(right, budget)?))
}

fn is_container(val: &Val<'_>) -> bool {
    matches!(val, Val::List(_) | Val::Map(_) | Val::Optional(_) | Val::Type(_) | Val::Absent)
}

/// A literal that only the crate has a type for.
pub(crate) fn uint(value: u64) -> Val<'static> {
    Val::Foreign(Foreign(Value::UInt(value)))
}

/// A bytes literal.
pub(crate) fn bytes(value: &[u8]) -> Val<'static> {
    Val::Foreign(Foreign(Value::Bytes(Arc::new(value.to_vec()))))
}

impl Foreign {
    pub(crate) fn type_name(&self) -> &'static str {
        match &self.0 {
            Value::UInt(_) => "uint",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            _ => "unknown",
        }
    }

    pub(crate) fn as_uint(&self) -> Option<u64> {
        match &self.0 {
            Value::UInt(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Whole seconds and nanoseconds of a duration, both with its sign.
    pub(crate) fn as_duration(&self) -> Option<(i64, i32)> {
        match &self.0 {
            Value::Duration(value) => Some((value.num_seconds(), value.subsec_nanos())),
            _ => None,
        }
    }

    /// Seconds since 1970 and nanoseconds of a timestamp.
    pub(crate) fn as_timestamp(&self) -> Option<(i64, u32)> {
        match &self.0 {
            Value::Timestamp(value) => Some((value.timestamp(), value.timestamp_subsec_nanos())),
            _ => None,
        }
    }
}
