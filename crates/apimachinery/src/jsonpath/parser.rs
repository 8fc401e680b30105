//! Text to steps.

use serde_json::Value;

use super::{Comparison, Operand, Step};

/// Longest path text.
const MAX_BYTES: usize = 4096;

pub(super) fn parse(text: &str) -> Result<Vec<Step>, String> {
    if text.len() > MAX_BYTES {
        return Err("too long".to_owned());
    }
    let inner = text.trim();
    let inner = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(inner);
    if inner.is_empty() {
        return Err("empty".to_owned());
    }
    let mut parser = Parser { rest: inner.strip_prefix('$').unwrap_or(inner) };
    if !parser.rest.starts_with(['.', '[']) && !parser.rest.is_empty() {
        let name = parser.name()?;
        let mut steps = vec![Step::Field(name)];
        steps.extend(parser.steps()?);
        return parser.finish(steps);
    }
    if parser.rest == "." {
        return Ok(Vec::new());
    }
    let steps = parser.steps()?;
    parser.finish(steps)
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn finish(self, steps: Vec<Step>) -> Result<Vec<Step>, String> {
        if self.rest.is_empty() { Ok(steps) } else { Err(format!("unexpected {:?}", self.rest)) }
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        if let Some(rest) = rest {
            self.rest = rest;
        }
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(format!("expected {token:?} before {:?}", self.rest)) }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Steps as long as `.` or `[` follows.
    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            if self.eat(".") {
                steps.push(if self.eat("*") { Step::Every } else { Step::Field(self.name()?) });
            } else if self.eat("[") {
                steps.push(self.bracket()?);
                self.expect("]")?;
            } else {
                return Ok(steps);
            }
        }
    }

    /// A field name up to the next step; `\` takes the following character as it is.
    fn name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        let mut characters = self.rest.chars();
        loop {
            let before = characters.as_str();
            match characters.next() {
                Some('\\') => name.extend(characters.next()),
                Some('.' | '[' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | ' ' | '\'' | '"') | None => {
                    self.rest = before;
                    break;
                }
                Some(character) => name.push(character),
            }
        }
        if name.is_empty() { Err(format!("expected a field name before {:?}", self.rest)) } else { Ok(name) }
    }

    fn bracket(&mut self) -> Result<Step, String> {
        if self.eat("*") {
            return Ok(Step::Every);
        }
        if self.eat("?") {
            return self.filter();
        }
        if let Some(text) = self.quoted()? {
            return Ok(Step::Field(text));
        }
        let from = self.integer()?;
        if !self.eat(":") {
            return from
                .map(Step::Index)
                .ok_or_else(|| format!("expected a position before {:?}", self.rest));
        }
        let to = self.integer()?;
        Ok(Step::Slice { from, to })
    }

    fn filter(&mut self) -> Result<Step, String> {
        self.expect("(")?;
        let left = self.operand()?;
        self.skip_spaces();
        let operators = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let operator = operators.into_iter().find(|(token, _)| self.eat(token));
        let comparison = match operator {
            Some((_, comparison)) => Some((comparison, self.operand()?)),
            None => None,
        };
        self.skip_spaces();
        self.expect(")")?;
        Ok(Step::Filter { left, comparison })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.skip_spaces();
        if self.eat("@") {
            return Ok(Operand::Path(self.path_of_item()?));
        }
        if let Some(text) = self.quoted()? {
            return Ok(Operand::Literal(Value::String(text)));
        }
        let end = self.rest.find([')', ' ', '=', '!', '<', '>']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value: Value = serde_json::from_str(word).map_err(|_| format!("{word:?} is not a value"))?;
        self.rest = rest;
        Ok(Operand::Literal(value))
    }

    /// The path after `@`: fields and positions only, so that filters do not nest.
    fn path_of_item(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            if self.eat(".") {
                steps.push(Step::Field(self.name()?));
            } else if self.rest.starts_with("[?") {
                return Err("filters do not nest".to_owned());
            } else if self.eat("[") {
                steps.push(self.bracket()?);
                self.expect("]")?;
            } else {
                return Ok(steps);
            }
        }
    }

    fn quoted(&mut self) -> Result<Option<String>, String> {
        let Some(quote) = self.rest.chars().next().filter(|first| matches!(first, '\'' | '"')) else {
            return Ok(None);
        };
        let mut text = String::new();
        let mut characters = self.rest[1..].chars();
        loop {
            match characters.next() {
                None => return Err("a quoted text does not end".to_owned()),
                Some('\\') => text.extend(characters.next()),
                Some(character) if character == quote => break,
                Some(character) => text.push(character),
            }
        }
        self.rest = characters.as_str();
        Ok(Some(text))
    }

    fn integer(&mut self) -> Result<Option<i64>, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (digits, rest): (&'t str, &'t str) = self.rest.split_at(end);
        if digits.is_empty() {
            return Ok(None);
        }
        self.rest = rest;
        digits.parse().map(Some).map_err(|_| format!("{digits:?} is not a position"))
    }
}
