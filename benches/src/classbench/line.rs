//! Words and numbers of a line, and the lines of a file.

use super::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// The part of a line that is not read yet.
pub(super) struct Line<'a> {
    rest: &'a str,
}

/// What was expected, and what is there instead.
pub(super) type Result<T> = std::result::Result<T, String>;

impl<'a> Line<'a> {
    pub fn of(text: &'a str) -> Self {
        Line { rest: text }
    }

    /// The word up to a blank, to one of `ends`, or to the end of the line.
    pub fn word(&mut self, ends: &[char], expected: &str) -> Result<&'a str> {
        self.skip_blanks();
        let end = self.rest.find(|c: char| c.is_ascii_whitespace() || ends.contains(&c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() {
            return Err(self.instead(expected));
        }
        self.rest = rest;
        Ok(word)
    }

    /// Takes `mark` if that comes next.
    pub fn take(&mut self, mark: char) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(mark);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub fn expect(&mut self, mark: char, expected: &str) -> Result<()> {
        if self.take(mark) { Ok(()) } else { Err(self.instead(expected)) }
    }

    /// A number from 0 to `max`, in base 16 after `0x`, else in base 10.
    pub fn number(&mut self, ends: &[char], max: u32, what: &str) -> Result<u32> {
        let expected = || format!("{what} from 0 to {max}");
        let word = self.word(ends, &expected())?;
        number(word).filter(|n| *n <= max).ok_or_else(|| instead(&expected(), word))
    }

    /// A number of 16 bits.
    pub fn number_16(&mut self, ends: &[char], what: &str) -> Result<u16> {
        self.number(ends, u16::MAX.into(), what).map(|n| n as u16)
    }

    /// A hardware address: six octets in base 16 with colons between them.
    pub fn mac(&mut self, ends: &[char]) -> Result<[u8; 6]> {
        let expected = "six octets such as 02:00:00:00:00:01";
        let word = self.word(ends, expected)?;
        mac(word).ok_or_else(|| instead(expected, word))
    }

    /// Whether only blanks remain.
    pub fn is_done(&mut self) -> bool {
        self.skip_blanks();
        self.rest.is_empty()
    }

    /// Whether a word `NAME=VALUE` comes next.
    pub fn named_next(&mut self) -> bool {
        self.skip_blanks();
        self.rest.split_ascii_whitespace().next().is_some_and(|word| word.contains('='))
    }

    pub fn yes_or_no(&mut self) -> Result<bool> {
        let expected = "yes or no";
        match self.word(&[], expected)? {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(instead(expected, other)),
        }
    }

    /// The words `NAME=VALUE` up to the end, each given to `field` in turn.
    pub fn named(
        &mut self,
        mut field: impl FnMut(&str, &mut Line<'a>) -> Result<()>,
    ) -> Result<()> {
        while !self.is_done() {
            let name = self.word(&['='], "a field as NAME=VALUE, or the end of the line")?;
            self.expect('=', &format!("= and a value after {name:?}, or the end of the line"))?;
            field(name, self)?;
        }
        Ok(())
    }

    /// A message for what comes next.
    fn instead(&self, expected: &str) -> String {
        instead(expected, self.rest.split_ascii_whitespace().next().unwrap_or(""))
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

/// "expected this, found that".
pub(super) fn instead(expected: &str, found: &str) -> String {
    match found {
        "" => format!("expected {expected}, found the end of the line"),
        _ => format!("expected {expected}, found {found:?}"),
    }
}

fn number(word: &str) -> Option<u32> {
    // No sign, which from_str_radix would take.
    let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_hexdigit());
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) if digits(hex) => u32::from_str_radix(hex, 16).ok(),
        None if digits(word) => word.parse().ok(),
        _ => None,
    }
}

fn mac(word: &str) -> Option<[u8; 6]> {
    let mut octets = word.split(':').map(|octet| {
        let digits = octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(octet, 16).ok().filter(|_| digits)
    });
    let mut address = [0; 6];
    for octet in &mut address {
        *octet = octets.next()??;
    }
    octets.next().is_none().then_some(address)
}

/// The address as it is read.
pub(super) fn mac_text(address: [u8; 6]) -> String {
    address.map(|octet| format!("{octet:02x}")).join(":")
}

/// Parses every line of the file that is not blank.
///
/// # Errors
/// If the file is unreadable, has a line that `parse` refuses, or has none.
pub(super) fn parse_lines<T>(
    path: &Path,
    parse: impl Fn(&mut Line<'_>) -> Result<T>,
) -> std::result::Result<Vec<T>, Error> {
    let text = read(path)?;
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim_ascii().is_empty());
    let parsed: Vec<T> = lines
        .map(|(text, line)| {
            parse(&mut Line::of(text)).map_err(|message| Error::Line {
                path: path.to_owned(),
                line,
                message,
            })
        })
        .collect::<std::result::Result<_, _>>()?;
    if parsed.is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(parsed) }
}

fn read(path: &Path) -> std::result::Result<String, Error> {
    // So that a file that is not there is said to be so, and not what xz says of it.
    let plain = fs::File::open(path).map_err(Error::io(path))?;
    if path.extension().is_none_or(|extension| extension != "xz") {
        return io::read_to_string(plain).map_err(Error::io(path));
    }
    let failed = |why: String| Error::Xz(path.to_owned(), why);
    let mut xz = Command::new("xz");
    let output = xz.args(["--decompress", "--stdout"]).stdin(plain).output().map_err(|error| {
        failed(match error.kind() {
            io::ErrorKind::NotFound => "xz is not installed: install xz-utils, or decompress the \
                                        file by other means and name what comes out"
                .to_owned(),
            _ => format!("cannot run xz: {error}"),
        })
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("xz: {}", said.trim_ascii())));
    }
    String::from_utf8(output.stdout).map_err(|_| failed("not text".to_owned()))
}
