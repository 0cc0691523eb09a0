#!/usr/bin/python3
"""Packets that are wrong, or unwanted, by their headers alone. But for that each is allowed."""

from table import *

# --- Ethernet and VLAN tags ---------------------------------------------------------------------

drops("source_mac", "Ethernet source zero", eth(src="00:00:00:00:00:00") / (ip() / tcp())[IP])
drops("source_mac", "Ethernet source a group", eth(src="01:00:5e:00:00:01") / (ip() / tcp())[IP])
drops("source_mac", "Ethernet source broadcast", eth(src="ff:ff:ff:ff:ff:ff") / (ip() / tcp())[IP])
drops("ethernet_header", "VLAN tag cut off", bytes(eth(type=0x8100)) + b"\0\1")
passes("one VLAN tag", eth() / Dot1Q(vlan=7) / (ip() / tcp())[IP])
passes("service and customer tag", eth() / Dot1AD(vlan=7) / Dot1Q(vlan=8) / (ip() / tcp())[IP])
passes("priority tag", eth() / Dot1Q(vlan=0, prio=5) / (ip() / tcp())[IP])
drops(
    "vlan_depth",
    "three VLAN tags",
    eth() / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / (ip() / tcp())[IP],
)
drops("vlan_tag", "VLAN 4095", eth() / Dot1Q(vlan=4095) / (ip() / tcp())[IP])
drops(
    "vlan_tag",
    "VLAN tag inside a priority tag",
    eth() / Dot1Q(vlan=0) / Dot1Q(vlan=7) / (ip() / tcp())[IP],
)
drops(
    "policy_default",
    "denied port behind two tags",
    eth() / Dot1AD(vlan=7) / Dot1Q(vlan=8) / (ip() / tcp(dport=22))[IP],
)
drops(
    "ethertype",
    "tag of switches older than 802.1ad",
    eth(type=0x9100) / Raw(b"\0\7\x08\0" + bytes((ip() / tcp())[IP])),
)
drops("ethertype", "spanning tree", Dot3(src=CLIENT_MAC, dst="01:80:c2:00:00:00") / LLC() / STP())
drops("ethertype", "LLDP", eth(dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(46)))
drops("ethertype", "MPLS", eth(type=0x8847) / Raw(b"\0\x01\x01\x40" + bytes((ip() / tcp())[IP])))
drops("ethertype", "PPPoE discovery", eth(type=0x8863) / PPPoED())
drops("ethertype", "EAPOL", eth(type=0x888E) / EAPOL())
drops(
    "ipv4_header", "IPv6 in a frame for IPv4", eth(type=0x0800) / Raw(bytes((ip6() / tcp())[IPv6]))
)
drops("ipv6_header", "IPv4 in a frame for IPv6", eth(type=0x86DD) / Raw(bytes((ip() / tcp())[IP])))

# --- ARP, as far as its form goes ---------------------------------------------------------------

drops(
    "arp_header", "ARP cut off", bytes(eth() / ARP(hwsrc=CLIENT_MAC, psrc=C4, pdst=S4))[: 14 + 27]
)
drops("arp_header", "ARP for token ring", eth() / ARP(hwtype=6, hwsrc=CLIENT_MAC, psrc=C4, pdst=S4))
drops("arp_header", "reverse ARP", eth() / ARP(op=3, hwsrc=CLIENT_MAC, psrc=C4, pdst=S4))
passes("ARP request", eth(dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=CLIENT_MAC, psrc=C4, pdst=S4))

# --- IPv4 header --------------------------------------------------------------------------------

passes("a SYN", ip() / tcp())
passes("hop limit 1", ip(ttl=1) / tcp())
passes("padding of the frame", bytes(ip() / tcp()) + b"padding")
drops("ipv4_header", "IPv4 version 5", with_ip_sum(patched(ip() / tcp(), 14, b"\x55")))
drops("ipv4_header", "IPv4 header of 16 bytes", with_ip_sum(patched(ip() / tcp(), 14, b"\x44")))
drops("ipv4_header", "IPv4 header cut off", bytes(ip() / tcp())[: 14 + 19])
drops(
    "ipv4_length",
    "IPv4 header longer than the packet",
    with_ip_sum(patched(ip(len=40) / tcp(), 14, b"\x4f") + bytes(40)),
)
drops("ipv4_length", "IPv4 total length of 19", ip(len=19) / tcp())
drops("ipv4_length", "IPv4 total length beyond the frame", ip(len=41) / tcp())
drops("tcp_header", "IPv4 total length within the TCP header", ip(len=39) / tcp())
drops("ipv4_checksum", "IPv4 checksum", flipped(ip() / tcp(), 24))
drops("ipv4_reserved_flag", "the evil bit (RFC 3514)", ip(flags="evil") / tcp())
drops("hop_limit_zero", "time to live 0", ip(ttl=0) / tcp())

# --- IPv4 options -------------------------------------------------------------------------------

drops("ipv4_option", "no operation", ip(options=[IPOption_NOP()] * 4) / tcp())
drops("ipv4_option", "record route", ip(options=[IPOption_RR(routers=["0.0.0.0"] * 9)]) / tcp())
drops("ipv4_option", "loose source route", ip(options=[IPOption_LSRR(routers=[S4B])]) / tcp())
drops("ipv4_option", "strict source route", ip(options=[IPOption_SSRR(routers=[S4B])]) / tcp())
drops("ipv4_option", "timestamp", ip(options=[IPOption_Timestamp(flg=0, timestamp=0)]) / tcp())
drops("ipv4_option", "router alert", ip(options=[IPOption_Router_Alert()]) / tcp())
drops("ipv4_option", "security", ip(options=[IPOption_Security()]) / tcp())
drops("ipv4_option", "stream identifier", ip(options=[IPOption_Stream_Id()]) / tcp())
drops("ipv4_option", "unknown option", with_options(b"\x1e\x04\0\0"))
drops("ipv4_option_malformed", "option of length 1", with_options(b"\x07\x01\0\0"))
drops("ipv4_option_malformed", "option beyond the header", with_options(b"\x07\x07\x04\0"))
drops("ipv4_option_malformed", "bytes behind the end of options", with_options(b"\0\1\1\1"))
drops("ipv4_option_malformed", "pointer before the route", with_options(b"\x07\x07\x03\0\0\0\0\0"))
drops(
    "ipv4_option_malformed",
    "loose and strict source route",
    ip(
        options=[
            IPOption_LSRR(routers=[S4B]),
            IPOption_SSRR(routers=[S4B]),
            IPOption_NOP(),
            IPOption_NOP(),
        ]
    )
    / tcp(),
)

# --- Addresses that cannot stand where they stand -----------------------------------------------

for source in ("127.0.0.1", "0.1.2.3"):
    drops("bogon_source", f"from {source}", ip(src=source) / tcp())
drops("unspecified_source", "from 0.0.0.0", ip(src="0.0.0.0") / tcp())
for source in ("224.0.0.1", "239.255.255.250", "255.255.255.255"):
    drops("group_source", f"from {source}", ip(src=source) / tcp())
for target in ("127.0.0.1", "0.0.0.0"):
    drops("bogon_destination", f"to {target}", ip(dst=target) / tcp())
drops("land", "LAND", ip(src=S4) / tcp(sport=80))
drops("land", "LAND with UDP (snork, fraggle)", ip(src=S4) / udp(sport=53))
for source in ("::1", "::ffff:10.77.1.10"):
    drops("bogon_source", f"from {source}", ip6(src=source) / tcp())
drops("unspecified_source", "from ::", ip6(src="::") / tcp())
drops("group_source", "from ff02::1", ip6(src="ff02::1") / tcp())
for target in ("::1", "::", "ff01::1", "ff00::1", "::ffff:10.77.1.130"):
    drops("bogon_destination", f"to {target}", ip6(dst=target) / tcp())
drops("land", "LAND over IPv6", ip6(src=S6) / tcp(sport=80))

# --- TCP ----------------------------------------------------------------------------------------

for flags in (
    "",
    "F",
    "P",
    "U",
    "FPU",
    "SF",
    "SR",
    "SFR",
    "FR",
    "SFA",
    "SRA",
    "FRA",
    "SAU",
    "RU",
    "FSRPAU",
    "E",
    "C",
):
    drops("tcp_flags", f"TCP flags '{flags}'", ip() / tcp(flags=flags))
drops("tcp_flags", "TCP flags '' over IPv6", ip6() / tcp(flags=""))
passes("a SYN of a host that does ECN", ip() / tcp(flags="SEC"))
passes(
    "a SYN with data and a fast open cookie",
    ip() / tcp(options=[(34, b"12345678"), ("NOP", None), ("NOP", None)]) / Raw(b"GET /"),
)
passes(
    "a SYN as Linux sends it",
    ip(flags="DF")
    / tcp(
        options=[
            ("MSS", 1460),
            ("SAckOK", b""),
            ("Timestamp", (1, 0)),
            ("NOP", None),
            ("WScale", 7),
        ]
    ),
)
drops("tcp_header", "TCP data offset 4", ip() / tcp(dataofs=4))
drops("tcp_header", "TCP data offset beyond the segment", ip() / tcp(dataofs=6))
drops("tcp_header", "TCP header cut off", ip(proto=6) / Raw(bytes(19)))
drops("tcp_checksum", "TCP checksum", flipped(ip() / tcp(), 50))
drops("tcp_checksum", "TCP checksum over IPv6", flipped(ip6() / tcp(), 70))
drops("tcp_checksum", "data changed on the way", flipped(ip() / tcp() / Raw(b"data"), 57))
drops("port_zero", "from TCP port 0", ip() / tcp(sport=0))
drops("port_zero", "to TCP port 0", ip() / tcp(dport=0))
drops(
    "tcp_options",
    "TCP option of length 0",
    patched(ip() / tcp(options=[("MSS", 1460)]), 54, b"\x02\x00"),
)
drops(
    "tcp_options",
    "TCP option beyond the header",
    patched(ip() / tcp(options=[("MSS", 1460)]), 54, b"\x02\x05"),
)
drops(
    "tcp_options",
    "maximum segment size of 3 bytes",
    patched(ip() / tcp(options=[("MSS", 1460)]), 54, b"\x02\x03"),
)
drops(
    "tcp_options", "maximum segment size twice", ip() / tcp(options=[("MSS", 1460), ("MSS", 536)])
)
drops(
    "tcp_options",
    "bytes behind the end of TCP options",
    patched(ip() / tcp(options=[("MSS", 1460)]), 54, b"\0\1\1\1"),
)

# --- UDP, ICMP, SCTP, other protocols -----------------------------------------------------------

passes("a question", ip() / udp())
passes("UDP without a checksum", ip() / udp(chksum=0))
drops("udp_checksum", "UDP without a checksum over IPv6", patched(ip6() / udp(), 60, b"\0\0"))
drops("udp_checksum", "UDP checksum", flipped(ip() / udp(), 40))
drops("udp_header", "UDP length of 7", ip() / udp(len=7))
drops("udp_header", "UDP length shorter than the packet", ip() / udp(len=12))
drops("udp_header", "UDP length beyond the packet", ip() / udp(len=100))
drops("udp_header", "UDP header cut off", ip(proto=17) / Raw(bytes(7)))
drops("port_zero", "from UDP port 0", ip() / udp(sport=0))
drops("policy_default", "to the chargen port", ip() / udp(dport=19))
passes("a ping", ip() / ICMP(id=ident()) / Raw(b"ping"))
passes("a ping over IPv6", ip6() / ICMPv6EchoRequest(id=ident()))
drops("icmp_checksum", "ICMP checksum", flipped(ip() / ICMP(id=ident()), 36))
drops("icmp_checksum", "ICMPv6 checksum", flipped(ip6() / ICMPv6EchoRequest(id=ident()), 56))
drops("icmp_header", "ICMP header cut off", ip(proto=1) / Raw(b"\x08\0\xf7\xff\0\0\0"))
for kind in (9, 10, 13, 15, 17, 30, 37, 42):
    drops("policy_default", f"ICMP type {kind}", ip() / ICMP(type=kind) / Raw(bytes(12)))
drops("policy_default", "node information query", ip6() / ICMPv6NIQueryIPv6(data=S6))
passes(
    "SCTP INIT",
    ip()
    / SCTP(sport=port(), dport=36412)
    / SCTPChunkInit(init_tag=1, a_rwnd=65535, n_out_streams=1, n_in_streams=1, init_tsn=1),
)
drops(
    "sctp_checksum",
    "SCTP checksum",
    flipped(
        ip()
        / SCTP(sport=port(), dport=36412)
        / SCTPChunkInit(init_tag=1, a_rwnd=65535, n_out_streams=1, n_in_streams=1),
        42,
    ),
)
drops(
    "sctp_chunk",
    "SCTP INIT with a tag",
    ip()
    / SCTP(sport=port(), dport=36412, tag=5)
    / SCTPChunkInit(init_tag=1, a_rwnd=65535, n_out_streams=1, n_in_streams=1),
)
drops("sctp_chunk", "SCTP without chunks", ip() / SCTP(sport=port(), dport=36412, tag=5))
drops(
    "sctp_chunk",
    "SCTP INIT with data behind it",
    ip()
    / SCTP(sport=port(), dport=36412)
    / SCTPChunkInit(init_tag=1, a_rwnd=65535, n_out_streams=1, n_in_streams=1)
    / SCTPChunkData(data=b"data"),
)
drops("sctp_header", "SCTP header cut off", ip(proto=132) / Raw(bytes(11)))
drops("policy_default", "IP in IP", ip() / IP(src=C4, dst=S4) / tcp())
drops("policy_default", "IPv6 in IP", ip() / IPv6(src=C6, dst=S6) / tcp())
drops("policy_default", "GRE", ip() / GRE() / IP(src=C4, dst=S4) / tcp())
drops(
    "policy_default",
    "VXLAN",
    ip()
    / UDP(sport=port(), dport=4789)
    / VXLAN(vni=1)
    / Ether(src=CLIENT_MAC, dst=SERVER_MAC)
    / IP(src=C4, dst=S4)
    / tcp(),
)
drops("policy_default", "IGMP", ip(dst="224.0.0.1", proto=2) / Raw(b"\x11\x64\xee\x9b\0\0\0\0"))
for protocol in (0, 50, 51, 89, 103, 112, 255):
    drops("policy_default", f"IP protocol {protocol}", ip(proto=protocol) / Raw(bytes(24)))

# --- IPv6 header and extension headers ----------------------------------------------------------

passes("a SYN over IPv6", ip6() / tcp())
passes("padding behind an IPv6 packet", bytes(ip6() / tcp()) + b"padding")
drops("ipv6_header", "IPv6 version 5", patched(ip6() / tcp(), 14, b"\x50"))
drops("ipv6_header", "IPv6 header cut off", bytes(ip6() / tcp())[: 14 + 39])
drops("ipv6_length", "IPv6 payload beyond the frame", ip6(plen=21) / tcp())
drops("hop_limit_zero", "hop limit 0", ip6(hlim=0) / tcp())
passes(
    "padded hop-by-hop options",
    ip6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")]) / tcp(),
)
passes("IPv6 router alert", ip6() / IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN()]) / tcp())
passes(
    "unknown destination option to be skipped",
    ip6() / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optdata=b"\0\0\0\0")]) / tcp(),
)
passes(
    "destination options around a routing header that is used up",
    ip6()
    / IPv6ExtHdrDestOpt()
    / IPv6ExtHdrRouting(type=253, segleft=0, addresses=[])
    / IPv6ExtHdrDestOpt()
    / tcp(),
)
passes("atomic fragment (RFC 6946)", ip6() / IPv6ExtHdrFragment(id=ident()) / tcp())
drops(
    "policy_default",
    "denied port in an atomic fragment",
    ip6() / IPv6ExtHdrFragment(id=ident()) / tcp(dport=22),
)
drops(
    "policy_default",
    "denied port behind five extension headers",
    ip6()
    / IPv6ExtHdrHopByHop()
    / IPv6ExtHdrDestOpt()
    / IPv6ExtHdrRouting(type=253, segleft=0, addresses=[])
    / IPv6ExtHdrFragment(id=ident())
    / IPv6ExtHdrDestOpt()
    / tcp(dport=22),
)
drops(
    "ipv6_extensions",
    "hop-by-hop behind destination options",
    ip6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / tcp(),
)
drops(
    "ipv6_extensions",
    "hop-by-hop twice",
    ip6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrHopByHop() / tcp(),
)
drops(
    "ipv6_extensions",
    "destination options three times",
    ip6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / tcp(),
)
drops(
    "ipv6_extensions",
    "130 destination options",
    ip6(nh=60) / Raw((b"\x3c\0\1\4\0\0\0\0" * 129) + b"\x06\0\1\4\0\0\0\0" + bytes(tcp())),
)
drops(
    "ipv6_extensions",
    "two fragment headers",
    ip6() / IPv6ExtHdrFragment(id=ident()) / IPv6ExtHdrFragment(id=ident()) / tcp(),
)
drops(
    "ipv6_extensions",
    "routing header behind a fragment header",
    ip6()
    / IPv6ExtHdrFragment(id=ident())
    / IPv6ExtHdrRouting(type=0, addresses=[S6B], segleft=1)
    / tcp(),
)
drops(
    "ipv6_extensions",
    "extension header beyond the packet",
    ip6() / IPv6ExtHdrDestOpt(len=20) / tcp(),
)
drops(
    "ipv6_routing_0",
    "routing header 0 (RFC 5095)",
    ip6() / IPv6ExtHdrRouting(type=0, addresses=[S6B], segleft=1) / tcp(),
)
drops(
    "ipv6_routing_0",
    "routing header 0 that is used up",
    ip6() / IPv6ExtHdrRouting(type=0, addresses=[S6B], segleft=0) / tcp(),
)
drops(
    "ipv6_routing_0",
    "routing header 0 of the amplifier",
    ip6() / IPv6ExtHdrRouting(type=0, addresses=[S6, S6B] * 40, segleft=80) / tcp(),
)
drops(
    "ipv6_source_route",
    "routing header 2 that leads on",
    ip6() / IPv6ExtHdrRouting(type=2, addresses=[S6B], segleft=1) / tcp(),
)
drops(
    "ipv6_source_route",
    "segment routing that leads on",
    ip6() / IPv6ExtHdrSegmentRouting(addresses=[S6B, S6], segleft=1, lastentry=1) / tcp(),
)
drops(
    "ipv6_jumbogram",
    "jumbogram",
    ip6(plen=0) / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=65536)]) / tcp(),
)
drops(
    "ipv6_jumbogram",
    "jumbo option on a small packet",
    ip6() / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=65536)]) / tcp(),
)
drops(
    "ipv6_option",
    "unknown hop-by-hop option",
    ip6() / IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=0x1E, optdata=b"\0\0\0\0")]) / tcp(),
)
for kind in (0x5E, 0x9E, 0xDE):
    drops(
        "ipv6_option",
        f"option {kind:#x} that is to be refused",
        ip6() / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=kind, optdata=b"\0\0\0\0")]) / tcp(),
    )
drops(
    "ipv6_option",
    "nine options",
    ip6() / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optdata=b"")] * 9) / tcp(),
)
drops(
    "ipv6_option_malformed",
    "padding that is not zero",
    ip6() / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"hide")]) / tcp(),
)
drops(
    "ipv6_option_malformed",
    "padding of 14 bytes",
    ip6() / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]) / tcp(),
)
drops(
    "ipv6_option_malformed",
    "option beyond its header",
    ip6(nh=60) / Raw(b"\x06\0\x1e\x05\0\0\0\0" + bytes(20)),
)
drops(
    "ipv6_option_malformed",
    "two router alerts",
    ip6() / IPv6ExtHdrHopByHop(options=[RouterAlert(), RouterAlert()]) / tcp(),
)
for kind, name in (
    (135, "mobility"),
    (139, "HIP"),
    (140, "Shim6"),
    (253, "experiment"),
    (254, "experiment 2"),
):
    drops(
        "ipv6_unknown_header",
        f"{name} header",
        ip6(nh=kind) / Raw(b"\x06\0" + bytes(6) + bytes(20)),
    )
drops("policy_default", "no next header", ip6(nh=59) / Raw(bytes(20)))
drops(
    "ipv6_first_fragment",
    "first fragment without its TCP header",
    ip6() / IPv6ExtHdrFragment(nh=6, m=1, id=ident()) / Raw(bytes(8)),
)
drops(
    "ipv6_first_fragment",
    "first fragment that ends in its options",
    ip6() / IPv6ExtHdrFragment(nh=60, m=1, id=ident()) / Raw(b"\x06\x02" + bytes(6)),
)
drops(
    "policy_default",
    "router solicitation",
    ip6(src="fe80::10", dst="ff02::2", hlim=255) / ICMPv6ND_RS(),
)
drops(
    "policy_default",
    "multicast listener query",
    ip6(src="fe80::10", dst="ff02::1", hlim=1)
    / IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN()])
    / ICMPv6MLQuery2(),
)

main()
