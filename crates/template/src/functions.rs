//! The `oc_…` functions of templates.

use std::sync::LazyLock;

use buildplane_expr::{Arity, Environment, Outcome};
use serde_json::{Map, Value as Json};

use crate::names;
use crate::text::{to_text, type_of};

static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    Environment::standard()
        .with_function("oc_omit", Arity::Exactly(0), |_| Ok(Outcome::Absent))
        .with_function("oc_merge", Arity::AtLeast(2), merge)
        .with_function("oc_generate_name", Arity::AtLeast(1), |values| name(names::generate_name, values))
        .with_function("oc_dns_label", Arity::AtLeast(1), |values| name(names::dns_label, values))
        .with_function("oc_hash", Arity::Exactly(1), hash)
});

/// The functions that templates may call.
pub fn environment() -> &'static Environment {
    &ENVIRONMENT
}

/// `oc_merge(m1, m2, …)`: all entries, those of later maps win. Entries that `oc_omit()` left out do not count.
fn merge(values: &[Json]) -> Result<Outcome, String> {
    let mut merged = Map::new();
    for (index, value) in values.iter().enumerate() {
        let Json::Object(map) = value else {
            return Err(format!("argument {} must be a map, not {}", index + 1, type_of(value)));
        };
        merged.extend(map.clone());
    }
    Ok(Outcome::Value(Json::Object(merged)))
}

fn name(make: fn(&[&str]) -> Option<String>, values: &[Json]) -> Result<Outcome, String> {
    let parts: &[Json] = match values {
        [Json::Array(parts)] => parts,
        parts => parts,
    };
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Json::String(_) | Json::Number(_) => texts.push(to_text(part)),
            other => return Err(format!("its parts must be strings, not {}", type_of(other))),
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let name = make(&texts).ok_or_else(|| match texts.len() {
        0 => "needs at least one part".to_owned(),
        n_parts => format!("{n_parts} parts are too many for one name"),
    })?;
    Ok(Outcome::Value(Json::String(name)))
}

fn hash(values: &[Json]) -> Result<Outcome, String> {
    match values {
        [Json::String(text)] => Ok(Outcome::Value(Json::String(names::short_hash(text)))),
        [other] => Err(format!("must be given a string, not {}", type_of(other))),
        _ => Err("takes one string".to_owned()),
    }
}
