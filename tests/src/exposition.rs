//! Prometheus' text format, read back.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// One scrape: each series, by its name and labels as printed, and its value.
pub type Series = BTreeMap<String, f64>;

/// Reads one scrape.
///
/// # Errors
/// A line that is neither a comment nor a series with a number.
pub fn parse(text: &str) -> Result<Series> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let wrong = || Error::new(format!("not a series: {line}"));
            let (series, value) = line.rsplit_once(' ').ok_or_else(wrong)?;
            Ok((series.to_owned(), value.parse().map_err(|_| wrong())?))
        })
        .collect()
}

/// The sum of all series of `name` that carry each of `labels` (`port="left"`).
pub fn sum(series: &Series, name: &str, labels: &[&str]) -> f64 {
    let wanted = |key: &str| {
        let (series_name, series_labels) = key.split_once('{').unwrap_or((key, ""));
        series_name == name && labels.iter().all(|label| series_labels.contains(label))
    };
    series.iter().filter(|(key, _)| wanted(key)).map(|(_, value)| value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_label() {
        let text = "# HELP a_total b\n# TYPE a_total counter\na_total{port=\"l\",q=\"0\"} 1\n\
                    a_total{port=\"l\",q=\"1\"} 2\na_total{port=\"r\",q=\"0\"} 4\nab_total 8\n";
        let series = parse(text).unwrap();
        assert_eq!(sum(&series, "a_total", &["port=\"l\""]), 3.0);
        assert_eq!(sum(&series, "a_total", &[]), 7.0);
        assert!(parse("a_total b").is_err());
    }
}
