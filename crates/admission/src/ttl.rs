//! How long a run is kept: `1d12h30m5s`.

use std::time::Duration;

/// Reads a duration of days, hours, minutes and seconds in this order, each at most once. Empty means none.
pub fn parse_ttl(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut seconds: u64 = 0;
    for (unit, factor) in [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)] {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        if let (Ok(number), Some(after)) = (number.parse::<u64>(), after.strip_prefix(unit)) {
            seconds = seconds.checked_add(number.checked_mul(factor)?)?;
            rest = after;
        }
    }
    rest.is_empty().then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("1d", Some(86_400)),
            ("1d2h3m4s", Some(93_784)),
            ("90m", Some(5_400)),
            ("0s", Some(0)),
            ("", None),
            ("1h1d", None),
            ("1", None),
            ("d", None),
            ("1d1d", None),
            ("-1s", None),
            ("99999999999999999999d", None),
            ("213503982334602d", None),
        ] {
            assert_eq!(parse_ttl(text), expected.map(Duration::from_secs), "{text:?}");
        }
    }
}
