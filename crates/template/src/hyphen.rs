//! `externalRefs.repo-credentials`, which the language reads as a subtraction.

/// Writes selections of declared ids on `variable` so that hyphens in them are part of the name. Everything inside
/// quotes stays as it is, and so do names that are not declared.
pub(crate) fn quote_members(source: &str, variable: &str, ids: &[String]) -> String {
    if !ids.iter().any(|id| id.contains('-')) || !source.contains(variable) {
        return source.to_owned();
    }
    let mut quoted = String::with_capacity(source.len() + 8);
    let mut rest = source;
    let mut previous = ' ';
    let mut quote = None;
    while let Some(character) = rest.chars().next() {
        let selection = if quote.is_none() && !is_name(previous) && previous != '.' {
            selected(rest, variable, ids)
        } else {
            None
        };
        if let Some((before, id)) = selection {
            quoted.push_str(&rest[..before]);
            quoted.push('`');
            quoted.push_str(id);
            quoted.push('`');
            rest = &rest[before + id.len()..];
            previous = '`';
            continue;
        }
        match quote {
            Some(_) if character == '\\' => {
                quoted.push(character);
                rest = &rest[1..];
                let Some(escaped) = rest.chars().next() else { break };
                quoted.push(escaped);
                rest = &rest[escaped.len_utf8()..];
                continue;
            }
            Some(open) if character == open => quote = None,
            None if matches!(character, '\'' | '"') => quote = Some(character),
            _ => {}
        }
        quoted.push(character);
        previous = character;
        rest = &rest[character.len_utf8()..];
    }
    quoted
}

/// Where in `text`, which must start with the variable, the longest declared id with a hyphen begins.
fn selected<'i>(text: &str, variable: &str, ids: &'i [String]) -> Option<(usize, &'i str)> {
    let after = text.strip_prefix(variable)?;
    let member = after.strip_prefix(".?").or_else(|| after.strip_prefix('.'))?;
    let declared = ids.iter().filter(|id| id.contains('-'));
    let matching = declared.filter(|id| {
        let tail = member.strip_prefix(id.as_str());
        tail.is_some_and(|tail| !tail.starts_with(|c| is_name(c) || c == '-'))
    });
    let longest = matching.max_by_key(|id| id.len())?;
    Some((text.len() - member.len(), longest))
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_ids_are_quoted_where_they_are_selected() {
        let ids = ["repo-credentials".to_owned(), "repo".to_owned(), "repo-credentials-2".to_owned()];
        for (source, expected) in [
            ("externalRefs.repo-credentials.spec", "externalRefs.`repo-credentials`.spec"),
            ("has(externalRefs.repo-credentials)", "has(externalRefs.`repo-credentials`)"),
            ("externalRefs.?repo-credentials.spec", "externalRefs.?`repo-credentials`.spec"),
            ("externalRefs.repo-credentials-2[0]", "externalRefs.`repo-credentials-2`[0]"),
            ("externalRefs.repo-other", "externalRefs.repo-other"),
            ("externalRefs.repo.spec", "externalRefs.repo.spec"),
            ("'externalRefs.repo-credentials'", "'externalRefs.repo-credentials'"),
            ("'it\\'s externalRefs.repo-credentials'", "'it\\'s externalRefs.repo-credentials'"),
            ("x.externalRefs.repo-credentials", "x.externalRefs.repo-credentials"),
            ("myexternalRefs.repo-credentials", "myexternalRefs.repo-credentials"),
            ("externalRefs['repo-credentials']", "externalRefs['repo-credentials']"),
        ] {
            assert_eq!(quote_members(source, "externalRefs", &ids), expected);
        }
    }
}
