//! `when`: a small language of comparisons.
//!
//! The expression is parsed before variables are put in, so that a value can never change what the expression means.
//! (Argo substitutes first and parses the result.)

use crate::core::substitute::{Budget, ExpandError, Scope};

/// How deep parentheses and negations may nest.
const MAX_DEPTH: usize = 32;
/// How long a condition may be, which also bounds how deep a chain of `||` nests.
const MAX_LENGTH: usize = 4096;

/// A condition cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConditionError {
    /// It is not well formed.
    #[error("condition `{text}` is not valid: {problem} (hint: put texts in quotes)")]
    Malformed {
        /// The condition.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// It has a variable that cannot be resolved.
    #[error("condition cannot be evaluated")]
    Expand(#[source] ExpandError),
    /// It compares things that have no order, or is no comparison.
    #[error("condition `{text}` is not true or false: {problem}")]
    NotBoolean {
        /// The condition.
        text: String,
        /// What is wrong.
        problem: String,
    },
}

/// A parsed condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    text: String,
    root: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    /// Text with variables; a bare one is a number or a boolean when it looks like one.
    Operand {
        text: String,
        quoted: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Text(String),
    Number(f64),
    Boolean(bool),
}

impl Condition {
    /// Parses a condition.
    pub(crate) fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.len() > MAX_LENGTH {
            let text = text.chars().take(40).chain("…".chars()).collect();
            let problem = format!("it is longer than {MAX_LENGTH} bytes");
            return Err(ConditionError::Malformed { text, problem });
        }
        let mut parser = Parser { rest: text.trim_start(), depth: 0 };
        let root = parser.or().and_then(|node| {
            if parser.rest.is_empty() {
                Ok(node)
            } else {
                Err(format!("nothing may follow at `{}`", parser.rest))
            }
        });
        match root {
            Ok(root) => Ok(Self { text: text.to_owned(), root }),
            Err(problem) => Err(ConditionError::Malformed { text: text.to_owned(), problem }),
        }
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<bool, ConditionError> {
        match self.evaluate(&self.root, scope, budget)? {
            Operand::Boolean(value) => Ok(value),
            Operand::Text(_) | Operand::Number(_) => Err(self.not_boolean("it compares nothing")),
        }
    }

    fn not_boolean(&self, problem: &str) -> ConditionError {
        ConditionError::NotBoolean { text: self.text.clone(), problem: problem.to_owned() }
    }

    fn boolean(&self, node: &Node, scope: &Scope<'_>, budget: &mut Budget) -> Result<bool, ConditionError> {
        match self.evaluate(node, scope, budget)? {
            Operand::Boolean(value) => Ok(value),
            Operand::Text(text) => Err(self.not_boolean(&format!("`{text}` is a text"))),
            Operand::Number(number) => Err(self.not_boolean(&format!("{number} is a number"))),
        }
    }

    fn evaluate(
        &self,
        node: &Node,
        scope: &Scope<'_>,
        budget: &mut Budget,
    ) -> Result<Operand, ConditionError> {
        Ok(match node {
            Node::Or(left, right) => {
                Operand::Boolean(self.boolean(left, scope, budget)? || self.boolean(right, scope, budget)?)
            }
            Node::And(left, right) => {
                Operand::Boolean(self.boolean(left, scope, budget)? && self.boolean(right, scope, budget)?)
            }
            Node::Not(inner) => Operand::Boolean(!self.boolean(inner, scope, budget)?),
            Node::Compare(comparison, left, right) => {
                let left = self.evaluate(left, scope, budget)?;
                let right = self.evaluate(right, scope, budget)?;
                Operand::Boolean(self.compare(*comparison, &left, &right)?)
            }
            Node::Operand { text, quoted } => {
                let text = scope.expand(text, budget).map_err(ConditionError::Expand)?;
                if *quoted { Operand::Text(text) } else { bare(text) }
            }
        })
    }

    fn compare(
        &self,
        comparison: Comparison,
        left: &Operand,
        right: &Operand,
    ) -> Result<bool, ConditionError> {
        let order = match (comparison, left, right) {
            (Comparison::Equal, _, _) => return Ok(left == right),
            (Comparison::NotEqual, _, _) => return Ok(left != right),
            (_, Operand::Number(left), Operand::Number(right)) => left.partial_cmp(right),
            (_, Operand::Text(left), Operand::Text(right)) => Some(left.cmp(right)),
            (_, Operand::Boolean(_) | Operand::Text(_) | Operand::Number(_), _) => None,
        };
        let order = order.ok_or_else(|| self.not_boolean("only two numbers or two texts have an order"))?;
        Ok(match comparison {
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Equal | Comparison::NotEqual => false,
        })
    }
}

fn bare(text: String) -> Operand {
    match (text.as_str(), text.parse::<f64>()) {
        ("true", _) => Operand::Boolean(true),
        ("false", _) => Operand::Boolean(false),
        // "nan" and "inf" are names people use.
        (_, Ok(number)) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') => {
            Operand::Number(number)
        }
        _ => Operand::Text(text),
    }
}

struct Parser<'t> {
    rest: &'t str,
    depth: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Node, String> {
        let mut left = self.and()?;
        while self.take("||") {
            left = Node::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Node, String> {
        let mut left = self.comparison()?;
        while self.take("&&") {
            left = Node::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Node, String> {
        let left = self.unary()?;
        for (sign, comparison) in [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self.take(sign) {
                return Ok(Node::Compare(comparison, Box::new(left), Box::new(self.unary()?)));
            }
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it nests deeper than {MAX_DEPTH}"));
        }
        let node = if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err("a `)` is missing".to_owned());
            }
            inner
        } else if !self.rest.starts_with("!=") && self.take("!") {
            Node::Not(Box::new(self.unary()?))
        } else {
            self.operand()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn operand(&mut self) -> Result<Node, String> {
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let inner = &self.rest[1..];
            let end = inner.find(quote).ok_or("a quote is not closed")?;
            let text = inner[..end].to_owned();
            self.advance(end + 2);
            return Ok(Node::Operand { text, quoted: true });
        }
        let end = self.bare_end()?;
        if end == 0 {
            let found = self.rest.chars().next().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"));
            return Err(format!("a value is missing at {found}"));
        }
        let text = self.rest[..end].to_owned();
        self.advance(end);
        Ok(Node::Operand { text, quoted: false })
    }

    /// Where a bare operand ends: at white space or a sign, but never within `{{…}}`.
    fn bare_end(&self) -> Result<usize, String> {
        let mut at = 0;
        while let Some(c) = self.rest[at..].chars().next() {
            if self.rest[at..].starts_with("{{") {
                at += self.rest[at..].find("}}").ok_or("a `}}` is missing")? + 2;
            } else if c.is_whitespace()
                || matches!(c, '(' | ')' | '!' | '=' | '<' | '>' | '&' | '|' | '\'' | '"' | ',')
            {
                break;
            } else {
                at += c.len_utf8();
            }
        }
        Ok(at)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.rest.starts_with(sign);
        if found {
            self.advance(sign.len());
        }
        found
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Result<bool, ConditionError> {
        let mut scope = Scope::default();
        scope.set("inputs.parameters.branch", "main");
        scope.set("inputs.parameters.n", "10");
        scope.set("inputs.parameters.empty", "");
        scope.set("inputs.parameters.evil", "x' == 'x' || true == true || 'x");
        Condition::parse(text)?.holds(&scope, &mut Budget::new(1000))
    }

    #[test]
    fn conditions_mean_what_they_say() {
        for (text, expected) in [
            ("true", true),
            ("!false", true),
            ("{{inputs.parameters.branch}} == main", true),
            ("'{{inputs.parameters.branch}}' != \"main\"", false),
            ("{{inputs.parameters.n}} > 9", true),
            ("'{{inputs.parameters.n}}' > '9'", false),
            ("{{inputs.parameters.n}} == 10.0", true),
            ("{{inputs.parameters.empty}} == ''", true),
            ("(a == b || a==a) && !(1 >= 2)", true),
            ("release-{{inputs.parameters.branch}} == release-main", true),
            ("'{{inputs.parameters.evil}}' == 'y'", false),
            ("{{inputs.parameters.evil}} == y", false),
            ("inf == nan", false),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [
            "",
            "(",
            "a ==",
            "== a",
            "a b",
            "'a",
            "a = b",
            "{{inputs",
            "1 < a",
            "a",
            "5",
            "a && b",
            "a =~ b",
            "{{inputs.parameters.gone}} == a",
            "a in (b,c)",
        ] {
            assert!(holds(text).is_err(), "{text}");
        }
        for length in [1_000, 100_000] {
            assert!(holds(&"(".repeat(length)).is_err());
            assert!(holds(&"!".repeat(length)).is_err());
        }
    }
}
