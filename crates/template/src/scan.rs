//! Finding `${…}` in a string.

/// A piece of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment<'s> {
    /// Text as it is.
    Literal(&'s str),
    /// The inside of a `${…}`.
    Expression(&'s str),
}

/// `${` inside an expression, outside quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NestedExpression;

const OPEN: &str = "${";
/// How a literal `${` is written. The first `$` goes, the rest is text.
const ESCAPED_OPEN: &str = "$${";

/// Splits `text` into literals and expressions, in order.
///
/// Braces nest, and count only outside quotes; a backslash in quotes takes the next character's meaning. An
/// expression that is not closed is literal text, as is `${` after another `$`: `$${x}` stands for `${x}`.
pub(crate) fn scan(text: &str) -> Result<Vec<Segment<'_>>, NestedExpression> {
    let mut segments = Vec::new();
    let mut literal_from = 0;
    let mut position = 0;
    while let Some(found) = text[position..].find(OPEN) {
        let open = position + found;
        // Only a `$` that belongs to this text counts, not one that ends an expression before it.
        let escaped = open > literal_from && text[..open].ends_with('$');
        if escaped {
            let end_of_text = open + OPEN.len() - ESCAPED_OPEN.len();
            push_literal(&mut segments, &text[literal_from..end_of_text]);
            literal_from = open;
            position = open + OPEN.len();
            continue;
        }
        let Some(length) = expression_length(&text[open + OPEN.len()..])? else { break };
        push_literal(&mut segments, &text[literal_from..open]);
        let start = open + OPEN.len();
        segments.push(Segment::Expression(&text[start..start + length]));
        position = start + length + 1;
        literal_from = position;
    }
    push_literal(&mut segments, &text[literal_from..]);
    Ok(segments)
}

fn push_literal<'s>(segments: &mut Vec<Segment<'s>>, text: &'s str) {
    if !text.is_empty() {
        segments.push(Segment::Literal(text));
    }
}

/// Bytes up to the brace that closes the expression at the start of `text`; `None` where nothing closes it.
fn expression_length(text: &str) -> Result<Option<usize>, NestedExpression> {
    let mut depth = 1_usize;
    let mut quote: Option<u8> = None;
    let mut escaped = false;
    let bytes = text.as_bytes();
    for (position, &byte) in bytes.iter().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None => match byte {
                b'\'' | b'"' => quote = Some(byte),
                b'{' if position > 0 && bytes[position - 1] == b'$' => return Err(NestedExpression),
                b'{' => depth += 1,
                b'}' if depth == 1 => return Ok(Some(position)),
                b'}' => depth -= 1,
                _ => {}
            },
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[Segment<'_>]) {
        assert_eq!(scan(text).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn upstream_vectors() {
        use Segment::{Expression, Literal};
        check("${a.b}", &[Expression("a.b")]);
        check("pre-${a}-mid-${b}", &[Literal("pre-"), Expression("a"), Literal("-mid-"), Expression("b")]);
        check("${m['k']}", &[Expression("m['k']")]);
        check("${l[0]}", &[Expression("l[0]")]);
        check("${f({a: 1}, {b: 2})}", &[Expression("f({a: 1}, {b: 2})")]);
        check("${\"{\"}", &[Expression("\"{\"")]);
        check("${\"${\"}", &[Expression("\"${\"")]);
        check("${x == \"esc\\\"q\"}", &[Expression("x == \"esc\\\"q\"")]);
        check("${incomplete", &[Literal("${incomplete")]);
        check("${a\n+\nb}", &[Expression("a\n+\nb")]);
        check("no expression", &[Literal("no expression")]);
        check("", &[]);
        assert_eq!(scan("${outer(${inner})}"), Err(NestedExpression));
    }

    #[test]
    fn a_doubled_dollar_is_a_literal_one() {
        use Segment::{Expression, Literal};
        check("$${HOME}", &[Literal("${HOME}")]);
        check("a$${b}c${d}", &[Literal("a"), Literal("${b}c"), Expression("d")]);
        check("$$${a}", &[Literal("$"), Literal("${a}")]);
        check("${a}${b}", &[Expression("a"), Expression("b")]);
        check("$5 and $x", &[Literal("$5 and $x")]);
        check("${a}$${b}", &[Expression("a"), Literal("${b}")]);
    }

    proptest! {
        #[test]
        fn never_panics_and_loses_no_text(text in ".{0,200}") {
            if let Ok(segments) = scan(&text) {
                let rebuilt: usize = segments.iter().map(|segment| match segment {
                    Segment::Literal(text) => text.len(),
                    Segment::Expression(text) => text.len() + 3,
                }).sum();
                let n_escapes = text.len() - rebuilt;
                let most = text.matches(ESCAPED_OPEN).count();
                prop_assert!(n_escapes <= most);
            }
        }

        #[test]
        fn dense_input_never_panics(text in "[${}'\"\\\\a]{0,40}") {
            let _ = scan(&text);
        }

        #[test]
        fn plain_expressions_are_found_between_any_text(before in "[^$]{0,20}", name in "[a-z]{1,8}", after in "[^$]{0,20}") {
            let text = format!("{before}${{{name}}}{after}");
            let segments = scan(&text).unwrap();
            prop_assert!(segments.contains(&Segment::Expression(&name)));
        }
    }
}
