//! Reads case files.

use std::collections::HashMap;

/// A case file.
pub(super) struct Topic {
    pub name: String,
    pub protocol: String,
    pub cases: Vec<Case>,
}

/// One flow.
#[derive(Clone)]
pub(super) struct Case {
    pub name: String,
    pub lines: Vec<Line>,
}

/// One packet.
#[derive(Clone)]
pub(super) struct Line {
    pub number: usize,
    /// The packet, or a `config` line.
    pub input: String,
    /// What happens to it; empty for a `config` line.
    pub expected: String,
    /// Why Linux conntrack does otherwise.
    pub kernel: Option<String>,
}

/// A case or setup as written, with its values not yet put in.
struct Block<'a> {
    title: &'a str,
    each: Vec<(&'a str, Vec<&'a str>)>,
    with: Vec<Vec<&'a str>>,
    lines: Vec<(usize, &'a str)>,
}

impl Topic {
    pub fn read(name: &str, text: &str) -> Topic {
        let mut topic = Topic { name: name.to_owned(), protocol: String::new(), cases: Vec::new() };
        let mut setups: HashMap<String, Vec<Line>> = HashMap::new();
        let mut each = Vec::new();
        let mut blocks: Vec<(bool, Block)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let at = || format!("{name}:{}", index + 1);
            let line = line.trim();
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "" => {}
                _ if word.starts_with('#') => {}
                "protocol" => topic.protocol = rest.to_owned(),
                "each" => {
                    let (name, values) = rest.split_once(' ').unwrap_or_else(|| panic!("{}", at()));
                    each.push((name, values.split_whitespace().collect()));
                }
                "case" | "setup" => {
                    let each = std::mem::take(&mut each);
                    let block = Block { title: rest, each, with: Vec::new(), lines: Vec::new() };
                    blocks.push((word == "case", block));
                }
                _ => {
                    let (_, block) = blocks.last_mut().unwrap_or_else(|| panic!("{}", at()));
                    if word == "with" {
                        block.with.push(rest.split_whitespace().collect());
                    } else {
                        block.lines.push((index + 1, line));
                    }
                }
            }
        }
        assert!(each.is_empty(), "{name}: each without a case");
        for (is_case, block) in blocks {
            for (title, own) in block.expand(name) {
                let (title, from) = title.split_once(" from ").unwrap_or((&title, ""));
                let mut lines = Vec::new();
                if !from.is_empty() {
                    let setup = setups.get(from);
                    lines.clone_from(setup.unwrap_or_else(|| panic!("{name}: no setup {from}")));
                }
                lines.extend(own);
                if is_case {
                    topic.cases.push(Case { name: title.to_owned(), lines });
                } else {
                    setups.insert(title.to_owned(), lines);
                }
            }
        }
        topic
    }
}

impl Block<'_> {
    /// The block once for each combination of its values: title and lines.
    fn expand(&self, file: &str) -> Vec<(String, Vec<Line>)> {
        let count = self.each.iter().map(|(_, values)| values.len()).product();
        (0..count)
            .map(|mut nth| {
                let values: Vec<(&str, &str)> = self
                    .each
                    .iter()
                    .map(|(name, values)| {
                        let value = values[nth % values.len()];
                        nth /= values.len();
                        (*name, value)
                    })
                    .collect();
                let put = |text: &str| self.put(text, &values);
                let lines = self.lines.iter().map(|(number, line)| {
                    let line = put(line);
                    assert!(!line.contains('{'), "{file}:{number}: {line}");
                    Line::read(*number, &line)
                });
                (put(self.title), lines.collect())
            })
            .collect()
    }

    /// `text` with the values put in, and what `with` says of them.
    fn put(&self, text: &str, values: &[(&str, &str)]) -> String {
        let mut text = text.to_owned();
        for (name, value) in values {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        for with in &self.with {
            let (name, rest) = with.split_first().expect("with names something");
            let (keys, what) = rest.split_at(values.len());
            if keys.iter().zip(values).all(|(key, (_, value))| key == value) {
                let what = if what == ["-"] { String::new() } else { what.join(" ") };
                text = text.replace(&format!("{{{name}}}"), &what);
            }
        }
        text
    }
}

impl Line {
    fn read(number: usize, text: &str) -> Line {
        let (text, kernel) = match text.split_once(" kernel ") {
            Some((text, kernel)) => (text, Some(kernel.to_owned())),
            None => (text, None),
        };
        let (input, expected) = text.split_once('|').unwrap_or((text, ""));
        let [input, expected] = [input, expected].map(|part| part.trim().to_owned());
        assert!(!expected.is_empty() || input.starts_with("config"), "line {number}: {text}");
        Line { number, input, expected, kernel }
    }
}
