use super::escape;

/// A longer query is refused.
const MAX_LENGTH: usize = 16 * 1024;

/// Why a query is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum QueryError {
    #[error("the query is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("the query has a percent sign that begins no escape")]
    BadEscape,
    #[error("the query holds a character that must not stand in one (0x{0:02x})")]
    Byte(u8),
    #[error("the query decodes to control characters or to something that is not UTF-8")]
    NotText,
}

/// A query that every reader takes apart in the same way: pairs between `&`, without `;`, escapes whole, values text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CanonicalQuery {
    raw: String,
    pairs: Vec<(String, String)>,
}

impl CanonicalQuery {
    /// Reads a raw query, without its question mark.
    pub fn parse(raw: Option<&str>) -> Result<Self, QueryError> {
        let raw = raw.unwrap_or_default();
        if raw.len() > MAX_LENGTH {
            return Err(QueryError::TooLong);
        }
        // Go refuses a pair with a semicolon, others split there.
        if let Some(byte) =
            raw.bytes().find(|&byte| !byte.is_ascii_graphic() || b";#\\\"<>^`{|}".contains(&byte))
        {
            return Err(QueryError::Byte(byte));
        }
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(key)?, decode(value)?))
            })
            .collect::<Result<_, QueryError>>()?;
        Ok(Self { raw: raw.to_owned(), pairs })
    }

    /// The query as it is sent; none when empty.
    pub fn as_str(&self) -> Option<&str> {
        Some(self.raw.as_str()).filter(|raw| !raw.is_empty())
    }

    /// Every value of a key, decoded.
    pub fn values<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> + 'q {
        self.pairs.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// Every key, decoded, as often as it stands there.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(key, _)| key.as_str())
    }

    /// Whether the response goes on until somebody ends it, and how a reader takes its end.
    pub fn endless(&self) -> Option<Endless> {
        let set = |key| self.values(key).any(|value| matches!(value, "true" | "1"));
        if set("watch") {
            Some(Endless::Watch)
        } else if set("follow") {
            Some(Endless::Follow)
        } else {
            None
        }
    }
}

/// A response without an end of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endless {
    /// A watch: readers take up where it ended.
    Watch,
    /// A log that is followed: readers take its end for the end of the log, so it must break instead.
    Follow,
}

fn decode(text: &str) -> Result<String, QueryError> {
    let mut decoded = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        match byte {
            b'%' => {
                decoded.push(bytes.get(index + 1..).and_then(escape).ok_or(QueryError::BadEscape)?);
                index += 3;
            }
            b'+' => {
                decoded.push(b' ');
                index += 1;
            }
            other => {
                decoded.push(other);
                index += 1;
            }
        }
    }
    let decoded = String::from_utf8(decoded).map_err(|_not_utf8| QueryError::NotText)?;
    if decoded.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(QueryError::NotText);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_however_they_are_escaped() {
        let query =
            CanonicalQuery::parse(Some("%77atch=tru%65&labelSelector=a%3Db%2Cc+d&x&watch=0")).unwrap();
        assert_eq!(query.values("watch").collect::<Vec<_>>(), ["true", "0"]);
        assert_eq!(query.values("labelSelector").collect::<Vec<_>>(), ["a=b,c d"]);
        assert_eq!(query.values("x").collect::<Vec<_>>(), [""]);
        assert_eq!(CanonicalQuery::parse(None).unwrap().as_str(), None);
    }

    #[test]
    fn what_others_read_differently_is_refused() {
        for raw in
            ["a;b=1", "watch=true;x", "a=%", "a=%z1", "a=%00", "a=%ff", "a=\u{e9}", "a=b c", "a#b", "a=%0d"]
        {
            assert!(CanonicalQuery::parse(Some(raw)).is_err(), "{raw}");
        }
        assert_eq!(CanonicalQuery::parse(Some(&"a".repeat(20_000))), Err(QueryError::TooLong));
    }
}
