//! What a contest came to.

use super::goals::{self, Goal, Scale};
use super::program::Ready;
use crate::machine::Machine;
use crate::markdown::table;
use crate::stats::{Spread, percentile};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Bytes that the peer may give its table while it looks for a quick one; 0 is unbounded, but has
/// it take the first that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setting(pub u64);

impl Setting {
    /// Those measured.
    pub const ALL: [Setting; 2] = [Setting(0), Setting(1 << 30)];
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self.0 {
            0 => "0".to_owned(),
            bytes => memory(bytes as f64),
        })
    }
}

/// Passes, in nanoseconds per lookup.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// How many there were.
    pub passes: usize,
    /// The quickest.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// Slower than all but one in a hundred: of fewer than that, the slowest.
    pub p99: f64,
}

impl Figures {
    /// Of the passes made; `None` without any.
    pub fn of(passes: &[f64]) -> Option<Self> {
        let Spread { min, median, .. } = Spread::of(passes.iter().copied())?;
        Some(Figures { passes: passes.len(), min, median, p99: percentile(passes, 99)? })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} / {:.1} / {:.1}", self.min, self.median, self.p99)
    }
}

/// The peer's table in one of its settings.
#[derive(Clone, Debug, Serialize)]
pub struct PeerBuild {
    /// Which.
    pub setting: Setting,
    /// What it says about it.
    #[serde(flatten)]
    pub ready: Ready,
}

/// A variant of the peer on a trace.
#[derive(Clone, Debug, Serialize)]
pub struct PeerLane {
    /// Of which table.
    pub setting: Setting,
    /// Which code path.
    pub variant: String,
    /// How quick.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One trace.
#[derive(Clone, Debug, Serialize)]
pub struct Lookups {
    /// Its name.
    pub trace: String,
    /// Its headers.
    pub packets: usize,
    /// Of one, those that a rule matches.
    pub matched_share: f64,
    /// What the answers were compared with.
    pub checked_with: String,
    /// The product.
    pub ours: Figures,
    /// The peer, all that was measured.
    pub peer: Vec<PeerLane>,
    /// Other engines, by name.
    pub references: Vec<(String, Figures)>,
    /// Filled in by [`SetReport::judged`].
    pub goals: Vec<Goal>,
}

impl Lookups {
    /// The peer's quickest.
    pub fn best(&self) -> Option<&PeerLane> {
        self.peer.iter().min_by(|a, b| a.figures.min.total_cmp(&b.figures.min))
    }
}

/// What could not be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// Which of the programs.
    pub what: String,
    /// In its own words.
    pub why: String,
}

/// One rule set.
#[derive(Clone, Debug, Serialize)]
pub struct SetReport {
    /// Its name.
    pub name: String,
    /// By its number of rules.
    pub scale: Scale,
    /// The product's table.
    pub ours: Ready,
    /// Cache lines of the costliest header found.
    pub worst_found: usize,
    /// The peer's tables; none where it has no words for the rules, or is not there.
    pub peer: Vec<PeerBuild>,
    /// The other programs that did not get that far.
    pub failed: Vec<Failed>,
    /// All traces.
    pub lookups: Vec<Lookups>,
    /// Of the table, filled in by [`judged`](SetReport::judged).
    pub goals: Vec<Goal>,
}

impl SetReport {
    /// The peer's table that is the quicker one over all traces together.
    pub fn faster(&self) -> Option<&PeerBuild> {
        let total = |build: &PeerBuild| -> f64 {
            let of_trace = |lookups: &Lookups| {
                let lanes = lookups.peer.iter().filter(|lane| lane.setting == build.setting);
                lanes.map(|lane| lane.figures.min).fold(f64::INFINITY, f64::min)
            };
            self.lookups.iter().map(of_trace).sum()
        };
        self.peer.iter().min_by(|a, b| total(a).total_cmp(&total(b)))
    }

    /// Itself, held to the goals.
    pub fn judged(mut self) -> Self {
        for lookups in &mut self.lookups {
            let theirs = lookups.best().map(|lane| lane.figures.min);
            lookups.goals = goals::of_lookups(self.scale, lookups.ours.min, theirs);
        }
        self.goals = self.faster().map_or_else(Vec::new, |build| {
            goals::of_table(
                (self.ours.memory_bytes as f64, build.ready.memory_bytes as f64),
                (self.ours.build_ms, build.ready.build_ms),
            )
        });
        self
    }
}

/// A whole contest.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was.
    pub machine: Machine,
    /// The core that all programs ran on.
    pub core: usize,
    /// Headers of one call, for all.
    pub batch: usize,
    /// Rounds on each trace.
    pub passes: usize,
    /// Why there is no peer, if there is none.
    pub no_peer: Option<String>,
    /// All rule sets.
    pub sets: Vec<SetReport>,
}

impl Report {
    /// All of it in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = self.preface();
        let mut part = |title: &str, body: &str| {
            if !body.is_empty() {
                let _ = write!(text, "\n{title}\n\n{body}");
            }
        };
        part("Lookups, ns, min / median / p99 of the passes:", &self.lookups());
        part("Tables:", &self.tables());
        part("Other engines, ns, the quickest pass:", &self.references());
        part("Goals:", &list(self.summary()));
        let failed = self.sets.iter().flat_map(|set| {
            set.failed.iter().map(|Failed { what, why }| format!("{}: {what}: {why}", set.name))
        });
        part("Not measured:", &list(failed));
        text
    }

    fn preface(&self) -> String {
        let Report { machine, core, batch, passes, no_peer, .. } = self;
        let mut text = format!(
            "{machine}; every program on core {core} alone, a pass in turn, {passes} rounds; batches \
             of {batch} headers.\n"
        );
        let version = self.sets.iter().flat_map(|set| &set.peer).find_map(|build| {
            build.ready.version.clone().zip(Some(build.ready.pages.clone().unwrap_or_default()))
        });
        match (no_peer, version) {
            (Some(why), _) => _ = writeln!(text, "**rte_acl was not measured**: {why}."),
            (None, Some((version, pages))) => {
                let _ = writeln!(
                    text,
                    "rte_acl is of {version}, its memory on {pages} pages. Its best counts: of all its \
                     code paths, and of its tables with max_size 0 and 1 GiB the faster on the trace; \
                     memory and build are compared with those of the table that is faster over all \
                     traces of the set (*)."
                );
            }
            (None, None) => {}
        }
        text.push_str(match no_peer {
            Some(_) => "Before anything was timed, a linear scan agreed on a sample.\n",
            None => {
                "Both programs found the same rule for every header before anything was timed; for rules \
                 that the peer has no words for, a linear scan agreed on a sample.\n"
            }
        });
        text.push_str(
            "The sets of shared/ end in a rule that matches everything, so random headers match that; \
             generated ones do not: see how many match. The headers of `worst` are the worst found for \
             Bulkhead, not for rte_acl, and few enough to stay in the caches.\n\
             Goals are judged by the quickest passes.\n",
        );
        text
    }

    fn lookups(&self) -> String {
        let row = |set: &SetReport, lookups: &Lookups| {
            let best = lookups.best();
            let times = |figure: fn(&Figures) -> f64| match best {
                Some(best) => format!("{:.2}x", figure(&best.figures) / figure(&lookups.ours)),
                None => "-".to_owned(),
            };
            vec![
                set.name.clone(),
                lookups.trace.clone(),
                format!("{:.0} %", lookups.matched_share * 100.0),
                lookups.ours.to_string(),
                best.map_or("-".to_owned(), |best| best.figures.to_string()),
                best.map_or("-".to_owned(), |best| format!("{}, {}", best.variant, best.setting)),
                times(|figures| figures.min),
                times(|figures| figures.median),
                goals::verdict(&lookups.goals),
            ]
        };
        let rows: Vec<_> = self
            .sets
            .iter()
            .flat_map(|set| set.lookups.iter().map(move |lookups| row(set, lookups)))
            .collect();
        let titles = [
            "rules",
            "trace",
            ">matched",
            ">Bulkhead",
            ">rte_acl",
            "its best",
            ">min",
            ">median",
            "goal",
        ];
        table(&titles, &rows)
    }

    fn tables(&self) -> String {
        let row = |set: &SetReport| {
            let faster = set.faster();
            let of_peer = |text: &dyn Fn(&Ready) -> String| {
                Setting::ALL.map(|setting| {
                    let build = set.peer.iter().find(|build| build.setting == setting);
                    let mark =
                        if faster.is_some_and(|best| best.setting == setting) { "*" } else { "" };
                    build.map_or("-".to_owned(), |build| text(&build.ready) + mark)
                })
            };
            let part = |figure: &dyn Fn(&Ready) -> f64| match faster {
                Some(best) => format!("1/{:.1}", figure(&best.ready) / figure(&set.ours)),
                None => "-".to_owned(),
            };
            let [memory_0, memory_1] = of_peer(&|ready| memory(ready.memory_bytes as f64));
            let [build_0, build_1] = of_peer(&|ready| milliseconds(ready.build_ms));
            let bound = set.ours.worst_case.map_or("-".to_owned(), |lines| lines.to_string());
            vec![
                set.name.clone(),
                set.ours.rules.to_string(),
                memory(set.ours.memory_bytes as f64),
                memory_0,
                memory_1,
                part(&|ready| ready.memory_bytes as f64),
                milliseconds(set.ours.build_ms),
                build_0,
                build_1,
                part(&|ready| ready.build_ms),
                bound,
                set.worst_found.to_string(),
                goals::verdict(&set.goals),
            ]
        };
        let rows: Vec<_> = self.sets.iter().map(row).collect();
        let titles = [
            "rules",
            ">n",
            ">memory",
            ">rte_acl 0",
            ">1 GiB",
            ">part",
            ">build ms",
            ">rte_acl 0",
            ">1 GiB",
            ">part",
            ">lines, bound",
            ">found",
            "goal",
        ];
        table(&titles, &rows)
    }

    fn references(&self) -> String {
        let mut rows = Vec::new();
        for set in &self.sets {
            for lookups in set.lookups.iter().filter(|lookups| !lookups.references.is_empty()) {
                let of = |name: &str| {
                    let found = lookups.references.iter().find(|(of, _)| of == name);
                    found.map_or("-".to_owned(), |(_, figures)| format!("{:.1}", figures.min))
                };
                let compiled = format!("{:.1}", lookups.ours.min);
                let cells = [set.name.clone(), lookups.trace.clone(), compiled];
                rows.push(cells.into_iter().chain([of("tuple"), of("linear")]).collect());
            }
        }
        if rows.is_empty() {
            return String::new();
        }
        table(&["rules", "trace", ">Bulkhead", ">tuple space", ">linear"], &rows)
    }

    /// How many rows meet each goal.
    pub fn summary(&self) -> Vec<String> {
        let of_lookups = self.sets.iter().flat_map(|set| {
            set.lookups.iter().flat_map(move |lookups| {
                let what = format!("{} {}", set.name, lookups.trace);
                lookups.goals.iter().map(move |goal| (what.clone(), goal))
            })
        });
        let of_tables = self
            .sets
            .iter()
            .flat_map(|set| set.goals.iter().map(move |goal| (set.name.clone(), goal)));
        goals::summary(of_lookups.chain(of_tables))
    }
}

fn list(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| format!("- {line}\n")).collect()
}

/// Bytes, to three figures or so.
fn memory(bytes: f64) -> String {
    let units = [(1024.0 * 1024.0 * 1024.0, "GiB"), (1024.0 * 1024.0, "MiB")];
    let (size, unit) =
        units.into_iter().find(|(size, _)| bytes >= *size).unwrap_or((1024.0, "KiB"));
    let figure = bytes / size;
    let decimals = usize::from(figure < 10.0 && figure.fract() != 0.0);
    format!("{figure:.decimals$} {unit}")
}

fn milliseconds(ms: f64) -> String {
    let decimals = match ms {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{ms:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(memory_bytes: usize, build_ms: f64) -> Ready {
        Ready {
            rules: 9_774,
            build_ms,
            memory_bytes,
            worst_case: Some(40),
            simd: None,
            variants: Vec::new(),
            pages: Some("thp".to_owned()),
            version: Some("DPDK 22.11".to_owned()),
        }
    }

    fn lane(setting: Setting, variant: &str, passes: &[f64]) -> PeerLane {
        let figures = Figures::of(passes).unwrap();
        PeerLane { setting, variant: variant.to_owned(), figures }
    }

    fn report() -> Report {
        let [unbounded, bounded] = Setting::ALL;
        let lookups = Lookups {
            trace: "uniform".to_owned(),
            packets: 100,
            matched_share: 0.995,
            checked_with: "rte_acl".to_owned(),
            ours: Figures::of(&[20.0, 22.0, 30.0]).unwrap(),
            peer: vec![
                lane(unbounded, "avx2", &[50.0, 66.0, 70.0]),
                lane(bounded, "avx512x32", &[30.0, 33.0, 90.0]),
            ],
            references: Vec::new(),
            goals: Vec::new(),
        };
        let set = SetReport {
            name: "shared/acl1_10k".to_owned(),
            scale: Scale::Medium,
            ours: ready(100 << 10, 2.0),
            worst_found: 31,
            peer: vec![
                PeerBuild { setting: unbounded, ready: ready(1 << 20, 10.0) },
                PeerBuild { setting: bounded, ready: ready(2500 << 10, 500.0) },
            ],
            failed: Vec::new(),
            lookups: vec![lookups],
            goals: Vec::new(),
        };
        let machine =
            Machine { kernel: "6.1".to_owned(), processor: "a processor".to_owned(), cores: 2 };
        let sets = vec![set.judged()];
        Report { machine, core: 1, batch: 256, passes: 3, no_peer: None, sets }
    }

    #[test]
    fn the_peers_quickest_lane_counts_and_the_table_it_belongs_to() {
        let report = report();
        let set = &report.sets[0];
        assert_eq!(set.faster().unwrap().setting, Setting(1 << 30));
        assert_eq!(set.lookups[0].best().unwrap().variant, "avx512x32");
        assert_eq!(goals::verdict(&set.lookups[0].goals), "missed: 1.50x of 2x");
        assert_eq!(goals::verdict(&set.goals), "met");
    }

    #[test]
    fn the_tables_can_be_pasted() {
        let text = report().markdown();
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        let cells = |line: &str| -> Vec<String> {
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
        };
        assert_eq!(
            cells(line("| shared/acl1_10k | uniform")),
            [
                "shared/acl1_10k",
                "uniform",
                "100 %",
                "20.0 / 22.0 / 30.0",
                "30.0 / 33.0 / 90.0",
                "avx512x32, 1 GiB",
                "1.50x",
                "1.50x",
                "missed: 1.50x of 2x",
            ]
        );
        assert_eq!(
            cells(line("| shared/acl1_10k | 9774")),
            [
                "shared/acl1_10k",
                "9774",
                "100 KiB",
                "1 MiB",
                "2.4 MiB*",
                "1/25.0",
                "2.00",
                "10.0",
                "500*",
                "1/250.0",
                "40",
                "31",
                "met",
            ]
        );
        assert!(text.contains("rte_acl is of DPDK 22.11, its memory on thp pages"), "{text}");
        assert!(text.contains("twice as fast as the peer: 0 of 1; the farthest shared/acl1_10k"));
        assert!(!text.contains("Other engines") && !text.contains("Not measured"), "{text}");
    }

    #[test]
    fn without_the_peer_the_report_says_so_and_why() {
        let mut report = report();
        report.no_peer = Some("DPDK cannot be had".to_owned());
        let set = &mut report.sets[0];
        (set.peer, set.lookups[0].peer) = (Vec::new(), Vec::new());
        set.failed.push(Failed { what: "tuple".to_owned(), why: "no".to_owned() });
        report.sets = report.sets.into_iter().map(SetReport::judged).collect();
        let text = report.markdown();
        assert!(text.contains("**rte_acl was not measured**: DPDK cannot be had."), "{text}");
        assert!(text.contains("| uniform |   100 % | 20.0 / 22.0 / 30.0 |       - |"), "{text}");
        assert!(text.contains("- at 10k no lookup above 30 ns: 1 of 1"), "{text}");
        assert!(!text.contains("as the peer"), "{text}");
        assert!(text.ends_with("- shared/acl1_10k: tuple: no\n"), "{text}");
    }

    #[test]
    fn figures_are_rounded_for_reading() {
        let texts = [673.0 * 1024.0, 1.26 * 1024.0 * 1024.0, 834.4e6].map(memory);
        assert_eq!(texts, ["673 KiB", "1.3 MiB", "796 MiB"]);
        assert_eq!([0.123, 12.34, 1234.5].map(milliseconds), ["0.12", "12.3", "1234"]);
    }
}
