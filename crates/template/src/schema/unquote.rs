//! Quoted values.

/// `"…"` with its escapes resolved, `'…'` with `''` for a quote, anything else as it is. Quotes whose inside is
/// not valid stay, as they do upstream.
pub(super) fn unquote(text: &str) -> String {
    let inside = |quote| text.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    if let Some(inner) = inside('"') {
        return unescape(inner).unwrap_or_else(|| text.to_owned());
    }
    match inside('\'') {
        Some(inner) => inner.replace("''", "'"),
        None => text.to_owned(),
    }
}

/// Resolves the escapes that Go has; `None` where there is another one, or a bare quote.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            if character == '"' || character == '\n' {
                return None;
            }
            plain.push(character);
            continue;
        }
        let escape = rest.next()?;
        let mut digits = |n_digits: usize, radix: u32, first: Option<char>| {
            let digits: String = first.into_iter().chain(rest.by_ref().take(n_digits)).collect();
            let complete = digits.len() == n_digits + usize::from(first.is_some());
            let code = u32::from_str_radix(&digits, radix).ok().filter(|_| complete)?;
            char::from_u32(code)
        };
        plain.push(match escape {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '"' => escape,
            'x' => digits(2, 16, None)?,
            'u' => digits(4, 16, None)?,
            'U' => digits(8, 16, None)?,
            '0'..='7' => digits(2, 8, Some(escape))?,
            _ => return None,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::unquote;

    #[test]
    fn quotes() {
        for (text, expected) in [
            ("plain", "plain"),
            ("\"a b\"", "a b"),
            (r#""a\"b\n\x41\u00e4\101""#, "a\"b\nA\u{e4}A"),
            (r#""bad \q""#, r#""bad \q""#),
            ("'it''s'", "it's"),
            ("\"", "\""),
            ("''", ""),
        ] {
            assert_eq!(unquote(text), expected);
        }
    }
}
