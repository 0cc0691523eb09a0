//! The numbers that zones go by in packet keys and tables.

use super::model::Policy;
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use classifier::ZoneId;
use std::collections::HashMap;

/// Most zones in a policy: zone numbers have 16 bits, and the top ones are kept back.
pub const MAX_ZONES: usize = 65_000;

/// Zone names and their numbers, dense from 0.
///
/// A running gateway keeps one map for life, of the zones its ports belong to, so that a zone means
/// the same number before and after a policy is replaced. Replay numbers the zones of its policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneMap {
    names: Vec<String>,
    ids: HashMap<String, ZoneId>,
}

impl ZoneMap {
    /// The zones of `policy` in the order of its file.
    pub fn of(policy: &Policy) -> Self {
        ZoneMap::from_names(policy.zones().iter().map(|zone| zone.name.as_str()))
    }

    /// These zones in this order; a name that comes again keeps its first number.
    ///
    /// # Panics
    /// If there are more than [`MAX_ZONES`].
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut map = ZoneMap::default();
        for name in names {
            if map.ids.contains_key(name) {
                continue;
            }
            assert!(map.names.len() < MAX_ZONES, "more than {MAX_ZONES} zones");
            map.ids.insert(name.to_owned(), ZoneId(map.names.len() as u16));
            map.names.push(name.to_owned());
        }
        map
    }

    /// The number of the zone called `name`.
    pub fn id(&self, name: &str) -> Option<ZoneId> {
        self.ids.get(name).copied()
    }

    /// The name of a zone; `None` for [`ZoneId::UNKNOWN`] and for zones without a port.
    pub fn name(&self, id: ZoneId) -> Option<&str> {
        self.names.get(usize::from(id.0)).map(String::as_str)
    }

    /// Names in the order of their numbers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of each zone of `policy`, in its order: those of this map keep theirs, others
    /// come after. No packet carries these: they have no port.
    ///
    /// # Errors
    /// When the policy lacks zones of this map: their ports would belong to nothing.
    pub(super) fn number(&self, policy: &Policy) -> Result<Vec<ZoneId>, Diagnostics> {
        let mut next = self.names.len() as u16;
        let mut fresh = || {
            next += 1;
            ZoneId(next - 1)
        };
        let known = policy.zones.iter().filter(|zone| self.ids.contains_key(&zone.name)).count();
        if known < self.names.len() {
            return Err(self.missing_from(policy));
        }
        Ok(policy.zones.iter().map(|z| self.id(&z.name).unwrap_or_else(&mut fresh)).collect())
    }

    fn missing_from(&self, policy: &Policy) -> Diagnostics {
        let names = || policy.zones.iter().map(|zone| zone.name.as_str());
        let missing = self.names.iter().filter(|name| names().all(|known| known != **name));
        let diagnostic = |name: &String| {
            let hint = did_you_mean(name, names());
            let message =
                format!("the policy lacks zone `{name}`, to which a port of the gateway belongs");
            Diagnostic::about(policy.file(), message + &hint)
        };
        Diagnostics(missing.map(diagnostic).collect())
    }
}
