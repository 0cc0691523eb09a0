//! YAML read strictly: every scalar as the text that was written, every value with its place.
//!
//! Scalars are read as text and understood by us, so that nothing is silently taken for another
//! thing (`no` for false, `22:22` for a base-60 number, `010` for eight) and one pass can report
//! all that is wrong with them.

use crate::diagnostic::{Diagnostic, Place, Report, did_you_mean, shown};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, MessageFormatter, Options, Spanned, UserMessageFormatter};
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

/// Most bytes in a file: room for the million classifier rules that a policy may become.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// A scalar as written, and where.
pub(crate) type Text = Spanned<String>;

impl<T> From<&Spanned<T>> for Place {
    fn from(spanned: &Spanned<T>) -> Self {
        place(spanned.referenced)
    }
}

fn place(location: Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: number(location.line()), column: number(location.column()) }
}

/// The text of the file at `path`.
///
/// # Errors
/// Those of the system; a file over the limit of 64 MiB, or not UTF-8, is `InvalidData`.
pub(crate) fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    if text.len() > MAX_BYTES {
        let message = format!("it is larger than the limit of {} MiB", MAX_BYTES >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

/// Reads the one document of `text`.
///
/// # Errors
/// What the YAML, its shape or its size got wrong: the first such thing, as what follows it
/// cannot be read.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Diagnostic> {
    if text.len() > MAX_BYTES {
        let message = format!("the file is larger than the limit of {} MiB", MAX_BYTES >> 20);
        return Err(Diagnostic::about(file, message));
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let (error, place) = located(&error);
        let mut diagnostic = Diagnostic::about(file, message(error)).at(place);
        Diagnostic::show_sources([&mut diagnostic], text);
        diagnostic
    })
}

impl Report<'_> {
    /// What the word `text` stands for among `choices`; `None`, and an error that calls it `what`,
    /// when it is none of them.
    pub(crate) fn word<T: Copy>(
        &mut self,
        text: &Text,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let given = text.value.as_str();
        if let Some((_, meaning)) = choices.iter().find(|(word, _)| *word == given) {
            return Some(*meaning);
        }
        let words = || choices.iter().map(|(word, _)| *word);
        let hint = self.hint(given, words());
        let known: Vec<_> = words().map(|word| format!("`{word}`")).collect();
        let known = match &known[..] {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => known.concat(),
        };
        self.error(text, format!("unknown {what} `{}`: {known}{hint}", shown(given)));
        None
    }

    /// Reports any `version` of a file's language but 1; whether it is 1.
    pub(crate) fn check_version(&mut self, version: Option<&Text>) -> bool {
        match version {
            None => self.error(Place::default(), "`version` is missing; write `version: 1`"),
            Some(version) if version.value != "1" => {
                let message = format!(
                    "version `{}` is not known; this program reads version 1",
                    shown(&version.value)
                );
                self.error(version, message);
            }
            Some(_) => return true,
        }
        false
    }
}

/// Limits that an honest file stays far below and that a hostile one (deep nesting, an alias that
/// expands to a million) runs into before it has cost memory.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 12,
            flow_nesting_limit: 12,
            // The second one is refused with a message of its own.
            max_documents: 2,
            max_nodes: 20_000_000,
            max_events: 30_000_000,
            max_aliases: 10_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 1_000_000,
            max_replay_stack_depth: 8,
        },
        reject_unsupported_tags: true,
        strict_booleans: true,
        emit_comments: false,
        with_snippet: false,
    }
}

/// The innermost error, and the best place known for it.
fn located(error: &Error) -> (&Error, Place) {
    let at = error.location().map(place).unwrap_or_default();
    match error.without_snippet() {
        Error::AliasError { error, .. } => (located(error).0, at),
        error => (error, at),
    }
}

/// What went wrong, in the words of somebody who writes policies, not of somebody who writes Rust.
fn message(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("kind", variant, expected),
        Error::SerdeMissingField { field, .. } => format!("`{field}` is missing here"),
        Error::TaggedScalarCannotDeserializeIntoString { .. } => {
            "a tag has no place here".to_owned()
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("`{}` is given twice", shown(key))
        }
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            format!("expected {expected}, found {}", shown(unexpected))
        }
        Error::NullIntoString { .. } => "a value is missing here; to mean the word `null` or `~`, \
                                         put it in quotes"
            .to_owned(),
        Error::Unexpected { expected, .. } if expected.contains("string") => {
            "expected plain text here, found a list or a map; an address that ends in `:` needs \
             quotes"
                .to_owned()
        }
        Error::Unexpected { expected, .. } => match *expected {
            "mapping start" => "expected a map (`key: value`) here".to_owned(),
            "sequence start" => {
                "expected a list (`[...]`, or lines that begin with `-`) here".into()
            }
            expected => format!("expected {expected}"),
        },
        Error::Eof { .. } => "the file is empty".to_owned(),
        Error::MultipleDocuments { .. } => "the file holds more than one YAML document".to_owned(),
        Error::UnknownAnchor { .. } => "the alias (`*`) has no anchor (`&`) before it".to_owned(),
        Error::UnsupportedTag { tag, .. } => format!("the tag `{}` is not known", shown(tag)),
        Error::Budget { breach, .. } => format!("the file is too large or too deep: {breach:?}"),
        Error::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            "expected one key only in this list entry; begin another entry with `-`".to_owned()
        }
        error => UserMessageFormatter.format_message(error).into_owned(),
    }
}

fn unknown(what: &str, given: &str, expected: &[&'static str]) -> String {
    let hint = did_you_mean(given, expected.iter().copied());
    let given = shown(given);
    if hint.is_empty() {
        let known: Vec<_> = expected.iter().map(|e| format!("`{e}`")).collect();
        format!("unknown {what} `{given}`; known here: {}", known.join(", "))
    } else {
        format!("unknown {what} `{given}`{hint}")
    }
}

/// A decimal number in `range`, without sign or leading zero: `010` is eight to some readers and
/// ten to others.
///
/// # Errors
/// The message for the user.
pub(crate) fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    match text.parse() {
        Ok(n) if plain && range.contains(&n) => Ok(n),
        _ => Err(format!(
            "`{}` is not a whole number from {} to {}",
            shown(text),
            range.start(),
            range.end()
        )),
    }
}

/// Whether `text` can name things: 1 to 64 of `A-Z a-z 0-9 . _ -`.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// A map in the order of the file, with the place of every key.
#[derive(Debug)]
pub(crate) struct Entries<T>(pub(crate) Vec<(Text, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

/// One map, or a list of them.
#[derive(Debug)]
pub(crate) struct Maps<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maps<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapsVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for MapsVisitor<T> {
            type Value = Maps<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map or a list of maps")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let one = T::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Maps(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(Maps(all))
            }
        }

        deserializer.deserialize_any(MapsVisitor(PhantomData))
    }
}

/// One name, or a list of them.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) place: Place,
    /// `None` when what is there is neither: a number, say, or a name that YAML takes for one.
    pub(crate) names: Option<Vec<Text>>,
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Spanned::<Given>::deserialize(deserializer)?;
        let place = Place::from(&given);
        let names = match given.value {
            Given::One(name) => Some(vec![Spanned::new(name, given.referenced, given.defined)]),
            Given::Many(names) => Some(names),
            Given::Number(_) | Given::Other => None,
        };
        Ok(Names { place, names })
    }
}

/// One scalar of any kind as text, or a list of them.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) place: Place,
    /// `None` when what is there is neither, or YAML has made something of it that is no text or
    /// whole number.
    pub(crate) values: Option<Vec<Text>>,
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Spanned::<Given>::deserialize(deserializer)?;
        let place = Place::from(&given);
        let one = |text| Some(vec![Spanned::new(text, given.referenced, given.defined)]);
        let values = match given.value {
            Given::One(text) => one(text),
            // What begins with a zero is text to YAML, so that the decimal spelling says the same.
            Given::Number(number) => one(number.to_string()),
            Given::Many(texts) => Some(texts),
            Given::Other => None,
        };
        Ok(Values { place, values })
    }
}

enum Given {
    One(String),
    Number(u64),
    Many(Vec<Text>),
    Other,
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a list of names")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Given, E> {
        Ok(Given::One(name.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Given, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(Given::Many(names))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }

    // YAML has made something else of what was written: the spelling is lost but for numbers, the
    // place is not.

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Given, E> {
        Ok(u64::try_from(number).map_or(Given::Other, Given::Number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Given, E> {
        Ok(Given::Number(number))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Given, E> {
        Ok(Given::Other)
    }
}
