//! `fragments:` and `packets:`: how much is held of what comes in pieces, and how strictly frames
//! are read.

use super::file::{FragmentsFile, PacketsFile};
use super::{MAX_FRAMES, Reader};
use crate::diagnostic::shown;
use crate::yaml::Text;
use dataplane::{Checksums, FragmentConfig, Ipv4Options, ParseOptions, Rings, Tunnels};

/// Fewest bytes of fragments: room for the longest datagram.
const MIN_BYTES: u64 = 65_536;
/// Most bytes of fragments: 4 GiB, what the most frames hold.
const MAX_BYTES: u64 = 4 << 30;
/// Most incomplete datagrams.
const MAX_DATAGRAMS: u32 = 1_048_576;
/// Most fragments of a datagram: 65,535 bytes, eight by eight.
const MAX_FRAGMENTS: u16 = 8_192;
/// Longest time for a datagram to get whole, seconds; no receiver waits longer than 60 (RFC 8200,
/// 4.5).
const MAX_WAIT: u64 = 120;
/// Fewest bytes of the longest frame: an Ethernet header, and what every IPv6 link carries (RFC
/// 8200, 5).
const MIN_FRAME: u32 = 14 + 1_280;
/// Most bytes of the longest frame: an Ethernet header with two VLAN tags, and the longest packet.
const MAX_FRAME: u32 = 22 + 65_535;

/// The IPv4 options by name.
const IPV4_OPTIONS: [(&str, Ipv4Options); 5] = [
    ("record_route", Ipv4Options::RECORD_ROUTE),
    ("loose_source_route", Ipv4Options::LOOSE_SOURCE_ROUTE),
    ("strict_source_route", Ipv4Options::STRICT_SOURCE_ROUTE),
    ("timestamp", Ipv4Options::TIMESTAMP),
    ("router_alert", Ipv4Options::ROUTER_ALERT),
];

impl Reader<'_> {
    /// The bounds of fragments beside `rings`, whose frames they are held in.
    pub(super) fn fragments(&mut self, file: &FragmentsFile, rings: &Rings) -> FragmentConfig {
        let default = FragmentConfig::default();
        // Of the smallest umem, too, the rings keep the most.
        let usual = default.max_frames.min((rings.frames / 4).max(1));
        let max_frames = self.number_or(file.max_frames.as_ref(), 1..=MAX_FRAMES, usual);
        if let Some(text) = &file.max_frames
            && max_frames > rings.frames / 2
        {
            let message = format!(
                "{max_frames} frames of fragments are more than half of the {} frames of a worker \
                 (`rings: frames:`), which the rings need: at most {} can be held",
                rings.frames,
                rings.frames / 2
            );
            self.report.error(text, message);
        }
        FragmentConfig {
            max_frames,
            max_bytes: self.number_or(
                file.max_bytes.as_ref(),
                MIN_BYTES..=MAX_BYTES,
                default.max_bytes,
            ),
            max_datagrams: self.number_or(
                file.max_datagrams.as_ref(),
                1..=MAX_DATAGRAMS,
                default.max_datagrams,
            ),
            max_fragments: self.number_or(
                file.max_fragments.as_ref(),
                2..=MAX_FRAGMENTS,
                default.max_fragments,
            ),
            max_datagrams_per_source: self.number_or(
                file.max_per_source.as_ref(),
                1..=u16::MAX,
                default.max_datagrams_per_source,
            ),
            timeout: self.seconds_or(file.timeout.as_ref(), 1..=MAX_WAIT, default.timeout),
        }
    }

    pub(super) fn packets(&mut self, file: &PacketsFile) -> ParseOptions {
        let strict = ParseOptions::STRICT;
        ParseOptions {
            max_frame: self.number_or(
                file.max_frame.as_ref(),
                MIN_FRAME..=MAX_FRAME,
                strict.max_frame,
            ),
            checksums: self.choice(
                file.checksums.as_ref(),
                &[
                    ("verify", Checksums::Verify),
                    ("accept_partial", Checksums::AcceptPartial),
                    ("off", Checksums::Off),
                ],
            ),
            ipv4_options: self.ipv4_options(file.ipv4_options.as_deref().unwrap_or_default()),
            ipv6_hop_by_hop_options: self.flag(file.ipv6_hop_by_hop_options.as_ref()),
            ipv6_source_routes: self.flag(file.ipv6_source_routes.as_ref()),
            ipv6_unknown_headers: self.flag(file.ipv6_unknown_headers.as_ref()),
            // The policy's word.
            inside: Tunnels::NONE,
        }
    }

    fn ipv4_options(&mut self, listed: &[Text]) -> Ipv4Options {
        let mut options = Ipv4Options::NONE;
        for text in listed {
            let name = text.value.as_str();
            match IPV4_OPTIONS.iter().find(|(known, _)| *known == name) {
                Some((_, option)) if options.contains(*option) => {
                    self.report.error(text, format!("`{name}` is in the list twice"));
                }
                Some((_, option)) => options = options.with(*option),
                None => {
                    let known = IPV4_OPTIONS.map(|(known, _)| known);
                    let hint = self.report.hint(name, known);
                    let known = known.map(|known| format!("`{known}`")).join(", ");
                    let message = format!("`{}` is none of {known}{hint}", shown(name));
                    self.report.error(text, message);
                }
            }
        }
        options
    }

    /// Whether something that does not pass by default does.
    fn flag(&mut self, text: Option<&Text>) -> bool {
        self.choice(text, &[("true", true), ("false", false)])
    }
}
