//! What the classifier is held to, and whether it gets there.

use serde::Serialize;

/// A power of ten, by the number of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Scale {
    /// About 1,000 rules, or fewer.
    #[serde(rename = "1k")]
    Small,
    /// About 10,000.
    #[serde(rename = "10k")]
    Medium,
    /// About 100,000, or more.
    #[serde(rename = "100k")]
    Large,
}

impl Scale {
    /// The nearest to `rules`: the bounds are the roots of 1,000 · 10,000 and 10,000 · 100,000.
    pub fn of(rules: usize) -> Self {
        match rules {
            0..=3_162 => Scale::Small,
            3_163..=31_622 => Scale::Medium,
            _ => Scale::Large,
        }
    }

    /// How many times as fast as the peer lookups are to be, beyond as fast; and the goal's name.
    fn times_as_fast(self) -> Option<(f64, &'static str)> {
        match self {
            Scale::Small => None,
            Scale::Medium => Some((2.0, "at 10k twice as fast as the peer")),
            Scale::Large => Some((4.0, "at 100k four times as fast as the peer")),
        }
    }
}

/// Most nanoseconds of a lookup at 10,000 rules.
pub const NANOSECONDS: f64 = 30.0;
/// The table is to take less than one part in so many of the peer's memory.
pub const MEMORY_PART: f64 = 20.0;
/// Its build is to take less than one part in so many of the peer's time.
pub const BUILD_PART: f64 = 10.0;

/// A goal, and what was reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// What it is about, the same for all that are counted together.
    pub about: String,
    /// Whether it is met.
    pub met: bool,
    /// What was reached and what was wanted, in short.
    pub reached: String,
    /// By how much it is met, or missed if below 1.
    pub margin: f64,
}

/// The goals of lookups that take `ours` nanoseconds, and the peer's `theirs`, if there is one.
pub fn of_lookups(scale: Scale, ours: f64, theirs: Option<f64>) -> Vec<Goal> {
    let mut goals = Vec::new();
    if let Some(theirs) = theirs {
        let times = theirs / ours;
        let everywhere = (1.0, "everywhere as fast as the peer");
        for (wanted, about) in [everywhere].into_iter().chain(scale.times_as_fast()) {
            goals.push(Goal {
                about: about.to_owned(),
                met: times >= wanted,
                reached: format!("{times:.2}x of {wanted}x"),
                margin: times / wanted,
            });
        }
    }
    if scale == Scale::Medium {
        goals.push(Goal {
            about: format!("at 10k no lookup above {NANOSECONDS} ns"),
            met: ours <= NANOSECONDS,
            reached: format!("{ours:.1} ns of {NANOSECONDS}"),
            margin: NANOSECONDS / ours,
        });
    }
    goals
}

/// The goals of a table's memory, in bytes, and of its build, in milliseconds: ours and theirs.
pub fn of_table(memory: (f64, f64), build: (f64, f64)) -> Vec<Goal> {
    let goal = |what: &str, (ours, theirs): (f64, f64), part: f64| Goal {
        about: format!("{what} below 1/{part} of the peer's"),
        met: ours * part < theirs,
        reached: format!("{what} 1/{:.1} of 1/{part}", theirs / ours),
        margin: theirs / ours / part,
    };
    vec![goal("memory", memory, MEMORY_PART), goal("build", build, BUILD_PART)]
}

/// `met`, or what was missed and by how much; a dash if nothing was asked.
pub fn verdict(goals: &[Goal]) -> String {
    let missed: Vec<&str> =
        goals.iter().filter(|goal| !goal.met).map(|goal| &goal.reached[..]).collect();
    match (goals.is_empty(), missed.is_empty()) {
        (true, _) => "-".to_owned(),
        (_, true) => "met".to_owned(),
        _ => format!("missed: {}", missed.join(", ")),
    }
}

/// How often each goal is met, in the order in which they come up first, as sentences: with the
/// farthest from it, named by the text that goes with it.
pub fn summary<'a>(goals: impl Iterator<Item = (String, &'a Goal)>) -> Vec<String> {
    struct Count<'a> {
        about: &'a str,
        met: usize,
        of: usize,
        farthest: (String, &'a Goal),
    }
    let mut counts: Vec<Count<'a>> = Vec::new();
    for (what, goal) in goals {
        let met = usize::from(goal.met);
        match counts.iter_mut().find(|count| count.about == goal.about) {
            Some(count) => {
                count.met += met;
                count.of += 1;
                if goal.margin < count.farthest.1.margin {
                    count.farthest = (what, goal);
                }
            }
            None => counts.push(Count { about: &goal.about, met, of: 1, farthest: (what, goal) }),
        }
    }
    let sentence = |count: Count<'_>| {
        let Count { about, met, of, farthest: (what, goal) } = count;
        format!("{about}: {met} of {of}; the farthest {what} with {}", goal.reached)
    };
    counts.into_iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(goals: &[Goal]) -> Vec<bool> {
        goals.iter().map(|goal| goal.met).collect()
    }

    #[test]
    fn real_sets_have_a_little_more_or_less_than_a_power_of_ten() {
        let of = [857, 9_774, 99_778, 4_000, 40_000].map(Scale::of);
        use Scale::{Large, Medium, Small};
        assert_eq!(of, [Small, Medium, Large, Medium, Large]);
    }

    #[test]
    fn lookups_are_held_to_the_peer_by_scale_and_at_10k_to_the_clock() {
        assert_eq!(met(&of_lookups(Scale::Small, 10.0, Some(10.0))), [true]);
        assert_eq!(met(&of_lookups(Scale::Small, 10.0, Some(9.9))), [false]);
        assert_eq!(met(&of_lookups(Scale::Medium, 30.0, Some(59.0))), [true, false, true]);
        assert_eq!(met(&of_lookups(Scale::Medium, 31.0, Some(62.0))), [true, true, false]);
        assert_eq!(met(&of_lookups(Scale::Large, 50.0, Some(199.0))), [true, false]);
        assert_eq!(met(&of_lookups(Scale::Large, 50.0, Some(49.0))), [false, false]);
        assert_eq!(met(&of_lookups(Scale::Medium, 12.0, None)), [true]);
        assert!(of_lookups(Scale::Large, 12.0, None).is_empty());
    }

    #[test]
    fn memory_and_build_are_to_be_a_part_of_the_peers() {
        assert_eq!(met(&of_table((1.0, 20.1), (1.0, 10.1))), [true, true]);
        assert_eq!(met(&of_table((1.0, 20.0), (1.0, 10.0))), [false, false]);
        assert_eq!(of_table((2.0, 25.0), (1.0, 50.0))[0].reached, "memory 1/12.5 of 1/20");
    }

    #[test]
    fn the_verdict_says_what_was_missed() {
        assert_eq!(verdict(&[]), "-");
        assert_eq!(verdict(&of_lookups(Scale::Medium, 10.0, Some(40.0))), "met");
        let missed = of_lookups(Scale::Medium, 40.0, Some(60.0));
        assert_eq!(verdict(&missed), "missed: 1.50x of 2x, 40.0 ns of 30");
        assert_eq!(verdict(&of_lookups(Scale::Medium, 20.0, Some(30.0))), "missed: 1.50x of 2x");
    }

    #[test]
    fn the_summary_counts_each_goal_and_names_the_farthest_from_it() {
        let rows = [(20.0, 60.0), (40.0, 60.0), (25.0, 60.0)];
        let goals: Vec<(String, Goal)> = rows
            .iter()
            .zip(["one", "two", "three"])
            .flat_map(|(&(ours, theirs), what)| {
                let goals = of_lookups(Scale::Medium, ours, Some(theirs));
                goals.into_iter().map(move |goal| (what.to_owned(), goal))
            })
            .collect();
        let said = summary(goals.iter().map(|(what, goal)| (what.clone(), goal)));
        assert_eq!(
            said,
            [
                "everywhere as fast as the peer: 3 of 3; the farthest two with 1.50x of 1x",
                "at 10k twice as fast as the peer: 2 of 3; the farthest two with 1.50x of 2x",
                "at 10k no lookup above 30 ns: 2 of 3; the farthest two with 40.0 ns of 30",
            ]
        );
    }
}
