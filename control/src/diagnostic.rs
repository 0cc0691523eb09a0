//! What is wrong in a file, and where.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// One thing wrong in one file.
///
/// Displays as `policy.yaml:12:7: message`; with `{:#}` the source line and a caret under the
/// column follow, where the text of the file is at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Diagnostic {
    /// Name of the file, as the user gave it.
    pub file: String,
    /// Line, from 1; absent when the message is about the file as a whole.
    pub line: Option<u32>,
    /// Column in characters, from 1.
    pub column: Option<u32>,
    /// What is wrong and how to repair it: one line, without control characters.
    pub message: String,
    /// The text of the line.
    #[serde(skip)]
    source: Option<String>,
}

/// Columns of source shown around the caret.
const SHOWN_COLUMNS: usize = 100;

impl Diagnostic {
    /// A message about `file` as a whole.
    pub fn about(file: impl Into<String>, message: impl AsRef<str>) -> Self {
        Diagnostic {
            file: printable(&file.into()),
            line: None,
            column: None,
            message: printable(message.as_ref()),
            source: None,
        }
    }

    /// The same, at a place in the file.
    pub(crate) fn at(mut self, place: Place) -> Self {
        if place.line > 0 {
            self.line = Some(place.line);
            self.column = Some(place.column);
        }
        self
    }

    /// Gives diagnostics about the file with this text the lines they point at.
    pub(crate) fn show_sources<'d>(all: impl IntoIterator<Item = &'d mut Diagnostic>, text: &str) {
        let mut lines = None;
        for diagnostic in all {
            let Some(line) = diagnostic.line else { continue };
            let lines = lines.get_or_insert_with(|| lines_of(text).collect::<Vec<_>>());
            let source = (line as usize).checked_sub(1).and_then(|line| lines.get(line));
            diagnostic.source = source.map(|&line| line.to_owned());
        }
    }

    /// The source line cut to a window around the column, and the caret's position in it.
    fn excerpt(&self) -> Option<(String, usize)> {
        let source = self.source.as_ref()?;
        let column = (self.column? as usize).saturating_sub(1);
        let first = column.saturating_sub(SHOWN_COLUMNS / 2);
        let shown = source.chars().skip(first).take(SHOWN_COLUMNS);
        let shown = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        Some((shown, column - first))
    }
}

/// The lines of `text` as YAML counts them (1.2, 5.4): a carriage return ends one, too.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let line = line.strip_suffix("\r\n").or(line.strip_suffix('\n')).unwrap_or(line);
        line.split('\r')
    })
}

impl Diagnostic {
    /// As [`Display`](fmt::Display) does, with `kind` before the message.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, kind: &str) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {kind}{}", self.message)?;
        if let (true, Some(line), Some((source, caret))) =
            (f.alternate(), self.line, self.excerpt())
        {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n {number} | {source}\n {margin} | {}^", " ".repeat(caret))?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

/// Everything wrong in one file, in the order of its lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Diagnostics(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    /// One diagnostic a line; with `{:#}` each with its source line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Why a file could not be taken.
#[derive(Debug)]
pub enum LoadError {
    /// It could not be read.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It was read, and its contents are wrong.
    Invalid(Diagnostics),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Io { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            LoadError::Invalid(diagnostics) => diagnostics.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Io { error, .. } => Some(error),
            LoadError::Invalid(_) => None,
        }
    }
}

impl From<Diagnostics> for LoadError {
    fn from(diagnostics: Diagnostics) -> Self {
        LoadError::Invalid(diagnostics)
    }
}

/// A place in a file: line and column from 1, or 0 where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// Most diagnostics kept: a hostile file can be wrong in a million places.
const KEPT: usize = 100;

/// Collects what is wrong in one file, so that all of it is reported together.
pub(crate) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<(Place, String)>,
    beyond: usize,
}

impl<'a> Report<'a> {
    /// An empty report on `file`, whose text is `text`.
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Report { file, text, found: Vec::new(), beyond: 0 }
    }

    /// Adds a message about `place`.
    pub(crate) fn error(&mut self, place: impl Into<Place>, message: impl Into<String>) {
        if self.found.len() < KEPT {
            self.found.push((place.into(), message.into()));
        } else {
            self.beyond += 1;
        }
    }

    /// Whether nothing was wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// [`did_you_mean`], unless the message would not be kept: comparing names is not free.
    pub(crate) fn hint<'n>(&self, name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
        if self.found.len() < KEPT { did_you_mean(name, known) } else { String::new() }
    }

    /// `value` if nothing was wrong.
    ///
    /// # Errors
    /// Everything that was, by line.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.is_empty() { Ok(value) } else { Err(self.into_diagnostics()) }
    }

    /// Everything that was wrong, by line.
    pub(crate) fn into_diagnostics(mut self) -> Diagnostics {
        self.found.sort();
        let diagnostic =
            |(place, message): &(Place, String)| Diagnostic::about(self.file, message).at(*place);
        let mut all: Vec<_> = self.found.iter().map(diagnostic).collect();
        Diagnostic::show_sources(&mut all, self.text);
        if self.beyond > 0 {
            let message = format!("{} more errors are not shown", self.beyond);
            all.push(Diagnostic::about(self.file, message));
        }
        Diagnostics(all)
    }
}

/// `; did you mean ...?` for the name among `known` closest to `name`, or nothing when none is
/// close.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const LONGEST: usize = 64;
    // A third of the letters may be wrong: more, and the guess misleads.
    let allowed = (name.len() / 3).clamp(1, 4);
    let distance = |k: &str| match k.eq_ignore_ascii_case(name) {
        true => 0,
        false => strsim::osa_distance(name, k),
    };
    // The distance is at least the difference in length: do not pay for comparing those.
    let near = |k: &&str| k.len().abs_diff(name.len()) <= allowed && k.len() <= LONGEST;
    let best = known.into_iter().filter(near).map(|k| (distance(k), k)).min();
    match best {
        Some((distance, k)) if distance <= allowed => format!("; did you mean `{k}`?"),
        _ => String::new(),
    }
}

/// `text` cut to a length that fits in a message.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// `text` with control characters escaped: file contents must not drive the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostic {
        let text = "zones: {}\nrules:\n  - from: server\n";
        let mut sample = Diagnostic::about("policy.yaml", "unknown zone `server`")
            .at(Place { line: 3, column: 11 });
        Diagnostic::show_sources([&mut sample], text);
        sample
    }

    #[test]
    fn displays_on_one_line_and_alternately_with_its_source() {
        assert_eq!(sample().to_string(), "policy.yaml:3:11: unknown zone `server`");
        assert_eq!(
            format!("{:#}", sample()),
            "policy.yaml:3:11: unknown zone `server`\n 3 |   - from: server\n   |           ^"
        );
    }

    #[test]
    fn json_has_file_line_column_and_message_only() {
        let json = serde_json::to_value(sample()).unwrap();
        let expected = serde_json::json!({
            "file": "policy.yaml", "line": 3, "column": 11, "message": "unknown zone `server`"
        });
        assert_eq!(json, expected);
        let back: Diagnostic = serde_json::from_value(json).unwrap();
        assert_eq!(back.to_string(), sample().to_string());
    }

    #[test]
    fn the_caret_stays_in_view_on_a_very_long_line() {
        let text = "x".repeat(100_000);
        let mut diagnostic = Diagnostic::about("p", "m").at(Place { line: 1, column: 70_000 });
        Diagnostic::show_sources([&mut diagnostic], &text);
        let shown = format!("{diagnostic:#}");
        let longest = shown.lines().map(str::len).max().unwrap();
        assert!(longest < 120, "{longest}");
        assert!(shown.ends_with('^'));
    }

    #[test]
    fn control_characters_are_escaped() {
        let diagnostic = Diagnostic::about("p\u{1b}[2J", "name `\u{1b}[31m\n`");
        assert!(!diagnostic.to_string().contains(|c: char| c.is_control()));
    }

    #[test]
    fn a_report_is_sorted_by_place_and_bounded() {
        let text: String = (1..=1_000).map(|n| format!("line {n}\n")).collect();
        let mut report = Report::new("p", &text);
        for line in (1..=1_000).rev() {
            report.error(Place { line, column: 1 }, "wrong");
        }
        let Diagnostics(all) = report.finish(()).unwrap_err();
        assert_eq!(all.len(), KEPT + 1);
        assert!(all[..KEPT].is_sorted_by_key(|d| d.line));
        for d in &all[..KEPT] {
            assert_eq!(d.source.as_deref(), Some(&*format!("line {}", d.line.unwrap())));
        }
        assert_eq!(all[KEPT].message, "900 more errors are not shown");
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(did_you_mean("server", ["servers", "clients"]), "; did you mean `servers`?");
        assert_eq!(did_you_mean("clinets", ["servers", "clients"]), "; did you mean `clients`?");
        assert_eq!(did_you_mean("Web", ["web"]), "; did you mean `web`?");
        assert_eq!(did_you_mean("office", ["servers", "clients"]), "");
    }
}
