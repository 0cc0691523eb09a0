//! `flows:`: what the flow tables are given.

use super::Reader;
use super::file::{ChallengesFile, FlowsFile, IcmpErrorsFile};
use crate::diagnostic::shown;
use crate::yaml::{Entries, Text};
use dataplane::{ErrorRules, FlowConfig, Rate, Refresh, RstPolicy, Timeouts};
use std::time::Duration;

/// Most flows of one worker.
const MAX_FLOWS: u32 = 16_777_216;
/// Longest idle timeout, seconds: a year.
const MAX_TIMEOUT: u64 = 365 * 24 * 3_600;
/// Longest time in which connections may be picked up, seconds: a day, by which time what is left
/// of them would have been seen.
const MAX_PICK_UP: u64 = 24 * 3_600;
/// Fastest rate, and largest burst.
const MAX_RATE: u32 = 1_000_000;
/// The MTU of Ethernet. To ask more of a path would be to drop errors that are true.
const MTU: u16 = 1_500;

impl Reader<'_> {
    pub(super) fn flows(&mut self, file: &FlowsFile) -> FlowConfig {
        let default = FlowConfig::default();
        let capacity = self.number_or(file.capacity.as_ref(), 1..=MAX_FLOWS, default.capacity);
        let (errors, error_rate) = match &file.icmp_errors {
            Some(file) => self.icmp_errors(file, default.errors, default.error_rate),
            None => (default.errors, default.error_rate),
        };
        let challenges = file.challenges.as_ref();
        let challenge_rate = challenges.map(|file| self.challenges(file, default.challenge_rate));
        FlowConfig {
            capacity,
            capacity_v6: self.number_or(file.capacity_v6.as_ref(), 0..=capacity, capacity / 2),
            quota: self.number_or(file.quota.as_ref(), 0..=capacity, default.quota),
            timeouts: match &file.timeouts {
                Some(listed) => self.timeouts(listed, default.timeouts),
                None => default.timeouts,
            },
            pick_up: self.seconds_or(file.pick_up.as_ref(), 0..=MAX_PICK_UP, default.pick_up),
            rst: self.choice(
                file.tcp_reset.as_ref(),
                &[("window", RstPolicy::Window), ("strict", RstPolicy::Strict)],
            ),
            refresh: self.choice(
                file.refresh.as_ref(),
                &[("opener", Refresh::Opener), ("both", Refresh::Both)],
            ),
            errors,
            error_rate,
            challenge_rate: challenge_rate.unwrap_or(default.challenge_rate),
        }
    }

    fn timeouts(&mut self, listed: &Entries<Text>, mut timeouts: Timeouts) -> Timeouts {
        for (key, text) in &listed.0 {
            let Some(timeout) = timeouts.by_name(&key.value) else {
                let names = || Timeouts::NAMES.iter().map(|(name, _)| *name);
                let mut hint = self.report.hint(&key.value, names());
                if hint.is_empty() {
                    hint = format!("; known here: {}", names().collect::<Vec<_>>().join(", "));
                }
                self.report.error(key, format!("unknown timeout `{}`{hint}", shown(&key.value)));
                continue;
            };
            if let Some(seconds) = self.number(text, 1..=MAX_TIMEOUT) {
                *timeout = Duration::from_secs(seconds);
            }
        }
        timeouts
    }

    fn icmp_errors(
        &mut self,
        file: &IcmpErrorsFile,
        rules: ErrorRules,
        rate: Rate,
    ) -> (ErrorRules, Rate) {
        // RFC 791: every IPv4 link carries 68 octets; RFC 8200: every IPv6 link carries 1280.
        let rules = ErrorRules {
            min_mtu_v4: self.number_or(file.min_mtu_v4.as_ref(), 68..=MTU, rules.min_mtu_v4),
            min_mtu_v6: self.number_or(file.min_mtu_v6.as_ref(), 1_280..=MTU, rules.min_mtu_v6),
        };
        (rules, self.rate(file.per_second.as_ref(), file.burst.as_ref(), rate))
    }

    fn challenges(&mut self, file: &ChallengesFile, rate: Rate) -> Rate {
        self.rate(file.per_second.as_ref(), file.burst.as_ref(), rate)
    }

    fn rate(&mut self, per_second: Option<&Text>, burst: Option<&Text>, default: Rate) -> Rate {
        Rate {
            per_second: self.number_or(per_second, 1..=MAX_RATE, default.per_second),
            burst: self.number_or(burst, 1..=MAX_RATE, default.burst),
        }
    }
}
