//! The rule sets of a contest, and their traces.

use super::goals::Scale;
use super::{Error, Result};
use crate::classbench::{Flags, Header, read_rules, read_trace, write_rules, write_trace};
use crate::engines::{self, Cost};
use crate::rulesets::{self, SetConfig, Structure};
use crate::search::{self, SearchConfig};
use crate::traces::{self, Pattern};
use clap::ValueEnum;
use classifier::{PacketKey, Rule};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// What is to be measured.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Neither sets of 100,000 rules nor all traces.
    pub quick: bool,
    /// Only sets whose names contain one of these; all, if there are none.
    pub names: Vec<String>,
    /// Rules of generated sets; by default 1,000, 10,000 and, unless quick, 100,000.
    pub rules: Vec<usize>,
    /// The folder of published sets.
    pub shared: Option<PathBuf>,
}

/// A rule set, not read or made yet.
#[derive(Clone, Debug)]
pub struct Set {
    /// `generated/acl1_10k_v6`, or `shared/` and the file's name.
    pub name: String,
    /// Whether its rules name nothing but the five-tuple, which is all that the peer knows.
    pub five_tuple: bool,
    quick: bool,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Generated(SetConfig),
    Shared {
        rules: PathBuf,
        /// With their names.
        traces: Vec<(&'static str, PathBuf)>,
    },
}

/// The sets selected: those made here, then those found.
///
/// # Errors
/// If the folder of published sets is not as it should be, or no set has such a name.
pub fn select(selection: &Selection) -> Result<Vec<Set>> {
    let mut sets = generated(selection);
    if let Some(shared) = &selection.shared {
        for family in ["v4", "v6"] {
            sets.extend(published(shared, family, selection.quick)?);
        }
    }
    let names = &selection.names;
    sets.retain(|set| names.is_empty() || names.iter().any(|name| set.name.contains(name)));
    if sets.is_empty() {
        return Err(Error::new(format!("no rule set's name contains {}", names.join(" or "))));
    }
    Ok(sets)
}

fn generated(selection: &Selection) -> Vec<Set> {
    let sizes: &[usize] = match (&selection.rules[..], selection.quick) {
        ([], true) => &[1_000, 10_000],
        ([], false) => &[1_000, 10_000, 100_000],
        (rules, _) => rules,
    };
    let mut sets = Vec::new();
    for &rules in sizes {
        for &structure in Structure::value_variants() {
            for (family, v6_percent) in [("", 0), ("_v6", 100)] {
                let config = SetConfig::new(structure, rules, 1);
                let size = match rules % 1000 {
                    0 => format!("{}k", rules / 1000),
                    _ => rules.to_string(),
                };
                sets.push(Set {
                    name: format!("generated/{structure:?}_{size}{family}").to_lowercase(),
                    five_tuple: structure != Structure::Identity,
                    quick: selection.quick,
                    source: Source::Generated(SetConfig { v6_percent, ..config }),
                });
            }
        }
    }
    sets
}

/// The sets of a folder and the traces that go with them, smallest first.
fn published(shared: &Path, family: &str, quick: bool) -> Result<Vec<Set>> {
    let failed =
        |path: &Path, why: &dyn std::fmt::Display| Error::new(format!("{}: {why}", path.display()));
    let dir = shared.join(family);
    let mut sets = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|why| failed(&dir, &why))? {
        let rules = entry.map_err(|why| failed(&dir, &why))?.path();
        let file = rules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = file.strip_suffix(".xz").unwrap_or(&file);
        let thousands = name
            .rsplit_once('_')
            .and_then(|(_, size)| size.strip_suffix('k')?.parse::<usize>().ok())
            .ok_or_else(|| failed(&rules, &"expected a name that ends like acl1_10k"))?;
        if quick && Scale::of(thousands * 1000) == Scale::Large {
            continue;
        }
        let of_set = [("trace", format!("{name}_trace")), ("xtrace", format!("{name}_xtrace"))];
        let random = (family == "v4" && !quick).then(|| ("rand_trace", "rand_trace".to_owned()));
        let traces = of_set
            .into_iter()
            .chain(random)
            .map(|(kind, file)| (kind, shared.join("traces").join(file + ".xz")))
            .filter(|(_, path)| path.exists())
            .collect();
        let set = Set {
            name: format!("shared/{name}"),
            five_tuple: true,
            quick,
            source: Source::Shared { rules, traces },
        };
        sets.push((thousands, set));
    }
    sets.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.name.cmp(&y.name)));
    Ok(sets.into_iter().map(|(_, set)| set).collect())
}

/// A rule set in memory and in the files that both programs read.
pub struct Prepared {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The same, as a file.
    pub file: PathBuf,
    /// Its traces.
    pub traces: Vec<Trace>,
    /// Cache lines of the costliest header that the search found, for the compiled engine.
    pub worst_found: usize,
}

/// A trace, likewise.
pub struct Trace {
    /// What its headers are like, in a word.
    pub name: &'static str,
    /// The headers.
    pub keys: Vec<PacketKey>,
    /// The same, as a file.
    pub file: PathBuf,
}

impl Set {
    /// Makes or reads the rules and the traces, of at most `packets` headers each, and writes them
    /// into `dir`.
    ///
    /// # Errors
    /// If something cannot be read, made or written.
    pub fn prepare(&self, dir: &Path, packets: usize) -> Result<Prepared> {
        let rules = match &self.source {
            Source::Generated(config) => rulesets::generate(*config),
            Source::Shared { rules, .. } => {
                read_rules(rules, Flags::Ignored).map_err(Error::new)?
            }
        };
        let file = dir.join("rules");
        write(&file, |out| write_rules(out, &rules))?;

        let drawn = |pattern| traces::generate(&rules, pattern, packets, 1);
        let uniform_and_mixed =
            || vec![("uniform", drawn(Pattern::Uniform)), ("mixed", drawn(Pattern::Mixed))];
        let mut made: Vec<(&'static str, Vec<Header>)> = match &self.source {
            Source::Generated(_) => {
                let mut made = uniform_and_mixed();
                if !self.quick {
                    made.push(("random", drawn(Pattern::Random)));
                    made.push(("zipf", drawn(Pattern::ZIPF)));
                }
                made
            }
            Source::Shared { traces, .. } => {
                // The random trace is of no set.
                let own = traces.iter().any(|(name, _)| *name != "rand_trace");
                let mut made = if own { Vec::new() } else { uniform_and_mixed() };
                for (name, path) in traces {
                    let mut headers = read_trace(path, Flags::Ignored).map_err(Error::new)?;
                    headers.truncate(packets);
                    made.push((name, headers));
                }
                made
            }
        };
        let worst = worst(&rules, self.quick)?;
        if !self.quick {
            let keys = worst.iter().map(|found| Header::from(found.key));
            made.push(("worst", keys.cycle().take(packets).collect()));
        }
        let mut traces = Vec::new();
        for (name, headers) in made {
            let file = dir.join(name);
            write(&file, |out| write_trace(out, &headers))?;
            let keys = headers.into_iter().map(|header| header.key).collect();
            traces.push(Trace { name, keys, file });
        }
        let worst_found = worst.first().map_or(0, |found| found.cost);
        Ok(Prepared { rules, file, traces, worst_found })
    }
}

/// The costliest headers for the compiled engine.
fn worst(rules: &[Rule], quick: bool) -> Result<Vec<search::Found>> {
    let table = engines::compile(rules.to_vec()).map_err(Error::new)?;
    let cost = |key: &PacketKey| Cost::cost(&table, key);
    let default = SearchConfig::default();
    let climbs = if quick { default.climbs / 4 } else { default.climbs };
    Ok(search::worst(rules, &cost, SearchConfig { climbs, ..default }))
}

fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let written = File::create(path).and_then(|file| content(&mut BufWriter::new(file)));
    written.map_err(|why| Error::new(format!("{}: {why}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(selection: &Selection) -> Vec<String> {
        select(selection).unwrap().into_iter().map(|set| set.name).collect()
    }

    #[test]
    fn generated_sets_are_of_every_structure_size_and_family() {
        let all = names(&Selection::default());
        assert_eq!(all.len(), 6 * 3 * 2);
        assert!(all.contains(&"generated/fw2_100k_v6".to_owned()), "{all:?}");
        let quick = Selection { quick: true, ..Selection::default() };
        assert_eq!(names(&quick).len(), 6 * 2 * 2);
        let few = Selection { names: vec!["acl1_1k".to_owned(), "ipc1_1k_v6".to_owned()], ..quick };
        assert_eq!(
            names(&few),
            ["generated/acl1_1k", "generated/acl1_1k_v6", "generated/ipc1_1k_v6"]
        );
        let none = Selection { names: vec!["acl9".to_owned()], ..Selection::default() };
        assert_eq!(select(&none).unwrap_err().to_string(), "no rule set's name contains acl9");
    }

    #[test]
    fn published_sets_come_with_the_traces_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let rule = "@10.0.0.0/8\t0.0.0.0/0\t0 : 65535\t80 : 80\t0x06/0xFF\n";
        for folder in ["v4", "v6", "traces"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for name in ["b_10k", "b_1k", "a_100k"] {
            fs::write(dir.path().join("v4").join(name), rule).unwrap();
        }
        let shared = Some(dir.path().to_owned());
        let names_of = vec!["shared".to_owned()];
        let selection = Selection { shared, names: names_of, ..Selection::default() };
        assert_eq!(names(&selection), ["shared/b_1k", "shared/b_10k", "shared/a_100k"]);
        let quick = Selection { quick: true, ..selection.clone() };
        assert_eq!(names(&quick), ["shared/b_1k", "shared/b_10k"]);

        // Without a trace of its own, a set gets two that are made.
        let out = tempfile::tempdir().unwrap();
        let prepared = select(&quick).unwrap()[0].prepare(out.path(), 50).unwrap();
        let traces: Vec<_> =
            prepared.traces.iter().map(|trace| (trace.name, trace.keys.len())).collect();
        assert_eq!(traces, [("uniform", 50), ("mixed", 50)]);
        assert_eq!(prepared.rules.len(), 1);
        assert_eq!(read_rules(&prepared.file, Flags::Read).unwrap(), prepared.rules);
        assert!(prepared.worst_found > 0);

        fs::write(dir.path().join("v6/notes"), rule).unwrap();
        let odd = select(&selection).unwrap_err().to_string();
        assert!(odd.ends_with("v6/notes: expected a name that ends like acl1_10k"), "{odd}");
    }

    #[test]
    fn generated_sets_have_every_trace_and_the_quick_run_two() {
        let dir = tempfile::tempdir().unwrap();
        let names = vec!["identity".to_owned()];
        let all = Selection { rules: vec![120], names, ..Selection::default() };
        let sets = select(&all).unwrap();
        assert!(sets[0].name == "generated/identity_120" && !sets[0].five_tuple);
        let traces = |set: &Set| {
            let prepared = set.prepare(dir.path(), 30).unwrap();
            prepared.traces.iter().map(|trace| trace.name).collect::<Vec<_>>()
        };
        assert_eq!(traces(&sets[0]), ["uniform", "mixed", "random", "zipf", "worst"]);
        let quick = select(&Selection { quick: true, ..all }).unwrap();
        assert_eq!(traces(&quick[1]), ["uniform", "mixed"]);
    }
}
