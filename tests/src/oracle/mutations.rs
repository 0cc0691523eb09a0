//! Good packets with one field changed, each field as often as any other.
//!
//! ```text
//! a mutation -> a conversation that has the field -> good packets, the changed one, good packets
//! ```
//!
//! Checksums are made right again unless they are what is changed, so that what looks at the field is
//! asked, and not what looks at checksums.

mod edit;
mod link;
mod network;
mod transport;

use super::packet::{self, flag, protocol};
use super::scripts::{Class, Connection, Script, Talk, Writer};
use fastrand::Rng;

/// Changes a frame; `false` where it has no such field.
type Change = fn(&mut Vec<u8>, &mut Rng) -> bool;

/// What is changed, in words, and how.
type Mutation = (&'static str, Change);

/// A header, and so the packets that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Ethernet,
    Ipv4,
    Ipv6,
    /// Over IP, with this protocol number; ICMP stands for ICMPv6 too.
    Transport(u8),
    Icmpv6,
}

/// Every mutation, by the header.
const ALL: &[(Layer, &[Mutation])] = &[
    (Layer::Ethernet, link::ETHERNET),
    (Layer::Ethernet, link::VLAN),
    (Layer::Ipv4, network::IPV4),
    (Layer::Ipv6, network::IPV6),
    (Layer::Ipv6, network::EXTENSIONS),
    (Layer::Transport(protocol::TCP), transport::TCP),
    (Layer::Transport(protocol::UDP), transport::UDP),
    (Layer::Transport(protocol::SCTP), transport::SCTP),
    (Layer::Transport(protocol::ICMP), transport::ICMP),
    (Layer::Icmpv6, transport::ICMPV6),
];

/// Conversations that are drawn before a mutation is given up for one that the policy has more of.
const TRIES: u32 = 32;

/// A mutated packet before, or within, good traffic of its conversation.
pub(super) fn script(writer: &mut Writer<'_>) -> Script {
    loop {
        let (layer, (label, change)) = pick(writer.rng);
        let Some(mut talk) = (0..TRIES).map(|_| layer.talk(writer)).find(|t| layer.is_of(t)) else {
            continue;
        };
        let mutated = converse(writer, &mut talk);
        let step = &mut talk.steps[mutated];
        if change(&mut step.frame, writer.rng) {
            step.label = label;
            // What it changed of the conversation's state shows in what comes after it, which is
            // sent whatever became of it.
            if let Some(after) = talk.steps.get_mut(mutated + 1) {
                after.answer = false;
            }
            return talk.script(Class::Mutations);
        }
    }
}

/// A mutation, each as likely as any other.
fn pick(rng: &mut Rng) -> (Layer, Mutation) {
    let count = ALL.iter().map(|(_, mutations)| mutations.len()).sum();
    let mut nth: usize = rng.usize(0..count);
    for &(layer, mutations) in ALL {
        match mutations.get(nth) {
            Some(mutation) => return (layer, *mutation),
            None => nth -= mutations.len(),
        }
    }
    unreachable!("`nth` is below the sum of the lengths")
}

impl Layer {
    fn talk(self, writer: &mut Writer<'_>) -> Talk {
        use protocol::{ICMP, SCTP, TCP, UDP};
        let number = match self {
            Layer::Transport(number) => number,
            Layer::Icmpv6 => ICMP,
            _ => *writer.rng.choice(&[UDP, TCP, ICMP, SCTP]).unwrap_or(&UDP),
        };
        writer.talk(number)
    }

    fn is_of(self, talk: &Talk) -> bool {
        match self {
            Layer::Ipv4 => !talk.is_v6(),
            Layer::Ipv6 | Layer::Icmpv6 => talk.is_v6(),
            Layer::Ethernet | Layer::Transport(_) => true,
        }
    }
}

/// Good packets of `talk`; the position of the one that is to be changed.
fn converse(writer: &mut Writer<'_>, talk: &mut Talk) -> usize {
    let within = writer.rng.bool();
    // Once there is a conversation, either end may be the one.
    let back = within && writer.rng.bool();
    match talk.protocol {
        protocol::SCTP => {
            writer.associate(talk);
            writer.rng.usize(0..talk.steps.len())
        }
        protocol::TCP => {
            let mut tcp = Connection::new(writer.rng);
            if within {
                tcp.open(writer, talk);
            }
            let (mutated, start) = (talk.steps.len(), tcp);
            if within {
                data(writer, talk, &mut tcp, back);
            } else {
                tcp.segment(writer, talk, ("SYN", false, flag::SYN), &[]);
            }
            // What follows knows nothing of the changed one.
            tcp = start;
            if within {
                data(writer, talk, &mut tcp, false);
                data(writer, talk, &mut tcp, true);
            } else {
                let flags = flag::SYN | flag::ACK;
                tcp.next[0] = start.next[0].wrapping_add(1);
                tcp.segment(writer, talk, ("SYN-ACK afterwards", true, flags), &[]);
            }
            mutated
        }
        _ => {
            if within {
                message(writer, talk, false);
                message(writer, talk, true);
            }
            let mutated = talk.steps.len();
            message(writer, talk, back);
            message(writer, talk, false);
            message(writer, talk, true);
            mutated
        }
    }
}

fn data(writer: &mut Writer<'_>, talk: &mut Talk, tcp: &mut Connection, back: bool) {
    tcp.segment(writer, talk, ("data", back, flag::PSH | flag::ACK), &[3; 24]);
}

/// A datagram or an echo message.
fn message(writer: &mut Writer<'_>, talk: &mut Talk, back: bool) {
    match talk.protocol {
        protocol::UDP => {
            let ports = talk.ports(back);
            let payload = writer.payload();
            writer.say(talk, "UDP", back, packet::udp(ports.0, ports.1, &payload));
        }
        _ if back => writer.reply(talk, 7),
        _ => writer.ask(talk, 7),
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::Policy;
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_mutation_changes_a_packet_and_all_are_as_frequent() {
        let mut seen = BTreeMap::<&str, u32>::new();
        for seed in 0..200 {
            let policy = Policy::random(0, &mut Rng::with_seed(seed));
            let mut rng = Rng::with_seed(seed);
            let mut writer = Writer::new(&policy, &mut rng);
            for _ in 0..200 {
                for step in &script(&mut writer).steps {
                    *seen.entry(step.label).or_default() += 1;
                }
            }
        }
        let labels: Vec<_> = ALL.iter().flat_map(|(_, all)| all.iter().map(|(l, _)| *l)).collect();
        let mean = 200 * 200 / labels.len() as u32;
        for label in &labels {
            let count = seen.get(label).copied().unwrap_or(0);
            assert!(
                count > mean / 3 && count < mean * 2,
                "{label}: {count}, and {mean} on average"
            );
        }
        assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len(), "names are unique");
    }

    #[test]
    fn what_comes_before_and_after_a_changed_packet_is_good() {
        let policy = Policy::allow_all(0);
        let mut rng = Rng::with_seed(3);
        let mut writer = Writer::new(&policy, &mut rng);
        for number in [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::SCTP] {
            for _ in 0..50 {
                let mut talk = writer.talk(number);
                let mutated = converse(&mut writer, &mut talk);
                assert!(mutated < talk.steps.len());
                for step in &talk.steps {
                    let mut sealed = step.frame.clone();
                    packet::seal(&mut sealed);
                    assert_eq!(sealed, step.frame, "{}", step.label);
                }
            }
        }
    }
}
