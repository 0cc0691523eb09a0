#!/usr/bin/python3
"""Datagrams in fragments: what is whole passes as it came, what breaks a rule is dropped with all
that belongs to it."""

from table import *


class Whole:
    """A datagram that is to be cut up: `packet` as one frame."""

    def __init__(self, packet):
        data = bytes(packet)
        self.six = data[12:14] == b"\x86\xdd"
        self.header = packet[IPv6] if self.six else packet[IP]
        self.protocol = data[20] if self.six else data[23]
        self.data = data[54:] if self.six else data[34:]
        self.id = ident()

    def cut(self, start, end, more=None, data=None, tc=0, **fields):
        """Bytes `start` to `end` as a frame; `more` fragments follow unless they are the last."""
        more = end < len(self.data) if more is None else more
        data = self.data[start:end] if data is None else data
        ends = {"src": self.header.src, "dst": self.header.dst}
        if self.six:
            fragment = IPv6ExtHdrFragment(
                nh=self.protocol, offset=start // 8, m=int(more), id=self.id
            )
            return eth() / IPv6(tc=tc, **ends, **fields) / fragment / Raw(data)
        fields = {"flags": "MF" if more else 0, **fields}
        return (
            eth()
            / IP(proto=self.protocol, id=self.id, frag=start // 8, tos=tc, **ends, **fields)
            / Raw(data)
        )


def question(base, size=100, **fields):
    """A question over UDP of `size` bytes, header included."""
    return Whole(base / udp((bytes(range(256)) * 16)[: size - 8], **fields))


for base, over in ((ip, "IPv4"), (ip6, "IPv6")):

    def q(**fields):
        return question(base(), **fields)

    # --- In order: as it came -------------------------------------------------------------------
    w = q()
    passes(f"two fragments ({over})", w.cut(0, 48), w.cut(48, 100))
    w = q()
    passes(f"three fragments, the last first ({over})", w.cut(64, 100), w.cut(0, 32), w.cut(32, 64))
    w = q(size=3000)
    passes(
        f"fragments of a full frame ({over})", w.cut(0, 1400), w.cut(1400, 2800), w.cut(2800, 3000)
    )
    w = Whole(base() / tcp() / Raw(b"GET / HTTP/1.1 and more"))
    passes(
        f"a SYN with data, the header in the first fragment ({over})", w.cut(0, 24), w.cut(24, 43)
    )
    w = Whole(
        base()
        / (
            ICMPv6EchoRequest(id=ident(), data=bytes(64))
            if w.six
            else ICMP(id=ident()) / Raw(bytes(64))
        )
    )
    passes(f"a ping in nine fragments ({over})", *[w.cut(at, at + 8) for at in range(0, 72, 8)])
    w = q(size=64 * 8)
    passes(f"64 fragments ({over})", *[w.cut(at, at + 8) for at in range(0, 512, 8)])

    # --- Whole, and judged like any other packet ------------------------------------------------
    w = q(dport=9)
    drops("policy_default", f"a denied port in fragments ({over})", w.cut(0, 48), w.cut(48, 100))
    w = Whole(base() / tcp(dport=22) / Raw(bytes(40)))
    drops("policy_default", f"a denied SYN in fragments ({over})", w.cut(0, 24), w.cut(24, 60))
    w = Whole(base() / tcp(flags="SF") / Raw(bytes(40)))
    drops("tcp_flags", f"SYN and FIN in fragments ({over})", w.cut(0, 24), w.cut(24, 60))
    w = q()
    drops(
        "udp_checksum",
        f"a byte changed in a later fragment ({over})",
        w.cut(0, 48),
        w.cut(48, 100, data=b"!" * 52),
    )
    w = q()
    drops(
        "udp_header",
        f"less in fragments than the UDP header says ({over})",
        w.cut(0, 48),
        w.cut(48, 96, more=False),
    )

    # --- Overlaps (RFC 5722; teardrop, bonk, Rose) ----------------------------------------------
    w = q()
    drops(
        "fragment_end",
        f"teardrop: the second lies within the first ({over})",
        w.cut(0, 48),
        w.cut(24, 40, more=False),
    )
    w = q()
    drops(
        "fragment_overlap",
        f"an overlap without a difference ({over})",
        w.cut(0, 48),
        w.cut(40, 100),
    )
    w = q()
    drops(
        "fragment_overlap",
        f"the first again, longer ({over})",
        w.cut(0, 24),
        w.cut(48, 72),
        w.cut(0, 48),
        w.cut(72, 100),
    )
    w = q()
    drops(
        "fragment_overlap",
        f"a fragment again with other data ({over})",
        w.cut(0, 48),
        w.cut(0, 48, data=b"?" * 48),
        w.cut(48, 100),
    )
    w = Whole(base() / tcp() / Raw(bytes(60)))
    drops(
        "fragment_overlap",
        f"flags overwritten by a later fragment ({over})",
        w.cut(0, 32),
        w.cut(16, 48),
        w.cut(48, 80),
    )
    w = q()
    case(
        f"a fragment twice ({over})",
        client(w.cut(0, 48)),
        client(w.cut(0, 48), "fragment_duplicate"),
        client(w.cut(48, 100)),
    )

    # --- Ends, lengths, counts ------------------------------------------------------------------
    w = q()
    drops(
        "fragment_end",
        f"two last fragments that disagree ({over})",
        w.cut(48, 72, more=False),
        w.cut(72, 100),
        w.cut(0, 48),
    )
    w = q()
    drops(
        "fragment_end",
        f"data behind the last fragment ({over})",
        w.cut(48, 72, more=False),
        w.cut(72, 96, more=True),
    )
    w = q()
    drops(
        "fragment_length",
        f"a length that is no multiple of 8 ({over})",
        w.cut(0, 47),
        w.cut(48, 100),
    )
    w = q()
    drops(
        "fragment_empty",
        f"a fragment without data ({over})",
        w.cut(0, 48),
        w.cut(48, 48, more=True),
        w.cut(48, 100),
    )
    w = q(size=1480)
    drops(
        "fragment_oversize",
        f"ping of death ({over})",
        w.cut(0, 1400),
        w.cut(65528, 65529, more=False, data=bytes(1000)),
    )
    w = q(size=65 * 8)
    drops(
        "fragment_count", f"65 fragments ({over})", *[w.cut(at, at + 8) for at in range(0, 520, 8)]
    )
    w = q()
    drops(
        "fragment_ecn", f"some fragments ECN-capable ({over})", w.cut(0, 48, tc=2), w.cut(48, 100)
    )

    # --- Never whole: dropped after 5 s ---------------------------------------------------------
    first, last, middle, hole = q(), q(), q(), q()
    drops(
        "fragment_timeout",
        f"first, last and middle alone, a hole ({over})",
        first.cut(0, 48),
        last.cut(48, 100),
        middle.cut(32, 64),
        hole.cut(0, 32),
        hole.cut(64, 100),
    )

# --- Only in IPv4: the first fragment must hold the transport header (RFC 1858, RFC 3128) -------

w = Whole(ip() / tcp())
drops("fragment_tiny", "TCP flags in the second fragment", w.cut(0, 8), w.cut(8, 20))
w = Whole(ip() / tcp())
drops(
    "fragment_tiny", "the end of the TCP header in the second fragment", w.cut(0, 16), w.cut(16, 20)
)
w = Whole(ip() / tcp(options=[("MSS", 1460)]) / Raw(bytes(20)))
drops("fragment_tiny", "TCP options in the second fragment", w.cut(0, 16), w.cut(16, 44))
w = Whole(ip() / tcp() / Raw(bytes(20)))
drops(
    "fragment_tiny",
    "a TCP fragment at byte 8 (RFC 3128)",
    w.cut(0, 24),
    w.cut(8, 16, data=b"\0\0\0\0\x50\x02\0\0"),
    w.cut(24, 40),
)
w = question(ip())
drops(
    "land",
    "LAND in fragments",
    eth() / IP(src=S4, dst=S4, proto=17, flags="MF", id=w.id) / Raw(w.data[:48]),
)
w = question(ip())
drops("ipv4_option", "a fragment with options", w.cut(0, 48, options=[IPOption_NOP()] * 4))
w = question(ip())
passes(
    "fragments that must not be fragmented", w.cut(0, 48, flags="MF+DF"), w.cut(48, 100, flags="DF")
)
w = question(ip())
w.protocol = 47
drops("policy_default", "GRE in fragments", w.cut(0, 48), w.cut(48, 100))

# --- Only in IPv6 -------------------------------------------------------------------------------

w = question(ip6())
case(
    "an atomic fragment between those with its identification (RFC 6946)",
    client(w.cut(0, 48)),
    client(eth() / IPv6(src=C6, dst=S6) / IPv6ExtHdrFragment(id=w.id) / tcp()),
    client(w.cut(48, 100)),
)
w = question(ip6())
w.protocol = 60
w.data = bytes([17, 1]) + b"\x01\x04" + bytes(4) + b"\x1e\x06" + bytes(6) + w.data
passes("destination options within the fragments", w.cut(0, 64), w.cut(64, 116))
w = Whole(ip6() / tcp())
drops("tcp_header", "an atomic fragment without data", w.cut(0, 0, more=False))
drops("tcp_header", "an atomic fragment of one byte", w.cut(0, 1, more=False))

main()
