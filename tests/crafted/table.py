"""A table of crafted packets: what scapy builds of them, and what is to become of each.

A case is a name and frames, each with the side that sends it and its fate: `pass`, or the reason
for which the gateway is to drop it. Where the order of two checks is not for a sender to know,
fates are joined by `|`. `main` prints a table as JSON for the test that sends it
(`tests/tests/crafted.rs`).
"""

import json
import logging
import struct
import sys

# Files beside this one are only read.
sys.dont_write_bytecode = True

logging.getLogger("scapy").setLevel(logging.ERROR)

# Also for the tables, which import all of this.
from scapy.all import *  # noqa: E402, F403

CLIENT_MAC, SERVER_MAC = (
    sys.argv[1:3] if len(sys.argv) > 2 else ("02:00:00:00:00:0a", "02:00:00:00:00:0b")
)

# Host 1 and 2 of the clients, host 1 and 2 of the servers.
C4, C4B, S4, S4B = "10.77.1.10", "10.77.1.11", "10.77.1.130", "10.77.1.131"
C6, C6B, S6, S6B = "fd77::1:10", "fd77::1:11", "fd77::2:10", "fd77::2:11"

PASS = "pass"

_cases = []
_names = set()
_port = 10000
_id = 1000


def port():
    """A source port that no other case uses, so that each has a flow of its own."""
    global _port
    _port += 1
    return _port


def ident():
    """An identification, of datagrams or echoes, that no other case uses."""
    global _id
    _id += 1
    return _id


def case(name, *steps):
    """A case of steps as `client` and `server` make them."""
    if name in _names:
        raise ValueError(f"two cases are called {name}")
    _names.add(name)
    _cases.append({"name": name, "steps": list(steps)})


def _step(side, packet, fate):
    return {"from": side, "frame": bytes(packet).hex(), "fate": fate}


def client(packet, fate=PASS):
    """A frame from the clients' side."""
    return _step("client", packet, fate)


def server(packet, fate=PASS):
    """A frame from the servers' side."""
    return _step("server", packet, fate)


def passes(name, *packets):
    """A case of packets from the client that all arrive."""
    case(name, *[client(p) for p in packets])


def drops(reason, name, *packets):
    """A case of packets from the client that are all dropped for `reason`."""
    case(name, *[client(p, reason) for p in packets])


def eth(**fields):
    """Ethernet from client to server."""
    return Ether(**{"src": CLIENT_MAC, "dst": SERVER_MAC, **fields})


def back():
    """Ethernet from server to client."""
    return Ether(src=SERVER_MAC, dst=CLIENT_MAC)


def ip(**fields):
    """IPv4 from client to server, Ethernet included."""
    return eth() / IP(**{"src": C4, "dst": S4, "id": 1, **fields})


def ip6(**fields):
    """IPv6 from client to server, Ethernet included."""
    return eth() / IPv6(**{"src": C6, "dst": S6, **fields})


def ip_back(**fields):
    """IPv4 from server to client, Ethernet included."""
    return back() / IP(**{"src": S4, "dst": C4, "id": 1, **fields})


def ip6_back(**fields):
    """IPv6 from server to client, Ethernet included."""
    return back() / IPv6(**{"src": S6, "dst": C6, **fields})


def tcp(**fields):
    """The SYN of a connection that is allowed."""
    return TCP(**{"sport": port(), "dport": 80, "flags": "S", "seq": 1000, **fields})


def udp(data=b"a question", **fields):
    """A datagram that is allowed."""
    return UDP(**{"sport": port(), "dport": 53, **fields}) / Raw(data)


def patched(packet, at, value):
    """The bytes of `packet` with those from `at` on replaced by `value`, after all else is computed:
    checksums are then wrong, unless the field is not summed."""
    data = bytearray(bytes(packet))
    data[at : at + len(value)] = value
    return bytes(data)


def flipped(packet, at):
    """`packet` with the lowest bit of byte `at` changed."""
    data = bytes(packet)
    return patched(packet, at, bytes([data[at] ^ 1]))


def sum16(data):
    """The Internet checksum of `data` (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def with_ip_sum(data):
    """`data`, an Ethernet frame, with the checksum of its IPv4 header made right."""
    data = bytearray(data)
    length = (data[14] & 15) * 4
    data[24:26] = b"\0\0"
    data[24:26] = struct.pack("!H", sum16(bytes(data[14 : 14 + length])))
    return bytes(data)


def with_options(options):
    """A SYN whose IPv4 header has `options`, bytes that fill words of four."""
    frame = bytes(ip() / tcp())
    length = 20 + len(options)
    header = bytes([0x40 | length // 4, frame[15]]) + struct.pack(
        "!H", len(frame) - 14 + len(options)
    )
    return with_ip_sum(frame[:14] + header + frame[18:34] + options + frame[34:])


def main():
    """Prints the table."""
    json.dump(_cases, sys.stdout)
