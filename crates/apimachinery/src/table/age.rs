//! Ages as kubectl's users know them. The server writes them, not the client.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// How long ago an RFC 3339 time was; `None` if the text is no time.
pub fn age(time: &str, now: Timestamp) -> Option<String> {
    let time: Timestamp = time.parse().ok()?;
    Some(human_duration(now.as_second() - time.as_second()))
}

/// A duration in seconds with the two units that matter, as `k8s.io/apimachinery` prints it.
pub fn human_duration(seconds: i64) -> String {
    let two = |large: i64, unit: char, rest: i64, small: char| {
        if rest == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{rest}{small}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, 'm', seconds % MINUTE, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, 'h', seconds / MINUTE % 60, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, 'd', seconds / HOUR % 24, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds / YEAR, 'y', seconds / DAY % 365, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of `k8s.io/apimachinery/pkg/util/duration`.
    #[test]
    fn durations_read_as_upstream() {
        let check = |seconds: i64, expected: &str| assert_eq!(human_duration(seconds), expected, "{seconds}");
        check(-2, "<invalid>");
        check(-1, "0s");
        check(0, "0s");
        check(1, "1s");
        check(70, "70s");
        check(190, "3m10s");
        check(180, "3m");
        check(599, "9m59s");
        check(47 * MINUTE + 11, "47m");
        check(3 * HOUR, "3h");
        check(3 * HOUR + 27 * MINUTE, "3h27m");
        check(20 * HOUR, "20h");
        check(2 * DAY - 1, "47h");
        check(2 * DAY, "2d");
        check(3 * DAY + 23 * HOUR, "3d23h");
        check(9 * DAY, "9d");
        check(300 * DAY, "300d");
        check(2 * YEAR, "2y");
        check(2 * YEAR + 35 * DAY, "2y35d");
        check(9 * YEAR, "9y");
    }
}
