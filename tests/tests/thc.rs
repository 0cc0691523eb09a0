//! thc-ipv6's suites for filters: `firewall6` and `fragmentation6`, case by case.
//!
//! Both say: "run a sniffer behind the firewall to see what passes through". So it is done: each
//! case puts its number into the flow label of its packets, and what arrives at the server is
//! counted by it.

use lab::capture::{Recording, packets};
use lab::gateway::{Gateway, GatewayOptions};
use lab::process::Running;
use lab::{Error, Family, Lab, Result, Side, address, need, wait};
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

/// Host 1 of the servers offers HTTP and DNS and answers pings; host 2 offers nothing.
const POLICY: &str = r#"version: 1
zones:
  clients: { networks: ["fd77::1:0/112"] }
  servers: { networks: ["fd77::2:0/112"] }
hosts:
  server-1: { zone: servers, addresses: ["fd77::2:10"] }
services:
  http: { protocol: tcp, ports: [80] }
  dns: { protocol: udp, ports: [53] }
  ping: { protocol: icmpv6, type: 128 }
rules:
  - { id: web, from: clients, to: server-1, service: [http, dns, ping], action: allow }
"#;

/// What is to come of a case where its port (or ping) is allowed. Where it is denied, nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    Nothing,
    /// Packets that are in order, as often as they were sent.
    Packets,
    /// So many frames.
    Frames(usize),
}
use Passes::{Frames, Nothing, Packets};

/// The cases of `firewall6`, each a SYN (or a UDP packet) in some disguise. Its numbers begin at 1.
const FIREWALL: [(&str, Passes); 39] = [
    ("plain sending", Packets),
    ("plain sending with data", Packets),
    // An IPv6 packet in a frame for IPv4, and one of version 5.
    ("IPv4 ethernet type", Nothing),
    ("sending IPv5 packet", Nothing),
    // The options are six bytes of padding, the router alert a well-formed one.
    ("hop-by-hop hdr (ignore option)", Packets),
    ("dst hdr (ignore option)", Packets),
    ("hop-by-hop hdr router alert", Packets),
    // RFC 8200, 4.1: destination options come once, or twice around a routing header.
    ("3x dst hdr (ignore option)", Nothing),
    ("130x dst hdr (ignore option)", Nothing),
    // RFC 6946: a datagram of one fragment is one like any other.
    ("atomic fragment", Packets),
    ("2x atomic fragment (same id)", Nothing),
    ("2x atomic fragment (diff id)", Nothing),
    ("3x atomic fragment (same id)", Nothing),
    ("3x atomic fragment (diff id)", Nothing),
    ("130x atomic fragment (same id)", Nothing),
    ("130x atomic fragment (diff id)", Nothing),
    ("260x atomic fragment (same id)", Nothing),
    ("260x atomic fragment (diff id)", Nothing),
    // RFC 7112: the first fragment does not hold the whole header chain.
    ("2kb dst hdr", Nothing),
    ("2kb dst + dst hdr", Nothing),
    ("32x 2kb dst hdr", Nothing),
    ("2x dst hdr + 2x frag", Nothing),
    ("4x dst hdr + 3x frag", Nothing),
    // Fragments of a SYN with data that name different next headers. Only the first one's counts
    // (RFC 8200, 4.5). In all of them the last has 14 bytes too many, so that the checksum is
    // wrong; those that begin as ICMPv6 are no ping besides.
    ("frag type first+middle", Nothing),
    ("frag type first (2nd)", Nothing),
    ("frag type first #2 (overlap)", Nothing),
    // The first fragment of a ping, and an atomic fragment with its identification: that is judged
    // by itself (RFC 6946), the other never gets whole.
    ("frag type first #3 (resend#2)", Frames(1)),
    ("frag type first #4 (resend#2L)", Frames(1)),
    ("frag type middle+last", Nothing),
    ("frag type middle(first)+last", Nothing),
    ("frag type last", Nothing),
    ("frag type last #2", Nothing),
    // A ping and a SYN that overlap (RFC 5722), and whose first fragment ends within the header
    // chain besides.
    ("overlapping ping first", Nothing),
    ("overlapping ping last", Nothing),
    ("resend 2nd fake pkt", Nothing),
    // Padding that reaches beyond its header.
    ("Bad TLV handling", Nothing),
    ("Bad TLV handling #2", Nothing),
    ("Bad TLV handling #2 reverse", Nothing),
    // Source ports that careless filters let in: judged like any other.
    ("plain with srcport", Packets),
];

/// The cases of `fragmentation6`: pings of 1,208 bytes in fragments, mostly broken.
const FRAGMENTATION: [(&str, Passes); 36] = [
    // Two second fragments that differ, in both orders, with and without a hop limit of 1.
    ("resending fragments with different data within stream", Nothing),
    ("resending fragments with different data within stream", Nothing),
    ("resending fragments with different data within stream", Nothing),
    ("resending fragments with different data within stream", Nothing),
    // The ping was whole before the other second fragment came: that begins a datagram which stays
    // incomplete.
    ("resending fragments with different data after completion", Frames(3)),
    // RFC 5722: even what overlaps without a difference.
    ("overlapping third fragment into second with valid data", Nothing),
    ("overlapping third fragment into second", Nothing),
    ("overlapping second fragment into third", Nothing),
    ("one shot fragment", Frames(1)),
    ("double one shot fragments", Nothing),
    ("137 one shot fragments", Nothing),
    ("175 one shot fragments", Nothing),
    // These four have no flow label: see `LARGE`.
    ("sending 65486 bytes", Nothing),
    ("sending 65495 bytes", Nothing),
    ("sending 65535 bytes", Nothing),
    ("sending 66920 bytes", Nothing),
    ("replacing fragments with new, different data", Nothing),
    ("replacing fragments with new, different data", Nothing),
    // Never whole.
    ("sending only first fragment", Nothing),
    ("sending only second fragment", Nothing),
    ("sending only last fragment", Nothing),
    ("with 1k holes", Nothing),
    ("with 4k holes", Nothing),
    ("with 16k holes", Nothing),
    // No data, and less than a TCP header.
    ("one shot fragment without content", Nothing),
    ("one shot fragment with 1 byte content", Nothing),
    // An atomic fragment, and one of a byte at offset 8, in the place of the last fragment.
    ("last fragment has offset 0 and no data", Nothing),
    ("last fragment has offset 0", Nothing),
    ("last fragment has offset 1", Nothing),
    // Of the greatest length, with a wrong checksum; longer than that.
    ("last fragment at 8191 + 7 bytes", Nothing),
    ("last fragment at 8191 + 8 bytes", Nothing),
    ("last fragment at 8191 + 9 bytes", Nothing),
    ("last fragment at 8191 + 1414 bytes", Nothing),
    // Fragments whose data are fragments, two and three levels deep; the one level never ends.
    ("Multifragment 34", Nothing),
    ("Multifragment 35", Nothing),
    ("Multifragment 36", Nothing),
];

/// The cases of `fragmentation6` that all use one identification, so that they cannot run at once,
/// and the frames that come of them: two pings of almost 65,535 bytes in 54 fragments each, and two
/// that are longer than a packet can be.
const LARGE: [usize; 4] = [13, 14, 15, 16];
const LARGE_FRAMES: usize = 2 * 54;

/// Frames by case; 0 is what has no flow label.
type Arrived = BTreeMap<usize, usize>;

/// What arrived at the server of what the client sent to `target`: frames by flow label, but for
/// address resolution and listener reports. A frame that is not IPv6 (or ARP) has none, but belongs
/// to `usize::MAX`.
fn arrived(capture: &[u8], target: &str) -> Result<Arrived> {
    let of = |text: &str| text.parse().map(|a: Ipv6Addr| a.octets());
    let target = of(target).map_err(|e| Error::new(format!("{target}: {e}")))?;
    let mut arrived = Arrived::new();
    for (_, frame) in packets(capture)? {
        // Ethernet, then the IPv6 header: label at 15, next header at 20, destination at 38.
        let label = match frame.get(12..54) {
            Some([0x86, 0xdd, header @ ..]) if header[0] >> 4 == 6 => {
                let messages = 130..=143;
                let discovery =
                    header[6] == 58 && frame.get(54).is_some_and(|kind| messages.contains(kind));
                let reports = header[6] == 0 && header[24] == 0xff;
                if header[24..40] != target || discovery || reports {
                    continue;
                }
                usize::from(header[1] & 0x0f) << 16
                    | usize::from(header[2]) << 8
                    | usize::from(header[3])
            }
            Some([0x08, 0x06, ..]) => continue,
            _ => usize::MAX,
        };
        *arrived.entry(label).or_default() += 1;
    }
    Ok(arrived)
}

/// Which cases came out otherwise than expected.
fn differences(cases: &[(&str, Passes)], allowed: bool, arrived: &Arrived) -> Vec<String> {
    let mut differences = Vec::new();
    for ((name, passes), number) in cases.iter().zip(1..) {
        let frames = arrived.get(&number).copied().unwrap_or_default();
        let right = match if allowed { *passes } else { Nothing } {
            Nothing => frames == 0,
            Packets => frames > 0,
            Frames(expected) => frames == expected,
        };
        if !right {
            let where_ = if allowed { "allowed" } else { "denied" };
            differences.push(format!("{number} ({name}): {frames} frames of what is {where_}"));
        }
    }
    differences
}

fn lab_without_noise() -> Result<Lab> {
    let lab = Lab::new()?;
    // The tools ask for the server's address themselves; its answers to what they send are not
    // wanted to depend on another resolution.
    lab.set_neighbours()?;
    Ok(lab)
}

fn record(lab: &Lab, name: &str) -> Result<Recording> {
    Recording::start(lab, (Side::Server, "eth0"), lab.dir().join(name), &["-Q", "in"], "")
}

/// Starts one case of `firewall6` and waits until its packets are out: it then polls busily for an
/// answer for 3 s, which nobody waits for. With `answered` it has more to send after each answer.
fn firewall_case(lab: &Lab, arguments: &[&str], number: usize, answered: bool) -> Result<()> {
    let (name, _) = FIREWALL[number - 1];
    let number = number.to_string();
    let mut argv = vec!["atk6-firewall6"];
    argv.extend(arguments);
    argv.push(&number);
    let mut case = lab.spawn(Side::Client, &argv)?;
    let over = |case: &mut Running| case.ended().is_some();
    let begun =
        wait::until(&format!("case {number} of firewall6"), Duration::from_secs(30), || {
            (case.stdout().contains(name) || over(&mut case)).then_some(())
        });
    if begun.is_err() || !case.stdout().contains(name) {
        return Err(Error::new(case.stop_and_read().describe()));
    }
    let grace = Duration::from_millis(if answered { 8000 } else { 800 });
    // Running on is as good an end.
    let _ = case.wait(grace);
    Ok(())
}

/// Runs every case of `firewall6` with `arguments` before and after the interface.
fn firewall(lab: &Lab, options: &[&str], target: &str, port: &str, allowed: bool) -> Result<()> {
    let mut arguments = options.to_vec();
    arguments.extend(["eth0", target, port]);
    let numbers: Vec<usize> = (1..=FIREWALL.len()).collect();
    for group in numbers.chunks(8) {
        std::thread::scope(|scope| {
            let start = |&number: &usize| {
                let arguments = &arguments;
                // The last sends from eleven ports, one after the other.
                let answered = allowed && number == FIREWALL.len();
                scope.spawn(move || firewall_case(lab, arguments, number, answered))
            };
            let threads: Vec<_> = group.iter().map(start).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| Error::new("a case's thread panicked"))?
            })
        })?;
    }
    Ok(())
}

/// `firewall6` against an allowed and a denied port, each of a host of its own.
fn firewall_suite(options: &[&str], port: &str) -> Result<()> {
    let lab = lab_without_noise()?;
    let gateway = Gateway::start(&lab, POLICY, &GatewayOptions::default())?;
    let recording = record(&lab, "firewall.pcap")?;
    let [allowed, denied] = [1, 2].map(|host| address(Side::Server, host, Family::V6));
    firewall(&lab, options, allowed, port, true)?;
    firewall(&lab, options, denied, port, false)?;
    let capture = std::fs::read(recording.finish()?)?;
    let mut wrong = Vec::new();
    for (target, allows) in [(allowed, true), (denied, false)] {
        let mut arrived = arrived(&capture, target)?;
        wrong.extend(differences(&FIREWALL, allows, &arrived));
        // Without a label are the fragments of what is too long for one packet.
        arrived.retain(|label, _| !(1..=FIREWALL.len()).contains(label));
        wrong.extend(arrived.iter().map(|(label, n)| format!("{n} frames of label {label}")));
    }
    assert!(wrong.is_empty(), "firewall6 {options:?} {port}:\n{}", wrong.join("\n"));
    gateway.stop()
}

#[test]
fn firewall6_gets_past_with_tcp_only_where_a_plain_syn_does() -> Result<()> {
    need!(Need::Gateway, Need::Program("atk6-firewall6"), Need::Program("tcpdump"));
    firewall_suite(&[], "80")
}

#[test]
fn firewall6_gets_past_with_udp_only_where_a_plain_packet_does() -> Result<()> {
    need!(Need::Gateway, Need::Program("atk6-firewall6"), Need::Program("tcpdump"));
    firewall_suite(&["-u"], "53")
}

/// Runs a case of `fragmentation6` to its end, without its pings before and after.
fn fragmentation_case(lab: &Lab, target: &str, number: usize) -> Result<()> {
    let (name, _) = FRAGMENTATION[number - 1];
    let number = number.to_string();
    let argv = ["atk6-fragmentation6", "-p", "eth0", target, &number];
    let output = lab.exec(Side::Client, &argv, Duration::from_secs(30))?;
    let ended = output.stdout.contains(name) && output.stdout.contains("ATTACK END");
    if ended { Ok(()) } else { Err(Error::new(output.describe())) }
}

/// Runs every case of `fragmentation6` against each of `targets`: first the large pings, as a source
/// has room for so many incomplete datagrams and the other cases leave many.
fn fragmentation(lab: &Lab, targets: &[&str]) -> Result<()> {
    let all = |cases: &[&[usize]]| {
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for &target in targets {
                let run = move |cases: &[usize]| {
                    cases.iter().try_for_each(|number| fragmentation_case(lab, target, *number))
                };
                threads.extend(cases.iter().map(|&cases| scope.spawn(move || run(cases))));
            }
            threads.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| Error::new("a case's thread panicked"))?
            })
        })
    };
    all(&[&LARGE])?;
    // Each mostly sleeps.
    let others: Vec<_> =
        (1..=FRAGMENTATION.len()).filter(|number| !LARGE.contains(number)).collect();
    all(&others.chunks(1).collect::<Vec<_>>())
}

#[test]
fn fragmentation6_gets_past_only_with_whole_datagrams() -> Result<()> {
    need!(Need::Gateway, Need::Program("atk6-fragmentation6"), Need::Program("tcpdump"));
    let lab = lab_without_noise()?;
    let gateway = Gateway::start(&lab, POLICY, &GatewayOptions::default())?;
    let recording = record(&lab, "fragmentation.pcap")?;
    let targets = [1, 2].map(|host| address(Side::Server, host, Family::V6));
    fragmentation(&lab, &targets)?;
    let capture = std::fs::read(recording.finish()?)?;
    let mut wrong = Vec::new();
    for (target, allowed) in targets.into_iter().zip([true, false]) {
        let mut arrived = arrived(&capture, target)?;
        wrong.extend(differences(&FRAGMENTATION, allowed, &arrived));
        arrived.retain(|label, _| !(1..=FRAGMENTATION.len()).contains(label));
        let large = arrived.remove(&0).unwrap_or_default();
        // Now and then fragmentation6 sends a ping with a wrong checksum, which is to be dropped.
        let expected = match (allowed, gateway.dropped_for("icmp_checksum")? >= 54) {
            (true, false) => vec![LARGE_FRAMES],
            (true, true) => vec![LARGE_FRAMES, LARGE_FRAMES / 2],
            (false, _) => vec![0],
        };
        if !expected.contains(&large) {
            wrong.push(format!("{large} frames of the large pings to {target}"));
        }
        wrong.extend(arrived.iter().map(|(label, n)| format!("{n} frames of label {label}")));
    }
    assert!(wrong.is_empty(), "fragmentation6:\n{}", wrong.join("\n"));
    gateway.stop()
}

/// The control experiment: where nobody judges, packets of every case arrive.
#[test]
fn without_a_gateway_every_case_arrives() -> Result<()> {
    need!(
        Need::Lab,
        Need::Program("atk6-firewall6"),
        Need::Program("atk6-fragmentation6"),
        Need::Program("tcpdump")
    );
    let lab = lab_without_noise()?;
    lab.bridge()?;
    let target = address(Side::Server, 1, Family::V6);
    let recording = record(&lab, "firewall.pcap")?;
    firewall(&lab, &[], target, "80", true)?;
    let mut seen = arrived(&std::fs::read(recording.finish()?)?, target)?;
    // A bridge with netfilter drops frames for IPv4 that hold none and IPv6 of version 5; some
    // fragments have no label.
    let labelled = |number: &usize| ![3, 4, 17, 18, 19, 20, 21, 22, 23, 26, 32].contains(number);
    let missing = |cases: usize, seen: &Arrived| -> Vec<usize> {
        (1..=cases).filter(|number| !seen.contains_key(number)).collect()
    };
    let unseen: Vec<_> = missing(FIREWALL.len(), &seen).into_iter().filter(labelled).collect();
    assert!(unseen.is_empty(), "cases of firewall6 that did not arrive: {unseen:?}");
    assert!(seen.get(&0).is_some_and(|frames| *frames > 50), "{seen:?}");
    let recording = record(&lab, "fragmentation.pcap")?;
    fragmentation(&lab, &[target])?;
    seen = arrived(&std::fs::read(recording.finish()?)?, target)?;
    assert_eq!(missing(FRAGMENTATION.len(), &seen), LARGE, "cases of fragmentation6: {seen:?}");
    assert!(seen.get(&0).is_some_and(|frames| *frames > LARGE_FRAMES), "{seen:?}");
    Ok(())
}
