//! Fields as OpenAPI v3.

use serde_json::{Map, Value as Json, json};

use super::{Field, Kind};

pub(super) fn schema(field: &Field) -> Json {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), Json::from(field.kind.name()));
    match &field.kind {
        Kind::String | Kind::Integer | Kind::Number | Kind::Boolean => {}
        Kind::List(element) => {
            schema.insert("items".to_owned(), self::schema(element));
        }
        Kind::Map(value) => {
            schema.insert("additionalProperties".to_owned(), self::schema(value));
        }
        Kind::Object(fields) => {
            let properties: Map<_, _> =
                fields.iter().map(|(name, field)| (name.clone(), self::schema(field))).collect();
            schema.insert("properties".to_owned(), Json::Object(properties));
            let required: Vec<_> =
                fields.iter().filter(|(_, field)| field.default.is_none()).map(|(name, _)| name).collect();
            if !required.is_empty() {
                schema.insert("required".to_owned(), json!(required));
            }
        }
    }
    let rules = &field.rules;
    let one_of = (!rules.one_of.is_empty()).then(|| json!(rules.one_of));
    let flag = |flag: bool| flag.then_some(Json::Bool(true));
    let optional = [
        ("default", field.default.clone()),
        ("enum", one_of),
        ("minimum", rules.minimum.map(number)),
        ("maximum", rules.maximum.map(number)),
        ("exclusiveMinimum", flag(rules.exclusive_minimum)),
        ("exclusiveMaximum", flag(rules.exclusive_maximum)),
        ("multipleOf", rules.multiple_of.map(number)),
        ("minLength", rules.min_length.map(Json::from)),
        ("maxLength", rules.max_length.map(Json::from)),
        ("minItems", rules.min_items.map(Json::from)),
        ("maxItems", rules.max_items.map(Json::from)),
        ("minProperties", rules.min_properties.map(Json::from)),
        ("maxProperties", rules.max_properties.map(Json::from)),
        ("pattern", rules.pattern.as_ref().map(|pattern| Json::from(pattern.as_str()))),
        ("title", rules.title.clone().map(Json::from)),
        ("description", rules.description.clone().map(Json::from)),
        ("format", rules.format.clone().map(Json::from)),
        ("example", rules.example.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            schema.insert(name.to_owned(), value);
        }
    }
    Json::Object(schema)
}

/// A bound, without a fraction where it has none.
fn number(value: f64) -> Json {
    #[expect(clippy::cast_possible_truncation, reason = "compared with the original right after")]
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "a whole number that came from a double is one again")]
    if (whole as f64 - value).abs() < f64::EPSILON { Json::from(whole) } else { Json::from(value) }
}
