//! Passes in turn.

use super::{Error, Result};
use crate::interrupt;

/// Whatever can make one timed pass.
pub trait Timed {
    /// Nanoseconds per lookup of one pass over the headers, by one of its variants.
    ///
    /// # Errors
    /// If it fails, refuses or takes too long.
    fn pass(&mut self, variant: Option<&str>) -> Result<f64>;
}

/// On whose side a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The product's.
    Ours,
    /// Of the peer, whose best lane counts.
    Peer,
    /// Something to compare with that nobody competes with.
    Reference,
}

/// A variant of one of the programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The program, by its place.
    pub program: usize,
    /// Of its variants.
    pub variant: Option<String>,
    /// Whose it is.
    pub side: Side,
}

/// Rounds that every lane takes part in.
const HEATS: usize = 3;
/// A lane of the peer that was in no heat within this factor of the peer's best is out.
const HOPELESS: f64 = 1.3;

/// What each lane did in `passes` rounds, nanoseconds per lookup; the peer's slow lanes and the
/// references in the first three alone. In a round each lane makes two passes, of which the second
/// counts: the first fills the caches that the others have emptied.
///
/// # Errors
/// As [`Timed::pass`], and when interrupted.
pub fn alternate<T: Timed>(
    programs: &mut [T],
    lanes: &[Lane],
    passes: usize,
) -> Result<Vec<Vec<f64>>> {
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); lanes.len()];
    let mut racing = vec![true; lanes.len()];
    for round in 0..passes {
        if round == HEATS {
            racing = still_racing(lanes, &figures);
        }
        for ((lane, figures), _) in
            lanes.iter().zip(&mut figures).zip(&racing).filter(|(_, racing)| **racing)
        {
            let (program, variant) = (&mut programs[lane.program], lane.variant.as_deref());
            program.pass(variant)?;
            figures.push(program.pass(variant)?);
            if interrupt::came() {
                return Err(Error::new("interrupted"));
            }
        }
    }
    Ok(figures)
}

fn still_racing(lanes: &[Lane], figures: &[Vec<f64>]) -> Vec<bool> {
    let best = |figures: &[f64]| figures.iter().copied().fold(f64::INFINITY, f64::min);
    let of_peer = lanes.iter().zip(figures).filter(|(lane, _)| lane.side == Side::Peer);
    let leader = of_peer.map(|(_, figures)| best(figures)).fold(f64::INFINITY, f64::min);
    let races = |(lane, figures): (&Lane, &Vec<f64>)| match lane.side {
        Side::Ours => true,
        Side::Peer => best(figures) <= leader * HOPELESS,
        Side::Reference => false,
    };
    lanes.iter().zip(figures).map(races).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Notes who passed in which order; its variants are their own speeds.
    struct Fake(&'static str, Rc<RefCell<Vec<String>>>);

    impl Timed for Fake {
        fn pass(&mut self, variant: Option<&str>) -> Result<f64> {
            let Fake(name, log) = self;
            log.borrow_mut().push(format!("{name}{}", variant.unwrap_or("")));
            variant.map_or(Ok(1.0), |variant| variant.parse().map_err(Error::new))
        }
    }

    fn lane(program: usize, variant: &str, side: Side) -> Lane {
        let variant = (!variant.is_empty()).then(|| variant.to_owned());
        Lane { program, variant, side }
    }

    #[test]
    fn lanes_take_turns_and_the_hopeless_ones_leave_after_the_heats() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut programs = ["a", "b", "c"].map(|name| Fake(name, log.clone()));
        let lanes = [
            lane(0, "", Side::Ours),
            lane(1, "10", Side::Peer),
            lane(1, "12", Side::Peer),
            lane(1, "14", Side::Peer),
            lane(2, "5", Side::Reference),
        ];
        let figures = alternate(&mut programs, &lanes, 5).unwrap();
        let counts: Vec<usize> = figures.iter().map(Vec::len).collect();
        assert_eq!(counts, [5, 5, 5, 3, 3]);
        assert_eq!(figures[2], [12.0; 5]);
        let log = log.borrow();
        assert_eq!(log[..10], ["a", "a", "b10", "b10", "b12", "b12", "b14", "b14", "c5", "c5"]);
        assert_eq!(log[30..36], ["a", "a", "b10", "b10", "b12", "b12"]);
    }

    #[test]
    fn what_fails_ends_the_rounds() {
        let mut programs = [Fake("a", Rc::default())];
        let lanes = [lane(0, "fast", Side::Peer)];
        assert!(alternate(&mut programs, &lanes, 1).is_err());
    }
}
