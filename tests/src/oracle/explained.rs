//! Differences between Bulkhead and hardened nftables that have a reason, each a row of
//! `tests/DIFFERENCES.md`.
//!
//! A row says which of the two drops the packet, and of which packets: what is not exactly so stays
//! unexplained.

mod connections;
mod facts;

use super::packet::{End, protocol};
use super::worlds::World;
use std::fmt::Write as _;

/// A packet that only one of the two let through.
pub(super) struct Case<'a> {
    /// The end that sent it.
    pub from: End,
    pub frame: &'a [u8],
    /// What its script sent before it.
    pub earlier: Vec<(End, &'a [u8])>,
    /// What of it both let through.
    pub passed: Vec<(End, &'a [u8])>,
    /// The one that dropped it.
    pub stricter: World,
}

/// A difference that is as it should be.
pub struct Row {
    /// Short name.
    pub id: &'static str,
    /// The one that drops the packet; either, if it depends on the policy.
    stricter: Option<World>,
    /// Why, for the docs.
    pub sentence: &'static str,
    /// Where that is written.
    pub source: &'static str,
    applies: fn(&Case<'_>) -> bool,
}

impl Row {
    /// Which of the two drops the packet.
    pub const fn stricter(&self) -> &'static str {
        match self.stricter {
            Some(World::Gateway) => "Bulkhead",
            Some(World::Nftables) => "nftables",
            None => "either",
        }
    }
}

/// Every row.
pub const ROWS: &[Row] = &[
    Row {
        id: "wrong side",
        stricter: Some(World::Gateway),
        sentence: "An answer must come from the port that leads to the end it answers for. \
                   Connection tracking knows addresses and ports, and lets it pass from anywhere.",
        source: "RFC 2827",
        applies: |case| case.answers_from_the_wrong_side(),
    },
    Row {
        id: "one address",
        stricter: Some(World::Gateway),
        sentence: "Nobody on a network sends to the address it sends from. nftables has no rule that \
                   compares two fields of a packet.",
        source: "CERT CA-1997-28 (\"Land\")",
        applies: |case| case.addresses().is_some_and(|(src, dst)| src == dst),
    },
    Row {
        id: "tag in a priority tag",
        stricter: Some(World::Gateway),
        sentence: "A tag inside a priority tag is of the native VLAN for a switch, and of its own for \
                   Linux, which takes priority tags off before rules are asked.",
        source: "IEEE 802.1Q, 6.9",
        applies: |case| case.vlan() == Some(0) && case.has_two_tags(),
    },
    Row {
        id: "extension headers in disorder",
        stricter: Some(World::Gateway),
        sentence: "Each IPv6 extension header comes once and in the recommended order, destination \
                   options also before a routing header. The exported rules see the first two \
                   headers; behind these nftables takes them as they come.",
        source: "RFC 8200, 4.1",
        applies: |case| case.has_late_disorder(),
    },
    Row {
        id: "extension header cut off",
        stricter: Some(World::Gateway),
        sentence: "An IPv6 extension header ends within its packet. Linux follows a length that leads \
                   beyond the end, and judges by the number that it finds before.",
        source: "RFC 8200, 4.2; Linux, ipv6_find_hdr",
        applies: |case| case.has_extension_cut_off(),
    },
    Row {
        id: "IPv6 options",
        stricter: Some(World::Gateway),
        sentence: "An option that is cut off, padding that is not zero or longer than seven bytes, \
                   more than eight options, a destination option that a receiver who does not know \
                   it must discard, and hop-by-hop options other than router alert. Linux looks at \
                   hop-by-hop options only, and passes those that may be skipped; nftables looks at \
                   none.",
        source: "RFC 8200, 4.2; RFC 4942, 2.1.9.5; RFC 8504, 5.3",
        applies: |case| case.has_refused_ipv6_option(),
    },
    Row {
        id: "UDP length",
        stricter: Some(World::Gateway),
        sentence: "A UDP datagram that ends before its IP packet does leaves bytes that no checksum \
                   covers. nftables has no rule that compares two fields of a packet.",
        source: "RFC 768",
        applies: |case| case.has_bytes_behind_udp(),
    },
    Row {
        id: "TCP options",
        stricter: Some(World::Gateway),
        sentence: "An option that is cut off, of a wrong length, or there twice, and bytes behind the \
                   end of the list, can be read in two ways. Connection tracking passes over them.",
        source: "RFC 9293, 3.1 and 3.2; RFC 7323; RFC 2018",
        applies: |case| case.has_bad_tcp_option(),
    },
    Row {
        id: "SCTP chunks",
        stricter: Some(World::Gateway),
        sentence: "Chunks follow each other to the end of the packet, each with its padding, and an \
                   INIT or INIT ACK has its fixed fields. Connection tracking reads the next header \
                   wherever a length leads, and ends in silence where there is none.",
        source: "RFC 9260, 3.2 and 3.3",
        applies: |case| case.has_broken_chunks(),
    },
    Row {
        id: "old segment",
        stricter: Some(World::Gateway),
        sentence: "A segment that lies further back than the largest window, by its data or by what \
                   it acknowledges, is none that its receiver waits for: whoever guessed it is not \
                   let in. Connection tracking passes it and learns nothing from it.",
        source: "RFC 9293, 3.10.7.4; RFC 5961, 5.2; Linux, tcp_in_window",
        applies: |case| case.lies_behind_the_window(),
    },
    Row {
        id: "numbers of a handshake",
        stricter: Some(World::Gateway),
        sentence: "A SYN-ACK acknowledges the SYN and, sent again, repeats its own number. Connection \
                   tracking ignores one that does not, and passes it.",
        source: "RFC 9293, 3.10.7.3; RFC 5961, 4.2",
        applies: |case| case.is_foreign_syn_ack(),
    },
    Row {
        id: "SCTP before the cookie",
        stricter: Some(World::Gateway),
        sentence: "An association begins with INIT, INIT ACK, COOKIE ECHO and COOKIE ACK, and carries \
                   nothing before the cookie is echoed. Connection tracking passes other chunks \
                   without effect.",
        source: "RFC 9260, 5.1",
        applies: |case| case.comes_before_the_cookie(),
    },
    Row {
        id: "neighbour discovery",
        stricter: Some(World::Gateway),
        sentence: "A message that every receiver must ignore, and one that claims another's address. \
                   nftables looks into none of them.",
        source: "RFC 4861, 6.1 and 7.1; RFC 4443",
        applies: |case| {
            let discovers = |message: &[u8]| matches!(message.first(), Some(133..=137));
            case.upper()
                .is_some_and(|(number, message)| number == protocol::ICMPV6 && discovers(message))
        },
    },
    Row {
        id: "DHCP server",
        stricter: Some(World::Gateway),
        sentence: "Messages of DHCP servers come only from those that a zone names, or their clients \
                   get somebody else's configuration. The exported rules leave them to the policy.",
        source: "RFC 2131; RFC 8415; RFC 7610",
        applies: |case| case.is_from_dhcp_server(),
    },
    Row {
        id: "TTL",
        stricter: Some(World::Nftables),
        sentence: "A router drops a packet that arrives with TTL or hop limit 1; a wire does not \
                   count.",
        source: "RFC 1812, 5.3.1; RFC 8200, 3",
        applies: |case| {
            case.v4().is_some_and(|h| h[8] == 1) || case.v6().is_some_and(|h| h[7] == 1)
        },
    },
    Row {
        id: "station",
        stricter: Some(World::Nftables),
        sentence: "A router takes frames for its own link-layer address; a wire carries all of them.",
        source: "RFC 1812, 5.3.4",
        applies: |case| case.frame[..6] != case.from.router_mac(),
    },
    Row {
        id: "VLAN",
        stricter: Some(World::Nftables),
        sentence: "A router without an interface in the VLAN drops a tagged frame; a wire carries it \
                   with its tag.",
        source: "IEEE 802.1Q",
        applies: |case| case.vlan().is_some_and(|id| id != 0),
    },
    Row {
        id: "address resolution",
        stricter: Some(World::Nftables),
        sentence: "ARP and neighbour discovery stay on their link; the two ends of a wire are one link.",
        source: "RFC 826; RFC 4861, 7.1",
        applies: |case| case.ethertype() == 0x0806 || case.is_neighbour_discovery(),
    },
    Row {
        id: "group or link-local address",
        stricter: Some(World::Nftables),
        sentence: "A router forwards nothing to a group without a multicast route, to the broadcast \
                   address, or from and to IPv6 link-local addresses. On a wire the policy and the \
                   zones' networks decide.",
        source: "RFC 1812, 5.2.1 and 5.3.5; RFC 4291, 2.5.6",
        applies: |case| case.stays_on_its_link(),
    },
    Row {
        id: "ICMP without a state",
        stricter: Some(World::Nftables),
        sentence: "Connection tracking takes ICMP for invalid that is no error, echo, timestamp, \
                   information, address mask or node information, and no multicast listener or \
                   neighbour discovery. For Bulkhead rules can allow any other type.",
        source: "Linux, nf_conntrack_proto_icmp.c and nf_conntrack_proto_icmpv6.c",
        applies: |case| case.is_untracked_icmp(),
    },
    Row {
        id: "no next header",
        stricter: Some(World::Nftables),
        sentence: "Connection tracking has no place for a packet without an upper layer, so that none \
                   passes hardened rules; for Bulkhead it is protocol 59, which rules can allow.",
        source: "RFC 8200, 4.7",
        applies: |case| case.v6().is_some() && case.upper().is_some_and(|(number, _)| number == 59),
    },
    Row {
        id: "AH",
        stricter: None,
        sentence: "nftables looks behind an IPv6 authentication header for the protocol; for Bulkhead \
                   the header is a protocol of its own, as it is over IPv4.",
        source: "RFC 4302",
        applies: |case| {
            case.v6().is_some() && case.upper().is_some_and(|(number, _)| number == protocol::AH)
        },
    },
    Row {
        id: "answer to what AH carries",
        stricter: Some(World::Gateway),
        sentence: "An answer without an authentication header belongs, for nftables, to the \
                   connection that a packet behind an IPv6 authentication header began.",
        source: "RFC 4302",
        applies: |case| case.answers_what_ah_carries(),
    },
];

/// The row that explains `case`.
pub(super) fn find(case: &Case<'_>) -> Option<&'static Row> {
    let fits = |row: &&Row| row.stricter.is_none_or(|world| world == case.stricter);
    ROWS.iter().filter(fits).find(|row| (row.applies)(case))
}

/// The text of `tests/DIFFERENCES.md`.
pub fn differences() -> String {
    let mut text = String::from(
        "# Bulkhead and hardened nftables\n\n`make truth` sends the same packets through Bulkhead and \
         through a Linux router with the\nrules of `bulkhead export nft --hardened`. Of the packets \
         that only one of the two lets through,\nthese are as they should be; any other is a failure. \
         Written by `truth --rows`.\n\n| difference | drops it | why | source |\n|---|---|---|---|\n",
    );
    for row in ROWS {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            row.id,
            row.stricter(),
            row.sentence,
            row.source
        );
    }
    text
}

#[cfg(test)]
mod tests;
