//! Quantities for people.

use std::time::Duration;

/// A duration given in seconds: `31.0µs`, `1.2s`, and from a minute on `2h 3m 4s`.
pub(super) fn seconds(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if duration < Duration::from_secs(60) {
        format!("{duration:.1?}")
    } else {
        humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
    }
}

/// An amount of memory or traffic: `512 B`, `1.5 KiB`, `20.0 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = "";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        value /= 1024.0;
        unit = next;
        // What would be printed as 1024.0 is 1.0 of the next unit.
        if value < 1023.95 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

/// `n noun` or `n nouns`.
pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("{n} {one}") } else { format!("{n} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_the_digits_that_matter() {
        assert_eq!(seconds(0.000031), "31.0µs");
        assert_eq!(seconds(1.25), "1.2s");
        assert_eq!(seconds(7384.9), "2h 3m 4s");
        assert_eq!(seconds(f64::NAN), "0.0ns");
    }

    #[test]
    fn sizes_move_to_the_next_unit_at_its_edge() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }
}
