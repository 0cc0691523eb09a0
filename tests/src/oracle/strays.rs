//! Scripts of packets that no well-behaved end would send: they belong to no conversation, or do not
//! fit the one there is.

use super::packet::{self, Segment, flag, protocol};
use super::scripts::{Class, Connection, Script, Talk, Writer};

/// TCP segments out of the blue, or out of step with the connection before them.
pub(super) fn tcp(writer: &mut Writer<'_>) -> Script {
    let mut talk = writer.talk(protocol::TCP);
    let mut tcp = Connection::new(writer.rng);
    if writer.rng.bool() {
        tcp.open(writer, &mut talk);
        tcp.transfer(writer, &mut talk);
        out_of_step(writer, &mut talk, &tcp);
        // The connection goes on as if nothing had been.
        tcp.segment(writer, &mut talk, ("data afterwards", false, flag::PSH | flag::ACK), &[1; 30]);
        tcp.segment(writer, &mut talk, ("ACK afterwards", true, flag::ACK), &[]);
    } else {
        let strays = [
            ("ACK without a SYN", flag::ACK),
            ("data without a SYN", flag::PSH | flag::ACK),
            ("SYN-ACK without a SYN", flag::SYN | flag::ACK),
            ("RST without a SYN", flag::RST),
            ("RST-ACK without a SYN", flag::RST | flag::ACK),
            ("FIN without a SYN", flag::FIN | flag::ACK),
        ];
        let (label, flags) = strays[writer.rng.usize(0..strays.len())];
        for back in [false, true, false] {
            tcp.segment(writer, &mut talk, (label, back, flags), &[]);
        }
        unasked(&mut talk);
    }
    talk.script(Class::TcpState)
}

/// Has every packet sent whatever became of the one before.
fn unasked(talk: &mut Talk) {
    for step in &mut talk.steps {
        step.answer = false;
    }
}

fn out_of_step(writer: &mut Writer<'_>, talk: &mut Talk, tcp: &Connection) {
    const FAR: u32 = 1 << 24;
    let back = writer.rng.bool();
    let (this, other) = (usize::from(back), usize::from(!back));
    let (seq, ack) = (tcp.next[this], tcp.next[other]);
    let data = flag::PSH | flag::ACK;
    let cases = [
        ("data far beyond the window", seq.wrapping_add(FAR), ack, data),
        ("data far before the window", seq.wrapping_sub(FAR), ack, data),
        ("an acknowledgement of what was never sent", seq, ack.wrapping_add(FAR), flag::ACK),
        ("an acknowledgement of long ago", seq, ack.wrapping_sub(FAR), flag::ACK),
        ("a RST far beyond the window", seq.wrapping_add(FAR), ack, flag::RST),
        ("a RST in the window, not at its edge", seq.wrapping_add(100), ack, flag::RST),
        ("a SYN within a connection", seq.wrapping_add(FAR), 0, flag::SYN),
        ("a SYN-ACK within a connection", seq, ack, flag::SYN | flag::ACK),
        ("a FIN far beyond the window", seq.wrapping_add(FAR), ack, flag::FIN | flag::ACK),
        ("a keep-alive", seq.wrapping_sub(1), ack, flag::ACK),
    ];
    let (label, seq, ack, flags) = cases[writer.rng.usize(0..cases.len())];
    let payload: &[u8] = if flags == data { &[5; 20] } else { &[] };
    let ports = talk.ports(back);
    let segment = Segment { ports, seq, ack, flags, window: 64_240, options: &[], payload };
    writer.say(talk, label, back, segment.bytes());
}

/// Replies without requests, and messages of every type.
fn icmp_types(writer: &mut Writer<'_>, talk: &mut Talk) {
    let [kind, code] = talk.draw.port.to_be_bytes();
    // Of redirects, the gateway to be used; of errors, unused or a size: any value will do.
    let rest = writer.rng.u32(..);
    let body = packet::icmp(kind, code % 4, rest, &writer.payload());
    writer.say(talk, "ICMP of any type", false, body);
}

/// ICMP that nobody asked for.
pub(super) fn icmp(writer: &mut Writer<'_>) -> Script {
    let mut talk = writer.talk(protocol::ICMP);
    match writer.rng.u8(0..3) {
        0 => {
            writer.reply(&mut talk, 1);
            unasked(&mut talk);
        }
        1 => {
            writer.ask(&mut talk, 1);
            talk.port = talk.port.wrapping_add(30_000);
            writer.reply(&mut talk, 1);
        }
        _ => icmp_types(writer, &mut talk),
    }
    talk.script(Class::IcmpState)
}
