//! The TCP cases through Linux conntrack.
//!
//! ```text
//!   this test --> tun0 | forward: new SYNs from tun0, established both ways | tun1 --> this test
//!   10.0.1.2            in a network namespace of the test's own thread        10.0.2.2
//! ```
//!
//! A packet that is written into one device has come out of the other by the time the write
//! returns, or was dropped. Every line of a case must come out the same, or say why not; after a
//! line that says so, kernel and case are about different connections, and the rest is skipped.

use super::language::{Case, Topic};
use super::machines;
use super::topics;
use crate::state::tcp::TcpSegment;
use lab::need::{Need, missing, skip};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

const RULES: &str = "
    add table ip cases
    add chain ip cases forward { type filter hook forward priority 0; policy drop; }
    add rule ip cases forward ct state established accept
    add rule ip cases forward iifname tun0 tcp flags & (fin|syn|rst|ack) == syn ct state new accept
";

/// Two devices and what is between them. Gone with the thread that made it.
struct Kernel {
    devices: [File; 2],
}

impl Kernel {
    fn start() -> io::Result<Kernel> {
        // SAFETY: unshare takes a flag; it moves this thread alone.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let devices = [tun("tun0")?, tun("tun1")?];
        for (device, address) in [("tun0", "10.0.1.1/24"), ("tun1", "10.0.2.1/24")] {
            run(&["ip", "address", "add", address, "dev", device])?;
            run(&["ip", "link", "set", device, "up"])?;
        }
        run(&["nft", RULES])?;
        for (name, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("netfilter/nf_conntrack_tcp_loose", "0"),
        ] {
            std::fs::write(format!("/proc/sys/net/{name}"), value)?;
        }
        Ok(Kernel { devices })
    }

    /// Whether a packet that enters by one device leaves by the other.
    fn forwards(&mut self, from_opener: bool, packet: &[u8]) -> io::Result<bool> {
        let [left, right] = &mut self.devices;
        let (enter, leave) = if from_opener { (left, right) } else { (right, left) };
        enter.write_all(packet)?;
        let mut buffer = [0; 2048];
        loop {
            match leave.read(&mut buffer) {
                // Not what the kernel says on its own account, such as router solicitations.
                Ok(length) if buffer[..length].get(12..20) == packet.get(12..20) => {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

fn tun(name: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: ifreq is integers and a union of such, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request is an ifreq that outlives the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    if done == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
}

fn run(words: &[&str]) -> io::Result<()> {
    let output = Command::new(words[0]).args(&words[1..]).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", words.join(" "), said.trim())))
}

/// The internet checksum (RFC 1071), over what is already a whole number of words or padded.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// The segment in an IPv4 packet, with the ports of connection `number`.
fn packet(number: u16, from_opener: bool, segment: &TcpSegment) -> Vec<u8> {
    let (left, right) = ([10, 0, 1, 2], [10, 0, 2, 2]);
    let ports = (1024 + number, 80u16);
    let (src, dst, ports) =
        if from_opener { (left, right, ports) } else { (right, left, (ports.1, ports.0)) };
    let mut options = Vec::new();
    if let Some(shift) = segment.window_scale {
        options.extend([1, 3, 3, shift]);
    }
    let mut tcp = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    tcp.extend(segment.seq.to_be_bytes());
    tcp.extend(segment.ack.to_be_bytes());
    tcp.extend([(5 + options.len() as u8 / 4) << 4, segment.flags]);
    tcp.extend(segment.window.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(options);
    tcp.resize(tcp.len() + usize::from(segment.payload), 0x55);
    let mut pseudo = [src, dst].concat();
    pseudo.extend([0, 6]);
    pseudo.extend((tcp.len() as u16).to_be_bytes());
    pseudo.extend(&tcp);
    let sum = checksum(&pseudo);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x45, 0];
    packet.extend((20 + tcp.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend([src, dst].concat());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(tcp);
    packet
}

/// Where the kernel differs from a case without its saying so, or does not where it says so.
fn compare(
    kernel: &mut Kernel,
    topic: &Topic,
    case: &Case,
    base: (u32, u32),
    number: u16,
) -> io::Result<Option<String>> {
    for line in &case.lines {
        let words: Vec<&str> = line.input.split_whitespace().collect();
        if !matches!(words[0], ">" | "<") {
            continue;
        }
        let (from_opener, segment) = machines::segment(&words, base).map_err(io::Error::other)?;
        let forwarded = kernel.forwards(from_opener, &packet(number, from_opener, &segment))?;
        let same = forwarded != line.expected.starts_with("drop ");
        let at =
            format!("state/cases/{}:{}: {} `{}`", topic.name, line.number, case.name, line.input);
        let does = if forwarded { "passes" } else { "drops" };
        match (&line.kernel, same) {
            (None, true) => {}
            (None, false) => return Ok(Some(format!("{at}: {}, kernel {does}", line.expected))),
            (Some(why), false) if why.starts_with(does) => return Ok(None),
            (Some(why), _) => return Ok(Some(format!("{at}: not `kernel {why}`: it {does}"))),
        }
    }
    Ok(None)
}

#[test]
fn linux_conntrack_does_the_same_or_the_case_says_why_not() {
    let mut why = missing(&[Need::Lab, Need::Program("nft")]);
    if why.is_none() && File::open("/dev/net/tun").is_err() {
        why = Some("there is no /dev/net/tun".to_owned());
    }
    if let Some(why) = why {
        skip("state::cases::kernel", &why);
        return;
    }
    // A thread of its own, as the namespace goes with it.
    let compared = std::thread::spawn(|| -> io::Result<(u16, Vec<String>)> {
        let mut kernel = Kernel::start()?;
        let mut number = 0;
        let mut differences = Vec::new();
        for topic in topics().filter(|topic| topic.protocol == "tcp") {
            if topic.name == "tcp_pick_up.txt" {
                // The kernel does not check the windows of connections that it picked up at all.
                continue;
            }
            for case in &topic.cases {
                let base = super::BASES[usize::from(number) % super::BASES.len()];
                differences.extend(compare(&mut kernel, &topic, case, base, number)?);
                number += 1;
            }
        }
        Ok((number, differences))
    });
    let compared = compared.join().expect("the comparison does not panic");
    let (cases, differences) = compared.expect("the kernel takes packets");
    assert!(differences.is_empty(), "{} of {cases}\n{}", differences.len(), differences.join("\n"));
    assert!(cases > 300, "{cases} cases");
}
