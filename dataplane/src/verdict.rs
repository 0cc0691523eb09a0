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
        Ipv6Length = "ipv6_length", "The IPv6 payload length is longer than the frame (RFC 8200).";
        Ipv6Extensions = "ipv6_extensions", "The IPv6 extension headers are cut off, out of order or repeated (RFC 8200, 4.1).";
        Fragment = "fragment", "It is an IPv4 or IPv6 fragment, and its zone drops them.";
        TcpHeader = "tcp_header", "The TCP header is cut off or its data offset is wrong (RFC 9293).";
        UdpHeader = "udp_header", "The UDP header is cut off, or its length is not that of the IP payload (RFC 768).";
        SctpHeader = "sctp_header", "The SCTP common header is cut off (RFC 9260).";
        IcmpHeader = "icmp_header", "The ICMP or ICMPv6 header is cut off (RFC 792, RFC 4443).";
        CaptureCut = "capture_cut", "The capture's snap length cut the packet before the end of its headers (replay only).";
        FlowTableFull = "flow_table_full", "It would open a flow, and the flow table is full.";
        TxRingFull = "tx_ring_full", "The transmit ring of the other port is full.";
        NoWorker = "no_worker", "It arrived on a queue that no worker serves; the XDP program dropped it.";
        FrameTooLong = "frame_too_long", "The frame is longer than is configured.";
        SourceMac = "source_mac", "The source MAC address is zero, or a group or broadcast address (IEEE 802.3).";
        VlanTag = "vlan_tag", "A VLAN tag has the reserved identifier 4095, or stands inside a priority tag (IEEE 802.1Q).";
        ArpHeader = "arp_header", "The ARP packet is cut off, not about IPv4 on Ethernet, or neither request nor reply (RFC 826).";
        Ipv4Checksum = "ipv4_checksum", "The IPv4 header checksum is wrong (RFC 791).";
        Ipv4ReservedFlag = "ipv4_reserved_flag", "The reserved flag of the IPv4 header is set (RFC 791).";
        Ipv4Option = "ipv4_option", "It has an IPv4 option that is not configured to pass, or padding without an option (RFC 7126).";
        Ipv4OptionMalformed = "ipv4_option_malformed", "An IPv4 option is cut off, repeated, or contradicts itself (RFC 791, RFC 1812).";
        HopLimitZero = "hop_limit_zero", "The time to live or hop limit is 0 (RFC 1122, RFC 8200).";
        Ipv6Jumbogram = "ipv6_jumbogram", "It is an IPv6 jumbogram, or carries the option of one (RFC 2675).";
        Ipv6Routing0 = "ipv6_routing_0", "It has an IPv6 routing header of type 0 (RFC 5095).";
        Ipv6SourceRoute = "ipv6_source_route", "An IPv6 routing header leads on to another address, and none is configured to pass (RFC 8200).";
        Ipv6Option = "ipv6_option", "An IPv6 option is not configured to pass or has to be dropped if unknown, or there are more than 8 (RFC 8200, RFC 8504).";
        Ipv6OptionMalformed = "ipv6_option_malformed", "An IPv6 option is cut off or has a wrong length, or padding is too long or not zero (RFC 8200, RFC 4942).";
        Ipv6UnknownHeader = "ipv6_unknown_header", "It has an IPv6 extension header that is not looked behind and not configured to pass (RFC 7045).";
        Ipv6FirstFragment = "ipv6_first_fragment", "An IPv6 first fragment ends before its headers do (RFC 7112).";
        Land = "land", "Source and destination are the same address.";
        PortZero = "port_zero", "A TCP, UDP or SCTP port is 0 (RFC 6335).";
        TcpOptions = "tcp_options", "A TCP option is cut off, repeated or of a wrong length, or what follows the last is not zero (RFC 9293).";
        TcpFlags = "tcp_flags", "No state of TCP sends this set of flags (RFC 9293).";
        TcpChecksum = "tcp_checksum", "The TCP checksum is wrong (RFC 9293).";
        UdpChecksum = "udp_checksum", "The UDP checksum is wrong, or missing over IPv6 (RFC 768, RFC 8200).";
        SctpChunk = "sctp_chunk", "SCTP chunks are missing, cut off or wrongly bundled, or the tag is 0 without INIT or INIT has one (RFC 9260).";
        SctpChecksum = "sctp_checksum", "The SCTP checksum is wrong (RFC 9260).";
        IcmpChecksum = "icmp_checksum", "The ICMP or ICMPv6 checksum is wrong (RFC 792, RFC 4443).";
        FragmentEmpty = "fragment_empty", "A fragment without data (RFC 791, RFC 8200 4.5).";
        FragmentLength = "fragment_length", "A fragment that is not the last, of a length that is no multiple of 8 (RFC 791 3.2, RFC 8200 4.5).";
        FragmentOversize = "fragment_oversize", "A fragment that would make its datagram longer than 65,535 bytes (RFC 791 3.1, RFC 8200 4.5).";
        FragmentTiny = "fragment_tiny", "The first fragment does not hold the whole transport header, or a TCP fragment begins at byte 8 (RFC 1858, RFC 3128).";
        FragmentChain = "fragment_chain", "The first fragment does not hold the whole IPv6 header chain, or the chain holds what cannot be fragmented (RFC 7112, RFC 8200 4.5).";
        FragmentOverlap = "fragment_overlap", "Fragments of the datagram overlap, or two copies of one differ (RFC 5722, RFC 8200 4.5).";
        FragmentEnd = "fragment_end", "Fragments of the datagram disagree on where it ends (RFC 815, RFC 8200 4.5).";
        FragmentEcn = "fragment_ecn", "Some fragments of the datagram are ECN-capable and others are not (RFC 3168 5.3).";
        FragmentCount = "fragment_count", "The datagram comes in more fragments than configured.";
        FragmentDuplicate = "fragment_duplicate", "A copy of a fragment that is held; the one held goes on (RFC 8200 4.5).";
        FragmentTimeout = "fragment_timeout", "The datagram was not whole in time (RFC 791 3.2, RFC 8200 4.5).";
        FragmentSourceFull = "fragment_source_full", "The source began more datagrams than it may have incomplete; this was its oldest.";
        FragmentTableFull = "fragment_table_full", "There was no room for every incomplete datagram, and this one had to go.";
        TcpNotOpen = "tcp_not_open", "It is not a SYN and belongs to no connection that passed here (RFC 9293, 3.5).";
        TcpState = "tcp_state", "Its TCP flags are a set that no connection uses (RFC 9293, 3.1).";
        TcpHandshake = "tcp_handshake", "It does not continue the TCP handshake: what it acknowledges is not the SYN, or the SYN is not answered yet (RFC 9293, 3.10.7.3).";
        TcpSequence = "tcp_sequence", "Its TCP sequence number is outside the window (RFC 9293, 3.4).";
        TcpAck = "tcp_ack", "It acknowledges what was not sent, or less than the window allows (RFC 5961, 5.2).";
        TcpReset = "tcp_reset", "A RST whose number cannot be the next expected (RFC 5961, 3.2).";
        TcpSyn = "tcp_syn", "A SYN or SYN-ACK that does not belong to the connection (RFC 5961, 4.2).";
        IcmpUnasked = "icmp_unasked", "An ICMP echo reply that nobody asked for (RFC 5508, 3).";
        IcmpErrorType = "icmp_error_type", "An ICMP error of a type that is never let through: source quench, redirect or unknown (RFC 6633; RFC 1122, 3.2.2).";
        IcmpErrorQuote = "icmp_error_quote", "The packet that an ICMP error quotes is cut off, malformed, a later fragment or an error itself (RFC 1122, 3.2.2).";
        IcmpErrorFlow = "icmp_error_flow", "The packet that an ICMP error quotes belongs to no flow, or went the other way (RFC 5508, 4).";
        IcmpErrorSequence = "icmp_error_sequence", "The packet that an ICMP error quotes is not in flight: its number was not sent or is acknowledged (RFC 5927, 4).";
        IcmpErrorMtu = "icmp_error_mtu", "The path MTU in an ICMP error is too small, or not smaller than the packet that it quotes (RFC 1191, RFC 8201).";
        IcmpErrorRate = "icmp_error_rate", "ICMP errors come faster than they are let through (RFC 1812, 4.3.2.8; RFC 4443, 2.4).";
        SctpState = "sctp_state", "The SCTP chunk does not fit the state of its association (RFC 9260, 4).";
        SctpTag = "sctp_tag", "The SCTP verification tag is wrong (RFC 9260, 8.5).";
        SourceOtherZone = "source_other_zone", "Its source address belongs to another zone (RFC 2827).";
        SourceNotInZone = "source_not_in_zone", "Its source address is not among those of its zone (RFC 2827, RFC 3704).";
        BogonSource = "bogon_source", "Its source address is reserved by the protocol: nobody can have it (RFC 6890).";
        BogonDestination = "bogon_destination", "Its destination address is reserved by the protocol: nobody can have it (RFC 6890).";
        GroupSource = "group_source", "Its source address is a multicast or broadcast address (RFC 1122, 3.2.1.3; RFC 4291, 2.7).";
        UnspecifiedSource = "unspecified_source", "Its source address is 0.0.0.0 or ::, and it is not of a host that has no address yet (RFC 1122, 3.2.1.3; RFC 4291, 2.5.2).";
        LinkLocalSource = "link_local_source", "Its source address is link-local and its destination is not on the link (RFC 3927, 7; RFC 4291, 2.5.6).";
        NotGlobalSource = "not_global_source", "Its source address is not globally reachable and not named as its zone's (RFC 6890).";
        ArpMac = "arp_mac", "It is ARP, and its sender's hardware address is not the frame's Ethernet source (RFC 826).";
        ArpAddress = "arp_address", "It is ARP, and its sender claims an address that is not among those of its zone (RFC 826).";
        ArpOtherZone = "arp_other_zone", "It is ARP, and its sender claims or probes for an address of another zone (RFC 826, RFC 5227).";
        NeighbourInvalid = "neighbour_invalid", "It is a neighbour discovery message that every receiver must ignore (RFC 4861, 6.1 and 7.1).";
        NeighbourMac = "neighbour_mac", "It is a neighbour discovery message whose link-layer address is not the frame's Ethernet source (RFC 4861, 4.6.1).";
        NeighbourAddress = "neighbour_address", "It is a neighbour advertisement of an address that is not among those of its zone (RFC 4861, 4.4).";
        NeighbourOtherZone = "neighbour_other_zone", "It is a neighbour discovery message that claims or probes for an address of another zone (RFC 4861, 4.4; RFC 4862, 5.4).";
        NeighbourFragment = "neighbour_fragment", "It is a neighbour discovery message that came in fragments (RFC 6980).";
        Redirect = "redirect", "It is an ICMPv6 redirect, which no zone may send through the gateway (RFC 4861, 8).";
        RouterAdvertisement = "router_advertisement", "It is a router advertisement from where none may come (RFC 6105, RFC 7113).";
        DhcpServer = "dhcp_server", "It is a DHCP server's message from where none may come (RFC 2131, RFC 7610).";
        HandoverFull = "handover_full", "Another worker of the wire owns its flow, and has no room for what is handed over to it.";
        FlowQuota = "flow_quota", "It would open a flow, and its source has opened as many as it may.";
        ChallengeRate = "challenge_rate", "Packets that change nothing and may cause a challenge ACK, or the like in SCTP, come faster than they are let through (RFC 5961, 7).";
        IcmpFamily = "icmp_family", "It is ICMP over IPv6, or ICMPv6 over IPv4 (RFC 792, RFC 4443).";
        TunnelHeader = "tunnel_header", "It is a VXLAN, GENEVE or GRE packet to be looked into, and the tunnel's header is cut off, of another version, has reserved bits set or a wrong checksum (RFC 7348, RFC 8926, RFC 2784, RFC 2890).";
        TunnelInner = "tunnel_inner", "What a tunnel that is looked into carries is malformed, a fragment, or no IP packet.";
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
