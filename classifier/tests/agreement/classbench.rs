//! Rule sets and traces in the format of ClassBench (Taylor and Turner, INFOCOM 2005).

use classifier::{AddressMatch, FlagsMatch, PacketKey, PortRange, Rule};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The rules of a file, unpacked if its name ends in `.xz`.
pub fn rules(path: &Path) -> Vec<Rule> {
    let lines = lines(path);
    lines.map(|line| rule(&line).unwrap_or_else(|| panic!("{}: {line}", path.display()))).collect()
}

/// The first `most` headers of a trace.
pub fn headers(path: &Path, most: usize) -> Vec<PacketKey> {
    let lines = lines(path).take(most).enumerate();
    lines
        .map(|(i, line)| header(i, &line).unwrap_or_else(|| panic!("{}: {line}", path.display())))
        .collect()
}

/// `@sip/len dip/len lo : hi lo : hi proto/mask flags/mask`
fn rule(line: &str) -> Option<Rule> {
    let mut fields = line.strip_prefix('@')?.split('\t');
    let mut prefix = || {
        let (addr, len) = fields.next()?.split_once('/')?;
        AddressMatch::prefix(addr.parse().ok()?, len.parse().ok()?).ok()
    };
    let (src, dst) = (prefix()?, prefix()?);
    let mut ports = || {
        let (low, high) = fields.next()?.split_once(" : ")?;
        Some(PortRange { low: low.parse().ok()?, high: high.parse().ok()? })
    };
    let (src_ports, dst_ports) = (ports()?, ports()?);
    let hex = |text: &str| u16::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (protocol, protocol_mask) = fields.next()?.split_once('/')?;
    let protocol = match hex(protocol_mask)? {
        0x00 => None,
        0xff => Some(u8::try_from(hex(protocol)?).ok()?),
        _ => return None,
    };
    let (value, mask) = fields.next()?.split_once('/')?;
    let tcp_flags = FlagsMatch { value: hex(value)?, mask: hex(mask)? };
    Some(Rule { src, dst, src_ports, dst_ports, protocol, tcp_flags, ..Rule::ANY })
}

/// `sip dip sport dport proto [flags] rule`. A header without flags is given some, by its number.
fn header(number: usize, line: &str) -> Option<PacketKey> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [src, dst, src_port, dst_port, protocol, flags @ .., _rule] = &fields[..] else {
        return None;
    };
    let address = |text: &str| {
        let v4 = text.parse().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
        v4.or_else(|_| text.parse()).ok().map(classifier::Family::split)
    };
    let ((family, src), (_, dst)) = (address(src)?, address(dst)?);
    let tcp_flags = match flags {
        [] => [0, 0x0200, 0x1000, 0xffff][number % 4],
        [flags] => flags.parse::<u32>().ok()? as u16,
        _ => return None,
    };
    Some(PacketKey {
        src,
        dst,
        src_port: src_port.parse().ok()?,
        dst_port: dst_port.parse().ok()?,
        protocol: protocol.parse().ok()?,
        tcp_flags,
        ..PacketKey::empty(family)
    })
}

/// The lines of a file, unpacked by `xz` if its name ends in `.xz`.
fn lines(path: &Path) -> impl Iterator<Item = String> {
    let source: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "xz") {
        let mut xz = Command::new("xz");
        let child = xz.arg("-dc").arg(path).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = child.spawn().expect("xz runs");
        let stdout = child.stdout.take().expect("it is piped");
        Box::new(Unpacked { child, stdout })
    } else {
        Box::new(std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    };
    BufReader::new(source).lines().map(|line| line.expect("text"))
}

/// What a child process writes, which is ended when no more is wanted.
struct Unpacked {
    child: Child,
    stdout: ChildStdout,
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.stdout.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            assert!(self.child.wait()?.success(), "xz failed: what it wrote is not all there is");
        }
        Ok(read)
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
