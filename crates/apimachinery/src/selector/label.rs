//! Label selectors, as text (`a=b,c in (x,y),!d`) and as object (`matchLabels`, `matchExpressions`).

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::{MAX_BYTES, MAX_REQUIREMENTS, SelectorError};
use crate::names;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of the listed; `=` and `==` too.
    In,
    /// The label is absent or its value none of the listed; `!=` too.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The value is an integer above the listed one.
    GreaterThan,
    /// The value is an integer below the listed one.
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The comparison.
    pub operator: Operator,
    /// What it is compared with; empty for the existence operators.
    pub values: Vec<String>,
}

/// All requirements must hold; without requirements everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads the text form.
    ///
    /// # Errors
    /// The text is not a selector, or a key or value is not a valid label.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_BYTES {
            return Err(SelectorError::TooLarge);
        }
        let mut parser = Parser { text, at: 0 };
        let mut requirements = Vec::new();
        parser.skip_spaces();
        while !parser.at_end() {
            requirements.push(parser.requirement()?);
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(SelectorError::TooLarge);
            }
            parser.skip_spaces();
            if parser.at_end() {
                break;
            }
            parser.expect(',')?;
            parser.skip_spaces();
            if parser.at_end() {
                return Err(Parser::error("found '', expected: identifier after ','"));
            }
        }
        Ok(Self { requirements })
    }

    /// Reads the object form of `spec.selector`; `null` selects nothing and is refused here.
    ///
    /// # Errors
    /// Not an object, an unknown operator, or a key or value that is not a valid label.
    pub fn from_object(selector: &Value) -> Result<Self, SelectorError> {
        let malformed = |text: &str| SelectorError::Object(text.to_owned());
        let selector = selector.as_object().ok_or_else(|| malformed("a label selector must be an object"))?;
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").filter(|labels| !labels.is_null()) {
            let labels = labels.as_object().ok_or_else(|| malformed("matchLabels must be an object"))?;
            for (key, value) in labels {
                let value = value.as_str().ok_or_else(|| malformed("a label value must be a string"))?;
                requirements.push(Requirement::checked(key, Operator::In, vec![value.to_owned()])?);
            }
        }
        if let Some(expressions) = selector.get("matchExpressions").filter(|list| !list.is_null()) {
            let expressions =
                expressions.as_array().ok_or_else(|| malformed("matchExpressions must be a list"))?;
            for expression in expressions {
                requirements.push(Requirement::from_object(expression)?);
            }
        }
        if requirements.len() > MAX_REQUIREMENTS {
            return Err(SelectorError::TooLarge);
        }
        Ok(Self { requirements })
    }

    /// The requirements in the order given.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether a map of labels matches; `None` is an object without labels.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(labels.and_then(|map| map.get(&requirement.key)?.as_str())))
    }

    /// Whether an object's `metadata.labels` match.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(object.get("metadata").and_then(|meta| meta.get("labels")).and_then(Value::as_object))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.requirements.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl Requirement {
    fn checked(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        if let Some(wrong) = names::qualified_name(key).first() {
            return Err(SelectorError::Label(format!(
                "key: Invalid value: {}: {wrong}",
                crate::field::quote(key)
            )));
        }
        for (index, value) in values.iter().enumerate() {
            if let Some(wrong) = names::label_value(value).first() {
                let value = crate::field::quote(value);
                return Err(SelectorError::Label(format!(
                    "values[{index}][{key}]: Invalid value: {value}: {wrong}"
                )));
            }
        }
        let counted = match operator {
            Operator::In | Operator::NotIn => !values.is_empty(),
            Operator::Exists | Operator::DoesNotExist => values.is_empty(),
            Operator::GreaterThan | Operator::LessThan => {
                values.len() == 1 && values.iter().all(|value| value.parse::<i64>().is_ok())
            }
        };
        if !counted {
            return Err(SelectorError::Label(format!("values: the values of {key} do not fit its operator")));
        }
        Ok(Self { key: key.to_owned(), operator, values })
    }

    fn from_object(expression: &Value) -> Result<Self, SelectorError> {
        let text = |name| expression.get(name).and_then(Value::as_str).unwrap_or_default();
        let operator = match text("operator") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => {
                let text = format!("{} is not a valid label selector operator", crate::field::quote(other));
                return Err(SelectorError::Object(text));
            }
        };
        let values = match expression.get("values") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| SelectorError::Object("a label value must be a string".to_owned()))?,
            Some(_) => return Err(SelectorError::Object("values must be a list".to_owned())),
        };
        Self::checked(text("key"), operator, values)
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|listed| listed == value);
        let compared = |value: Option<&str>| -> Option<std::cmp::Ordering> {
            let bound = self.values.first()?.parse::<i64>().ok()?;
            Some(value?.parse::<i64>().ok()?.cmp(&bound))
        };
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => compared(value) == Some(std::cmp::Ordering::Greater),
            Operator::LessThan => compared(value) == Some(std::cmp::Ordering::Less),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list = self.values.join(",");
        match (self.operator, self.values.len()) {
            (Operator::In, 1) => write!(f, "{key}={list}"),
            (Operator::In, _) => write!(f, "{key} in ({list})"),
            (Operator::NotIn, 1) => write!(f, "{key}!={list}"),
            (Operator::NotIn, _) => write!(f, "{key} notin ({list})"),
            (Operator::Exists, _) => f.write_str(key),
            (Operator::DoesNotExist, _) => write!(f, "!{key}"),
            (Operator::GreaterThan, _) => write!(f, "{key}>{list}"),
            (Operator::LessThan, _) => write!(f, "{key}<{list}"),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: char) -> Result<(), SelectorError> {
        self.skip_spaces();
        if self.rest().starts_with(token) {
            self.at += token.len_utf8();
            return Ok(());
        }
        let found = self.word();
        let found = if found.is_empty() { self.rest() } else { found };
        Err(Self::error(format!("found '{found}', expected: '{token}'")))
    }

    fn error<'m>(message: impl Into<Cow<'m, str>>) -> SelectorError {
        SelectorError::Label(message.into().into_owned())
    }

    /// Everything up to a space or a special character.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let special = [' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<'];
        let word = &rest[..rest.find(special).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.eat("!") {
            self.skip_spaces();
            let key = self.word();
            return Requirement::checked(key, Operator::DoesNotExist, Vec::new());
        }
        let key = self.word();
        if key.is_empty() {
            return Err(Self::error(format!(
                "found '{}', expected: !, identifier, or 'end of string'",
                self.rest()
            )));
        }
        self.skip_spaces();
        if self.at_end() || self.rest().starts_with(',') {
            return Requirement::checked(key, Operator::Exists, Vec::new());
        }
        for (token, operator) in [
            ("==", Operator::In),
            ("=", Operator::In),
            ("!=", Operator::NotIn),
            (">", Operator::GreaterThan),
            ("<", Operator::LessThan),
        ] {
            if self.eat(token) {
                self.skip_spaces();
                let value = self.word().to_owned();
                return Requirement::checked(key, operator, vec![value]);
            }
        }
        let operator = match self.word() {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            other => {
                let expected = "in, notin, =, ==, !=, gt, lt";
                return Err(Self::error(format!("found '{other}', expected: {expected}")));
            }
        };
        let values = self.values()?;
        Requirement::checked(key, operator, values)
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        self.expect('(')?;
        let mut values = Vec::new();
        loop {
            self.skip_spaces();
            values.push(self.word().to_owned());
            self.skip_spaces();
            if self.eat(")") {
                return Ok(values);
            }
            self.expect(',')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn selectors_match_labels() {
        let object =
            json!({"metadata": {"labels": {"app": "web", "tier": "front", "rank": "7", "empty": ""}}});
        let check = |text: &str, expected: bool| {
            let selector = LabelSelector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.matches_object(&object), expected, "{text}");
        };
        check("", true);
        check("app=web", true);
        check("app==web", true);
        check(" app = web , tier in ( front , back ) ", true);
        check("app!=web", false);
        check("missing!=web", true);
        check("app in (api,web)", true);
        check("app notin (api)", true);
        check("missing notin (api)", true);
        check("missing in (api)", false);
        check("app", true);
        check("!app", false);
        check("! missing", true);
        check("empty=", true);
        check("empty,app=", false);
        check("rank>6,rank<8", true);
        check("app>6", false);
        check("missing", false);
        check("in in (in)", false);
        check("x in (,a)", false);
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for text in
            ["a=b,", ",a", "a in", "a in (", "a in (b", "a b", "a=b=c", "-a=b", "a=-b", "a/b/c=d", "a>x", "!"]
        {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
        assert_eq!(LabelSelector::parse(&"a,".repeat(40_000)), Err(SelectorError::TooLarge));
    }

    #[test]
    fn the_object_form_means_the_same() {
        let object = json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["x", "y"]},
                {"key": "d", "operator": "DoesNotExist"},
            ],
        });
        assert_eq!(LabelSelector::from_object(&object), LabelSelector::parse("a=b,c in (x,y),!d"));
        assert!(
            LabelSelector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "Gt"}]}))
                .is_err()
        );
        assert!(
            LabelSelector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]}))
                .is_err()
        );
        assert!(LabelSelector::from_object(&Value::Null).is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            keys in proptest::collection::vec("[a-z]{1,3}(/[a-z]{1,3})?", 1..5),
            values in proptest::collection::vec("[a-z0-9]{0,3}", 1..4),
            which in 0..4_usize,
        ) {
            let operator = [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist][which];
            let values = if which < 2 { values } else { Vec::new() };
            let requirements =
                keys.iter().map(|key| Requirement::checked(key, operator, values.clone()).unwrap()).collect();
            let selector = LabelSelector { requirements };
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
        }

        #[test]
        fn no_text_panics(text in "[ a=!(),<>in/\\-é]{0,24}") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
