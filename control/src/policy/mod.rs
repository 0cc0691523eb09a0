//! The policy: who may talk to whom.
//!
//! `file -> model (validated) -> classifier rules -> table`. [`Policy::parse`] answers with a
//! policy in which everything is right, or with everything that is wrong; a [`Compiler`] makes it a
//! table of the data path, out of the table before where it can, and audits it.

mod audit;
mod compile;
mod conditions;
mod edits;
mod file;
mod guard;
mod lowering;
mod model;
mod validate;
mod values;
mod zones;

pub use audit::{Audit, HidingRule, Warning, WarningCode};
pub use compile::{Compiler, Made, compile};
pub(crate) use conditions::Conditions;
pub use lowering::{Lowered, MAX_ENTRIES};
pub(crate) use model::{Detail, End, Service};
pub use model::{Policy, Rule, Zone, established_word};
pub(crate) use values::{TCP_FLAGS, family_of, mac_text};
pub use zones::{MAX_ZONES, ZoneMap};

use crate::diagnostic::{Diagnostics, LoadError};
use crate::yaml;
use std::path::Path;

impl Policy {
    /// Reads the policy in `text`; `file_name` is what diagnostics call it.
    ///
    /// # Errors
    /// Everything that is wrong, by line.
    pub fn parse(file_name: &str, text: &str) -> Result<Policy, Diagnostics> {
        validate::policy(file_name, text, yaml::read(file_name, text)?)
    }

    /// Reads the policy file at `path`.
    ///
    /// # Errors
    /// [`LoadError`]: the file cannot be read, or its contents are wrong.
    pub fn load(path: impl AsRef<Path>) -> Result<Policy, LoadError> {
        let path = path.as_ref();
        let text =
            yaml::text_of(path).map_err(|error| LoadError::Io { path: path.to_owned(), error })?;
        Ok(Policy::parse(&path.display().to_string(), &text)?)
    }
}
