#!/usr/bin/python3
"""Addresses that lie, and those who are no routers or DHCP servers. The rules allow everything that
is tried here; what is dropped is not believed. One router and one DHCP server live on the servers'
side: fe80::1, and 10.77.1.140 with fe80::2."""

from table import *

EVERYBODY = "ff:ff:ff:ff:ff:ff"

# --- Sources ------------------------------------------------------------------------------------

passes("another host of the zone", ip(src=C4B) / tcp())
passes("another host of the zone over IPv6", ip6(src=C6B) / tcp())
drops("source_other_zone", "a server's address", ip(src=S4B) / tcp())
drops("source_other_zone", "a server's address over IPv6", ip6(src=S6B) / tcp())
drops(
    "source_other_zone",
    "a server's address in a tagged frame",
    eth() / Dot1Q(vlan=7) / IP(src=S4B, dst=S4) / tcp(),
)
for source in ("192.0.2.9", "8.8.8.8", "10.77.2.1", "192.168.0.1", "100.64.0.1"):
    drops("source_not_in_zone", f"from {source}", ip(src=source) / tcp())
for source in ("2001:db8::1", "fd77::3:1", "2002:a4d:10a::1", "64:ff9b::a4d:10a"):
    drops("source_not_in_zone", f"from {source}", ip6(src=source) / tcp())
drops("bogon_source", "from 240.0.0.1", ip(src="240.0.0.1") / tcp())
drops("bogon_destination", "to 240.0.0.1", ip(dst="240.0.0.1") / tcp())
drops("link_local_source", "from 169.254.1.1", ip(src="169.254.1.1") / tcp())
drops("link_local_source", "from fe80::10 beyond the link", ip6(src="fe80::10") / tcp())
drops(
    "source_other_zone",
    "a server's address in fragments",
    eth() / IP(src=S4B, dst=S4, proto=17, flags="MF", id=ident()) / Raw(bytes(48)),
)
case(
    "a client's address from the servers' side",
    server(ip_back(src=C4B) / udp(), "source_other_zone"),
)

# --- ARP (RFC 826, RFC 5227) --------------------------------------------------------------------


def arp(**fields):
    """A request of the client's."""
    return eth(dst=EVERYBODY) / ARP(
        **{"op": 1, "hwsrc": CLIENT_MAC, "psrc": C4, "pdst": S4, **fields}
    )


passes("who has the server?", arp())
passes("a gratuitous request", arp(pdst=C4))
passes("a gratuitous reply", arp(op=2, pdst=C4, hwdst=CLIENT_MAC))
passes("a probe for an own address", arp(psrc="0.0.0.0", pdst=C4B))
drops("arp_other_zone", "a gratuitous request for the server's address", arp(psrc=S4, pdst=S4))
drops("arp_other_zone", "a reply with the server's address", arp(op=2, psrc=S4, pdst=S4B))
drops("arp_other_zone", "a probe for the server's address", arp(psrc="0.0.0.0"))
drops("arp_address", "a request from nobody's address", arp(psrc="192.0.2.9"))
drops("arp_address", "a reply from no address", arp(op=2, psrc="0.0.0.0"))
drops("arp_mac", "a request in somebody else's name", arp(hwsrc="02:00:00:00:00:99"))
drops("arp_mac", "a reply that sends others elsewhere", arp(op=2, hwsrc=SERVER_MAC))
case(
    "the server claims a client's address",
    server(
        Ether(src=SERVER_MAC, dst=EVERYBODY) / ARP(op=2, hwsrc=SERVER_MAC, psrc=C4, pdst=C4B),
        "arp_other_zone",
    ),
)

# --- Neighbour discovery (RFC 4861) -------------------------------------------------------------

OWN = ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)
TARGET = ICMPv6NDOptDstLLAddr(lladdr=CLIENT_MAC)
SERVERS_GROUP = "ff02::1:ff02:10"


def nd(**fields):
    """IPv6 that no router forwarded."""
    return ip6(**{"hlim": 255, **fields})


passes("who has the server's address?", nd(dst=SERVERS_GROUP) / ICMPv6ND_NS(tgt=S6) / OWN)
passes(
    "the same from a link-local address",
    nd(src="fe80::10", dst=SERVERS_GROUP) / ICMPv6ND_NS(tgt=S6) / OWN,
)
passes("an own address", nd() / ICMPv6ND_NA(tgt=C6, R=0, S=1) / TARGET)
passes(
    "looking for duplicates of an own address",
    nd(src="::", dst="ff02::1:ff01:10") / ICMPv6ND_NS(tgt=C6),
)
drops(
    "neighbour_other_zone",
    "the server's address",
    nd(dst="ff02::1") / ICMPv6ND_NA(tgt=S6, R=0, S=0, O=1) / TARGET,
)
drops(
    "neighbour_other_zone",
    "the server's address, said to the server",
    nd() / ICMPv6ND_NA(tgt=S6B, R=0, S=1) / TARGET,
)
drops(
    "neighbour_other_zone",
    "looking for duplicates of the server's address",
    nd(src="::", dst=SERVERS_GROUP) / ICMPv6ND_NS(tgt=S6),
)
drops(
    "neighbour_address",
    "nobody's address",
    nd() / ICMPv6ND_NA(tgt="2001:db8::1", R=0, S=1) / TARGET,
)
drops(
    "neighbour_mac",
    "an own address elsewhere",
    nd() / ICMPv6ND_NA(tgt=C6, R=0, S=1) / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:99"),
)
drops(
    "neighbour_mac",
    "a question in somebody else's name",
    nd(dst=SERVERS_GROUP) / ICMPv6ND_NS(tgt=S6) / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:99"),
)
drops("neighbour_invalid", "a question that was routed", nd(hlim=254) / ICMPv6ND_NS(tgt=S6) / OWN)
drops(
    "neighbour_invalid",
    "an answer that was routed",
    nd(hlim=64) / ICMPv6ND_NA(tgt=C6, R=0, S=1) / TARGET,
)
drops("neighbour_invalid", "a question with a code", nd() / ICMPv6ND_NS(tgt=S6, code=1) / OWN)
drops("neighbour_invalid", "a question about a group", nd() / ICMPv6ND_NS(tgt="ff02::1") / OWN)
drops(
    "neighbour_invalid",
    "an option of length 0",
    nd() / ICMPv6ND_NS(tgt=S6) / Raw(b"\1\0" + bytes(6)),
)
drops(
    "neighbour_invalid",
    "an option beyond the packet",
    nd() / ICMPv6ND_NS(tgt=S6) / Raw(b"\1\2" + bytes(6)),
)
drops(
    "neighbour_invalid",
    "an answer to a group that says it was asked for",
    nd(dst="ff02::1") / ICMPv6ND_NA(tgt=C6, R=0, S=1) / TARGET,
)
drops(
    "neighbour_fragment",
    "a question in an atomic fragment (RFC 6980)",
    nd() / IPv6ExtHdrFragment(id=ident()) / ICMPv6ND_NS(tgt=S6) / OWN,
)
drops(
    "redirect",
    "a redirect",
    nd(src="fe80::10") / ICMPv6ND_Redirect(tgt="fe80::10", dst="2001:db8::1"),
)
drops(
    "redirect",
    "a redirect behind destination options",
    nd(src="fe80::10") / IPv6ExtHdrDestOpt() / ICMPv6ND_Redirect(tgt="fe80::10", dst="2001:db8::1"),
)

# --- Router advertisements (RFC 6105, RFC 7113) -------------------------------------------------

RA = (
    ICMPv6ND_RA(routerlifetime=1800)
    / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)
    / ICMPv6NDOptPrefixInfo(prefix="2001:db8::")
)


def ra(*headers):
    """A router advertisement of the client's behind `headers`."""
    packet = nd(src="fe80::10", dst="ff02::1")
    for header in headers:
        packet = packet / header
    return packet / RA


RA_REASON = "router_advertisement"
drops(RA_REASON, "a router", ra())
drops(RA_REASON, "a router behind hop-by-hop options", ra(IPv6ExtHdrHopByHop()))
drops(RA_REASON, "a router behind destination options", ra(IPv6ExtHdrDestOpt()))
drops(
    RA_REASON,
    "a router behind a routing header",
    ra(IPv6ExtHdrRouting(type=253, segleft=0, addresses=[])),
)
drops(RA_REASON, "a router in an atomic fragment", ra(IPv6ExtHdrFragment(id=ident())))
drops(
    RA_REASON,
    "a router behind all of them",
    ra(
        IPv6ExtHdrHopByHop(),
        IPv6ExtHdrDestOpt(),
        IPv6ExtHdrRouting(type=253, segleft=0, addresses=[]),
        IPv6ExtHdrFragment(id=ident()),
        IPv6ExtHdrDestOpt(),
    ),
)
drops(RA_REASON, "a router that is routed", ip6(src="fe80::10", dst="ff02::1", hlim=64) / RA)
whole, n = bytes(ra())[54:], ident()
drops(
    RA_REASON,
    "a router in fragments",
    *[
        ip6(src="fe80::10", dst="ff02::1", hlim=255)
        / IPv6ExtHdrFragment(nh=58, offset=at // 8, m=int(at == 0), id=n)
        / Raw(whole[at:end])
        for at, end in ((0, 24), (24, len(whole)))
    ],
)
BACK = ICMPv6NDOptSrcLLAddr(lladdr=SERVER_MAC)
case("the router", server(ip6_back(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_RA() / BACK))
case(
    "another router beside it",
    server(ip6_back(src="fe80::9", dst="ff02::1", hlim=255) / ICMPv6ND_RA() / BACK, RA_REASON),
)
passes("a host that looks for routers", nd(src="fe80::10", dst="ff02::2") / ICMPv6ND_RS() / OWN)

# --- DHCP ---------------------------------------------------------------------------------------


def offer(**fields):
    """What a DHCP server says to a client that has no address."""
    return (
        IP(**{"dst": "255.255.255.255", **fields})
        / UDP(sport=67, dport=68)
        / BOOTP(op=2)
        / DHCP(options=[("message-type", "offer"), "end"])
    )


drops("dhcp_server", "an offer of a client's", eth(dst=EVERYBODY) / offer(src=C4))
drops(
    "dhcp_server",
    "an offer from another port",
    eth(dst=EVERYBODY)
    / IP(src=C4, dst="255.255.255.255")
    / UDP(sport=port(), dport=68)
    / BOOTP(op=2),
)
drops("dhcp_server", "an answer to a relay", ip() / UDP(sport=67, dport=67) / BOOTP(op=2))
drops(
    "dhcp_server",
    "an offer of a client's over IPv6",
    ip6(src="fe80::10", dst="ff02::1:2") / UDP(sport=547, dport=546) / DHCP6_Advertise(),
)
drops(
    "dhcp_server",
    "an answer to a relay over IPv6",
    ip6() / UDP(sport=547, dport=547) / DHCP6_Reply(),
)
passes(
    "a client that looks for a DHCP server",
    eth(dst=EVERYBODY)
    / IP(src="0.0.0.0", dst="255.255.255.255")
    / UDP(sport=68, dport=67)
    / BOOTP(op=1)
    / DHCP(options=[("message-type", "discover"), "end"]),
)
passes(
    "a client that looks for one over IPv6",
    ip6(src="fe80::10", dst="ff02::1:2") / UDP(sport=546, dport=547) / DHCP6_Solicit(),
)
case("the DHCP server", server(Ether(src=SERVER_MAC, dst=EVERYBODY) / offer(src="10.77.1.140")))
case(
    "another DHCP server beside it",
    server(Ether(src=SERVER_MAC, dst=EVERYBODY) / offer(src=S4), "dhcp_server"),
)

main()
