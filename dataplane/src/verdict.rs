//! What was decided about a packet, and why.

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Forward, and let the flow's other direction pass.
    Allow,
    /// Drop.
    Deny,
}

impl Action {
    /// The word for it in policies, JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Deny => "deny",
        }
    }
}

/// Why one packet is forwarded or dropped, by which rule of which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Forward or drop, and the reason.
    pub outcome: Outcome,
    /// Index into [`Table::rules`](crate::Table::rules) of the rule that decided, when a rule did.
    pub rule: Option<u32>,
    /// Generation of the table it was judged by.
    pub generation: u64,
}

/// The two ends a packet can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Leaves by the other port of its wire.
    Forward(PassReason),
    /// Goes no further.
    Drop(DropReason),
}

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $label:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $text] $variant,)+ }

        impl $name {
            /// Every reason, in the order of its discriminant.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The metric label.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $label,)+ }
            }

            /// One sentence for a person.
            pub const fn describe(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }
    };
}

reasons! {
    /// Why a packet was forwarded.
    PassReason {
        Rule = "rule", "A rule of the table allows it; it opened a flow where its protocol has flows.";
        Flow = "flow", "It belongs to a flow that a rule allowed.";
        Arp = "arp", "Address resolution between the zones of a wire (RFC 826).";
        NeighbourDiscovery = "neighbour_discovery", "Neighbour solicitation or advertisement with hop limit 255 (RFC 4861).";
        EtherType = "ethertype", "Its EtherType is configured to pass unjudged.";
    }
}

reasons! {
    /// Why a packet was dropped. Closed: every drop is one of these, and the label is the metric's.
    DropReason {
        PolicyDeny = "policy_deny", "A rule of the table denies it.";
        PolicyDefault = "policy_default", "No rule matches it: default deny.";
        EtherType = "ethertype", "Its EtherType is neither IPv4, IPv6 nor ARP and is not configured to pass.";
        EthernetHeader = "ethernet_header", "The frame is too short for its Ethernet header or VLAN tags.";
        VlanDepth = "vlan_depth", "It carries more than two VLAN tags.";
        Ipv4Header = "ipv4_header", "The IPv4 version or header length is wrong, or the header is cut off (RFC 791).";
        Ipv4Length = "ipv4_length", "The IPv4 total length is shorter than the header or longer than the frame (RFC 791).";
        Ipv6Header = "ipv6_header", "The IPv6 version is wrong, or the header is cut off (RFC 8200).";
        Ipv6Length = "ipv6_length", "The IPv6 payload length is longer than the frame, or a jumbogram (RFC 8200, RFC 2675).";
        Ipv6Extensions = "ipv6_extensions", "The IPv6 extension headers are cut off, out of place, or too many (RFC 8200).";
        Fragment = "fragment", "It is an IPv4 or IPv6 fragment; fragments are not reassembled yet.";
        TcpHeader = "tcp_header", "The TCP header is cut off or its data offset is wrong (RFC 9293).";
        UdpHeader = "udp_header", "The UDP header is cut off or its length is wrong (RFC 768).";
        SctpHeader = "sctp_header", "The SCTP common header is cut off (RFC 9260).";
        IcmpHeader = "icmp_header", "The ICMP or ICMPv6 header is cut off (RFC 792, RFC 4443).";
        CaptureCut = "capture_cut", "The capture's snap length cut the packet before the end of its headers (replay only).";
        FlowTableFull = "flow_table_full", "It would open a flow, and the flow table is full.";
        FlowInboxFull = "flow_inbox_full", "It would open a flow that another worker of the wire could not be told of.";
        TxRingFull = "tx_ring_full", "The transmit ring of the other port is full.";
        NoWorker = "no_worker", "It arrived on a queue that no worker serves; the XDP program dropped it.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_in_discriminant_order() {
        let mut labels: Vec<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
        }
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::COUNT);
    }
}
