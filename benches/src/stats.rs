//! What a series of trials comes to.

use serde::Serialize;

/// Lowest, middle and highest of some figures: on a shared machine a mean would tell more about the
/// neighbours than about the thing measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The middle one, or the mean of the two middle ones.
    pub median: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// The spread of `figures`, in any order; `None` if there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[upper - 1] + sorted[upper]) / 2.0,
            _ => sorted[upper],
        };
        Some(Spread { min, median, max })
    }
}

/// The figure that `percent` in a hundred do not pass (nearest rank), of figures in any order;
/// `None` if there are none.
///
/// # Panics
/// If `percent` is not from 1 to 100.
pub fn percentile(figures: &[f64], percent: usize) -> Option<f64> {
    assert!((1..=100).contains(&percent));
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_figure_of_its_nearest_rank() {
        let figures: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&figures, 99), Some(198.0));
        assert_eq!(percentile(&figures, 100), Some(200.0));
        assert_eq!(percentile(&[3.0], 1), Some(3.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn the_median_is_the_middle_figure_whatever_the_order() {
        let spread = Spread::of([5.0, 1.0, 100.0]);
        assert_eq!(spread, Some(Spread { min: 1.0, median: 5.0, max: 100.0 }));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 10.0, 2.0, 1.0]);
        assert_eq!(spread, Some(Spread { min: 1.0, median: 3.0, max: 10.0 }));
    }

    #[test]
    fn one_figure_is_all_three_and_none_has_no_spread() {
        assert_eq!(Spread::of([7.0]), Some(Spread { min: 7.0, median: 7.0, max: 7.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
