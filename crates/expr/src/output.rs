//! Results, as JSON.

use base64::Engine as _;
use serde_json::Value as Json;

use crate::budget::Budget;
use crate::error::{Error, LimitExceeded};
use crate::limits::Limits;
use crate::value::Val;

/// Converts for a function: bounded by what the evaluation may still cost.
pub(crate) fn to_json(val: &Val<'_>, budget: &mut Budget) -> Result<Json, Error> {
    let limits = Limits::default();
    let mut left = limits.output_bytes;
    let json = convert(val, limits.output_depth, &mut left, &limits)?;
    budget.take_bytes(limits.output_bytes - left)?;
    Ok(json.unwrap_or(Json::Null))
}

/// Converts the result of an evaluation; `None` is the absent value. Gives the output bytes that are left, too.
pub(crate) fn result(val: &Val<'_>, limits: &Limits) -> Result<(Option<Json>, usize), Error> {
    let mut left = limits.output_bytes;
    let json = convert(val, limits.output_depth, &mut left, limits)?;
    Ok((json, left))
}

/// What a value without text of its own counts for.
const NODE_BYTES: usize = 8;

fn convert(val: &Val<'_>, depth: usize, left: &mut usize, limits: &Limits) -> Result<Option<Json>, Error> {
    let too_deep = Error::Limit(LimitExceeded::OutputDepth { limit: limits.output_depth });
    spend(left, NODE_BYTES, limits)?;
    Ok(Some(match val {
        Val::Absent | Val::Optional(None) => return Ok(None),
        Val::Null => Json::Null,
        Val::Bool(value) => Json::Bool(*value),
        Val::Int(value) => Json::from(*value),
        Val::Double(value) => number(*value)?,
        Val::Text(text) => {
            spend(left, text.len(), limits)?;
            Json::String(text.to_string())
        }
        Val::List(list) => {
            let depth = depth.checked_sub(1).ok_or(too_deep)?;
            let mut items = Vec::new();
            for item in list.iter() {
                items.extend(convert(&item, depth, left, limits)?);
            }
            Json::Array(items)
        }
        Val::Map(map) => {
            let depth = depth.checked_sub(1).ok_or(too_deep)?;
            // Before the entries are listed: the map itself is shared, the list of its entries is not.
            spend(left, NODE_BYTES.saturating_mul(map.len()), limits)?;
            let mut entries = serde_json::Map::new();
            for (key, value) in map.entries() {
                let key = key.to_string();
                spend(left, key.len(), limits)?;
                if let Some(value) = convert(&value, depth, left, limits)? {
                    entries.insert(key, value);
                }
            }
            Json::Object(entries)
        }
        Val::Optional(Some(inner)) => {
            let depth = depth.checked_sub(1).ok_or(too_deep)?;
            return convert(inner, depth, left, limits);
        }
        Val::Type(name) => Json::String((*name).to_owned()),
        Val::Foreign(value) => {
            if let Some(bytes) = value.as_bytes() {
                spend(left, bytes.len(), limits)?;
                Json::String(base64::engine::general_purpose::STANDARD.encode(bytes))
            } else if let Some(value) = value.as_uint() {
                Json::from(value)
            } else if let Some((seconds, nanos)) = value.as_duration() {
                Json::String(duration_text(seconds, nanos))
            } else if let Some((seconds, nanos)) = value.as_timestamp() {
                Json::String(timestamp_text(seconds, nanos))
            } else {
                Json::Null
            }
        }
    }))
}

fn spend(left: &mut usize, bytes: usize, limits: &Limits) -> Result<(), Error> {
    let rest = left.checked_sub(bytes);
    *left = rest.ok_or(Error::Limit(LimitExceeded::OutputSize { limit: limits.output_bytes }))?;
    Ok(())
}

fn number(value: f64) -> Result<Json, Error> {
    serde_json::Number::from_f64(value).map(Json::Number).ok_or(Error::UnexpectedResult {
        expected: "a finite number",
        actual: "an infinite one or not a number",
    })
}

/// A double as text: whole numbers without exponent or fraction.
pub(crate) fn double_text(value: f64) -> String {
    // Rust's `Display` never uses an exponent, and prints whole doubles without a fraction.
    format!("{value}")
}

/// A duration as Go and so Kubernetes print it: `1h30m0s`, `1.5s`, `0s`.
pub(crate) fn duration_text(seconds: i64, nanos: i32) -> String {
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    if seconds == 0 && nanos > 0 {
        let (unit, per_unit) = match nanos {
            1_000_000.. => ("ms", 1_000_000),
            1_000.. => ("µs", 1_000),
            _ => ("ns", 1),
        };
        return format!("{sign}{}{unit}", decimal(u64::from(nanos / per_unit), nanos % per_unit, per_unit));
    }
    let last = decimal(seconds % 60, nanos, 1_000_000_000);
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{sign}{last}s"),
        (0, minutes) => format!("{sign}{minutes}m{last}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{last}s"),
    }
}

/// `whole` and `part / per_whole` as a decimal without trailing zeros. `per_whole` is a power of ten.
fn decimal(whole: u64, part: u32, per_whole: u32) -> String {
    if part == 0 {
        return whole.to_string();
    }
    let digits = format!("{:010}", u64::from(part) + u64::from(per_whole));
    let width = per_whole.ilog10() as usize;
    let fraction = &digits[digits.len() - width..];
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// A timestamp in RFC 3339, in UTC, with as many digits of the second as it has.
pub(crate) fn timestamp_text(seconds: i64, nanos: u32) -> String {
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let second = decimal(u64::try_from(second_of_day % 60).unwrap_or(0), nanos, 1_000_000_000);
    let pad = if second_of_day % 60 < 10 { "0" } else { "" };
    let (hour, minute) = (second_of_day / 3600, second_of_day / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{pad}{second}Z")
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
/// The algorithm is Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
