use serde_json::Value as Json;

/// A value inside a text, or as the value of a workflow argument: strings as they are, numbers as they are written
/// (`1000000`, never `1e+06`; `8080` for `8080.0`), lists and maps as compact JSON.
pub fn to_text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            // Rust prints whole doubles without fraction or exponent.
            Some(double) => format!("{double}"),
            None => number.to_string(),
        },
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}

/// What a value is, in messages.
pub(crate) fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a bool",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_print_as_they_are_written() {
        for (value, expected) in [
            (json!("a<b"), "a<b"),
            (json!(1_000_000), "1000000"),
            (json!(1e6), "1000000"),
            (json!(8080.0), "8080"),
            (json!(2.5), "2.5"),
            (json!(-3), "-3"),
            (json!(true), "true"),
            (json!(null), "null"),
            (json!([1, "<"]), "[1,\"<\"]"),
            (json!({"b": 1, "a": 2}), "{\"a\":2,\"b\":1}"),
        ] {
            assert_eq!(to_text(&value), expected);
        }
    }
}
