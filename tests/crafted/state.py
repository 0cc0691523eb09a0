#!/usr/bin/python3
"""Packets that only their past makes right or wrong: TCP, SCTP, echoes, and ICMP errors by the
flow of the packet that they quote."""

from table import *

# --- TCP: what opens nothing --------------------------------------------------------------------

for base, over in ((ip, "IPv4"), (ip6, "IPv6")):
    for flags in ("A", "PA", "FA", "SA", "R", "RA"):
        drops("tcp_not_open", f"{flags} out of nowhere ({over})", base() / tcp(flags=flags, ack=1))
    drops(
        "tcp_not_open",
        f"data out of nowhere ({over})",
        base() / tcp(flags="PA", ack=1) / Raw(b"data"),
    )
case(
    "the server opens towards the client",
    server(ip_back() / TCP(sport=80, dport=port(), flags="S"), "policy_default"),
)
case(
    "the server answers what was not asked",
    server(ip_back() / TCP(sport=80, dport=port(), flags="SA"), "tcp_not_open"),
)


class Connection:
    """A connection whose opener begins at 1000 and whose responder begins at 5000."""

    def __init__(self, six=False):
        self.port = port()
        self.forth, self.back = (ip6, ip6_back) if six else (ip, ip_back)

    def c(self, flags, seq, ack=0, data=b"", fate=PASS, **fields):
        """A segment of the client's."""
        segment = TCP(sport=self.port, dport=80, flags=flags, seq=seq, ack=ack, **fields)
        return client(self.forth() / segment / Raw(data), fate)

    def s(self, flags, seq, ack=0, data=b"", fate=PASS, **fields):
        """A segment of the server's."""
        segment = TCP(sport=80, dport=self.port, flags=flags, seq=seq, ack=ack, **fields)
        return server(self.back() / segment / Raw(data), fate)

    def open(self):
        """Its handshake."""
        return [self.c("S", 1000), self.s("SA", 5000, 1001), self.c("A", 1001, 5001)]


for six, over in ((False, "IPv4"), (True, "IPv6")):
    k = Connection(six)
    case(
        f"a whole connection ({over})",
        *k.open(),
        k.c("PA", 1001, 5001, b"GET"),
        k.s("PA", 5001, 1004, b"page"),
        k.c("FA", 1004, 5005),
        k.s("FA", 5005, 1005),
        k.c("A", 1005, 5006),
    )
    k = Connection(six)
    case(
        f"data before the handshake is done ({over})",
        k.c("S", 1000),
        k.c("PA", 1001, 5001, b"GET", "tcp_handshake"),
    )
    k = Connection(six)
    case(
        f"a SYN-ACK of something else ({over})",
        k.c("S", 1000),
        k.s("SA", 5000, 2001, fate="tcp_handshake"),
        k.s("SA", 5000, 1001),
    )
    k = Connection(six)
    case(
        f"the server sends before its SYN ({over})",
        k.c("S", 1000),
        k.s("FA", 5001, 1001, fate="tcp_handshake"),
    )
    k = Connection(six)
    case(
        f"a blind attacker guesses numbers ({over})",
        *k.open(),
        k.c("PA", 900_000_000, 5001, b"evil", "tcp_sequence"),
        k.c("PA", 1001, 900_000_000, b"evil", "tcp_ack"),
        k.c("R", 900_000_000, fate="tcp_reset"),
        k.s("R", 900_000_000, fate="tcp_reset"),
        k.s("PA", 900_000_000, 1001, b"evil", "tcp_sequence"),
        k.c("PA", 1001, 5001, b"GET"),
    )
    k = Connection(six)
    case(
        f"the server turns the connection around ({over})",
        *k.open(),
        k.s("S", 5001, fate="tcp_syn"),
        k.s("SA", 9000, 1001, fate="tcp_syn"),
    )
    k = Connection(six)
    case(f"a reset ends the connection ({over})", *k.open(), k.s("R", 5001), k.c("S", 70000))
    k = Connection(six)
    case(
        f"flags of no state within a connection ({over})",
        *k.open(),
        k.c("", 1001, 5001, fate="tcp_flags"),
        k.c("FPU", 1001, 5001, fate="tcp_flags"),
        k.c("SFA", 1001, 5001, fate="tcp_flags"),
    )
    k = Connection(six)
    case(
        f"an old packet of a closed connection ({over})",
        *k.open(),
        k.c("R", 1001),
        k.c("S", 70000),
        k.s("SA", 5000, 1001, fate="tcp_handshake"),
    )

# --- UDP, echoes, SCTP --------------------------------------------------------------------------

p = port()
case(
    "an answer, and what is no answer",
    client(ip() / UDP(sport=p, dport=53) / Raw(b"question")),
    server(ip_back() / UDP(sport=53, dport=p) / Raw(b"answer")),
    server(ip_back() / UDP(sport=54, dport=p) / Raw(b"answer"), "policy_default"),
    server(ip_back(src=S4B) / UDP(sport=53, dport=p) / Raw(b"answer"), "policy_default"),
    server(ip_back(dst=C4B) / UDP(sport=53, dport=p) / Raw(b"answer"), "policy_default"),
)
case(
    "an answer in another VLAN",
    client(ip() / UDP(sport=p + 1, dport=53) / Raw(b"question")),
    server(
        back() / Dot1Q(vlan=7) / IP(src=S4, dst=C4) / UDP(sport=53, dport=p + 1) / Raw(b"answer"),
        "policy_default",
    ),
)
port()
n = ident()
case(
    "an echo and its reply, and a reply that nobody asked for",
    client(ip() / ICMP(id=n)),
    server(ip_back() / ICMP(type=0, id=n)),
    server(ip_back() / ICMP(type=0, id=ident()), "icmp_unasked|policy_default"),
    server(ip_back() / ICMP(type=8, id=n), "icmp_unasked|policy_default"),
    client(ip() / ICMP(type=0, id=n), "icmp_unasked|policy_default"),
)
n = ident()
case(
    "the same over IPv6",
    client(ip6() / ICMPv6EchoRequest(id=n)),
    server(ip6_back() / ICMPv6EchoReply(id=n)),
    server(ip6_back() / ICMPv6EchoReply(id=ident()), "icmp_unasked|policy_default"),
    client(ip6() / ICMPv6EchoReply(id=n), "icmp_unasked|policy_default"),
)

p = port()
INIT = {"a_rwnd": 65535, "n_out_streams": 1, "n_in_streams": 1, "init_tsn": 1}


def s1(tag, chunk, fate=PASS):
    """SCTP of the client's."""
    return client(ip() / SCTP(sport=p, dport=36412, tag=tag) / chunk, fate)


def s1_back(tag, chunk, fate=PASS):
    """SCTP of the server's."""
    return server(ip_back() / SCTP(sport=36412, dport=p, tag=tag) / chunk, fate)


case(
    "an association, and tags that are guessed",
    s1(0, SCTPChunkInit(init_tag=11, **INIT)),
    s1_back(
        11,
        SCTPChunkInitAck(init_tag=22, params=[SCTPChunkParamStateCookie(cookie=b"cook")], **INIT),
    ),
    s1(33, SCTPChunkCookieEcho(cookie=b"cook"), "sctp_tag"),
    s1(22, SCTPChunkCookieEcho(cookie=b"cook")),
    s1_back(11, SCTPChunkCookieAck()),
    s1(33, SCTPChunkAbort(), "sctp_tag"),
    s1_back(33, SCTPChunkAbort(), "sctp_tag"),
    s1(22, SCTPChunkData(beginning=1, ending=1, tsn=1, data=b"data")),
)
p = port()
case(
    "SCTP data out of nowhere",
    s1(22, SCTPChunkData(beginning=1, ending=1, tsn=1, data=b"data"), "sctp_state"),
)
p = port()
case("a cookie out of nowhere", s1(22, SCTPChunkCookieEcho(cookie=b"cook"), "sctp_state"))

# --- ICMP errors --------------------------------------------------------------------------------


def answered(six=False):
    """A port whose question was answered, and the steps to that."""
    p = port()
    forth, backwards = (ip6, ip6_back) if six else (ip, ip_back)
    return p, [
        client(forth() / UDP(sport=p, dport=53) / Raw(b"question")),
        server(backwards() / UDP(sport=53, dport=p) / Raw(bytes(600))),
    ]


def answer4(p, **fields):
    """The answer as an error quotes it."""
    return IP(**{"src": S4, "dst": C4, "len": 628, **fields}) / UDP(sport=53, dport=p, len=608)


def answer6(p, **fields):
    """The same over IPv6."""
    return IPv6(**{"src": S6, "dst": C6, "plen": 608, **fields}) / UDP(sport=53, dport=p, len=608)


p, steps = answered()
case(
    "errors about an answer",
    *steps,
    client(ip() / ICMP(type=3, code=3) / answer4(p)),
    client(ip() / ICMP(type=11, code=0) / answer4(p)),
    client(ip(src=C4B) / ICMP(type=3, code=4, nexthopmtu=576) / answer4(p)),
    client(ip() / ICMP(type=3, code=4, nexthopmtu=68) / answer4(p), "icmp_error_mtu"),
    client(ip() / ICMP(type=3, code=4, nexthopmtu=1400) / answer4(p), "icmp_error_mtu"),
    client(ip() / ICMP(type=4) / answer4(p), "icmp_error_type"),
    client(ip() / ICMP(type=5, code=1, gw=C4B) / answer4(p), "icmp_error_type"),
    client(ip() / ICMP(type=3, code=99) / answer4(p), "icmp_error_type"),
    client(ip() / ICMP(type=3, code=3) / answer4(p)[IP].copy() / Raw(b"more")),
    client(ip() / ICMP(type=3, code=3) / Raw(bytes(answer4(p))[:27]), "icmp_error_quote"),
    client(ip() / ICMP(type=3, code=3) / Raw(b""), "icmp_error_quote"),
    client(ip() / ICMP(type=3, code=3) / answer4(p, version=6), "icmp_error_quote"),
    client(ip() / ICMP(type=3, code=3) / answer4(p, frag=10), "icmp_error_quote"),
)
p, steps = answered()
case(
    "errors about what was never sent",
    *steps,
    client(ip() / ICMP(type=3, code=3) / answer4(p + 20000), "icmp_error_flow"),
    client(ip() / ICMP(type=3, code=3) / answer4(p, src=S4B), "icmp_error_flow"),
    client(ip() / ICMP(type=3, code=3) / answer4(p, proto=6), "icmp_error_flow"),
    # The client's own question, as if the gateway had not let it by.
    client(
        ip() / ICMP(type=3, code=3) / IP(src=C4, dst=S4, len=36) / UDP(sport=p, dport=53, len=16),
        "icmp_error_flow",
    ),
    client(
        ip() / ICMP(type=11) / IP(src=S4, dst=C4, len=28) / ICMP(type=0, id=ident()),
        "icmp_error_flow",
    ),
    client(
        ip() / ICMP(type=3, code=1) / IP(src=S4, dst=C4, len=56) / ICMP(type=3, code=1),
        "icmp_error_quote",
    ),
)
k = Connection()
quoted = IP(src=S4, dst=C4, len=1500)
case(
    "errors about a connection",
    *k.open(),
    k.s("A", 5001, 1001, bytes(1000)),
    client(
        ip() / ICMP(type=3, code=4, nexthopmtu=576) / quoted / TCP(sport=80, dport=k.port, seq=5001)
    ),
    client(
        ip() / ICMP(type=3, code=1) / quoted / TCP(sport=80, dport=k.port, seq=900_000_000),
        "icmp_error_sequence",
    ),
    client(
        ip() / ICMP(type=3, code=2) / quoted / TCP(sport=80, dport=k.port, seq=4000),
        "icmp_error_sequence",
    ),
    client(
        ip() / ICMP(type=3, code=1) / quoted / TCP(sport=80, dport=k.port + 20000, seq=5001),
        "icmp_error_flow",
    ),
)
p, steps = answered(six=True)
case(
    "errors about an answer over IPv6",
    *steps,
    client(ip6() / ICMPv6DestUnreach(code=4) / answer6(p)),
    client(ip6() / ICMPv6TimeExceeded() / answer6(p)),
    client(ip6() / ICMPv6ParamProblem() / answer6(p)),
    client(ip6() / ICMPv6PacketTooBig(mtu=1279) / answer6(p), "icmp_error_mtu"),
    client(ip6() / ICMPv6PacketTooBig(mtu=1400) / answer6(p), "icmp_error_mtu"),
    client(ip6() / ICMPv6PacketTooBig(mtu=1400) / answer6(p, plen=1460)),
    client(ip6() / ICMPv6DestUnreach(code=4) / answer6(p + 20000), "icmp_error_flow"),
    client(ip6() / ICMPv6DestUnreach(code=4) / answer6(p, src=S6B), "icmp_error_flow"),
    client(ip6() / ICMPv6DestUnreach(code=4) / Raw(bytes(answer6(p))[:47]), "icmp_error_quote"),
    client(ip6() / ICMPv6DestUnreach(code=99) / answer6(p), "icmp_error_type"),
    client(ip6() / ICMPv6DestUnreach(type=100) / answer6(p), "icmp_error_type"),
)

main()
