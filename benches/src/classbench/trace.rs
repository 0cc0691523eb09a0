//! Traces.

use super::line::{Line, Result, instead, mac_text, parse_lines};
use super::{Error, FIELDS, Flags};
use classifier::{Family, PacketKey, RuleIndex, ZoneId};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

/// One packet of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its fields.
    pub key: PacketKey,
    /// The rule it was drawn from, if from any: it matches, but need not be the first that does.
    pub rule: Option<RuleIndex>,
}

/// The headers of a file, one for each line that is not blank.
///
/// # Errors
/// If the file cannot be read, a line is not a header, or there are none.
pub fn read_trace(path: &Path, flags: Flags) -> std::result::Result<Vec<Header>, Error> {
    parse_lines(path, |line| header(line, flags))
}

fn header(line: &mut Line<'_>, flags: Flags) -> Result<Header> {
    let ((family, src), (of_dst, dst)) = (address(line)?, address(line)?);
    if family != of_dst {
        return Err("expected two addresses of one family, found one of each".to_owned());
    }
    let mut key = PacketKey {
        src,
        dst,
        src_port: line.number_16(&[], "a source port")?,
        dst_port: line.number_16(&[], "a destination port")?,
        protocol: line.number(&[], u8::MAX.into(), "a protocol")? as u8,
        ..PacketKey::empty(family)
    };
    // One number is the rule's; of two, the first is the flags'.
    let expected = "flags and a rule, or a rule";
    let first = line.word(&[], expected)?;
    let rule = if line.is_done() || line.named_next() {
        first
    } else {
        let word = Line::of(first).number(&[], u32::MAX, "flags of 32 bits")?;
        if flags == Flags::Read {
            key.tcp_flags = (word >> 16) as u16;
        }
        line.word(&[], "a rule")?
    };
    let rule = match rule {
        "-1" => None,
        _ => Some(Line::of(rule).number(&[], RuleIndex::MAX, "a rule, or -1 for none;")?),
    };
    line.named(|name, line| field(&mut key, name, line))?;
    Ok(Header { key, rule })
}

fn address(line: &mut Line<'_>) -> Result<(Family, u128)> {
    let expected = "an address";
    let word = line.word(&[], expected)?;
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        let address: u32 = word.parse().map_err(|_| instead("an address of 32 bits", word))?;
        return Ok((Family::V4, address.into()));
    }
    word.parse().map(|address: IpAddr| Family::split(address)).map_err(|_| instead(expected, word))
}

fn field(key: &mut PacketKey, name: &str, line: &mut Line<'_>) -> Result<()> {
    match name {
        "from" => key.from_zone = ZoneId(line.number_16(&[], "a zone")?),
        "to" => key.to_zone = ZoneId(line.number_16(&[], "a zone")?),
        "vlan" => key.vlan = line.number(&[], 4094, "a VLAN")? as u16,
        "src-id" => key.src_identity = line.number_16(&[], "an identity")?,
        "dst-id" => key.dst_identity = line.number_16(&[], "an identity")?,
        "dscp" => key.ip = key.ip.with_dscp(line.number(&[], 63, "a DSCP")? as u8),
        "fragment" => key.ip = key.ip.with_fragment(line.yes_or_no()?),
        "src-mac" => key.src_mac = line.mac(&[])?,
        "dst-mac" => key.dst_mac = line.mac(&[])?,
        "length" => key.length = line.number_16(&[], "a length")?,
        _ => return Err(instead(FIELDS, name)),
    }
    Ok(())
}

/// Writes `trace` so that [`read_trace`] reads it back, flags read.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_trace(out: &mut impl Write, trace: &[Header]) -> io::Result<()> {
    for header in trace {
        // Every field by name, so that a new one is not passed over.
        let PacketKey {
            src,
            dst,
            ip,
            protocol,
            src_port,
            dst_port,
            from_zone,
            to_zone,
            vlan,
            tcp_flags,
            src_identity,
            dst_identity,
            length,
            src_mac,
            dst_mac,
        } = header.key;
        let family = ip.family();
        for address in [src, dst] {
            match family {
                Family::V4 => write!(out, "{address}\t")?,
                Family::V6 => write!(out, "{}\t", family.ip_addr(address))?,
            }
        }
        let flags = u32::from(tcp_flags) << 16;
        write!(out, "{src_port}\t{dst_port}\t{protocol}\t{flags}\t")?;
        match header.rule {
            Some(rule) => write!(out, "{rule}")?,
            None => write!(out, "-1")?,
        }
        let empty = PacketKey::empty(family);
        for (name, value, default) in [
            ("from", from_zone.0, empty.from_zone.0),
            ("to", to_zone.0, empty.to_zone.0),
            ("vlan", vlan, empty.vlan),
            ("src-id", src_identity, empty.src_identity),
            ("dst-id", dst_identity, empty.dst_identity),
            ("dscp", ip.dscp().into(), empty.dscp().into()),
            ("length", length, empty.length),
        ] {
            if value != default {
                write!(out, "\t{name}={value}")?;
            }
        }
        for (name, mac, default) in
            [("src-mac", src_mac, empty.src_mac), ("dst-mac", dst_mac, empty.dst_mac)]
        {
            if mac != default {
                write!(out, "\t{name}={}", mac_text(mac))?;
            }
        }
        writeln!(out, "{}", if ip.fragment() { "\tfragment=yes" } else { "" })?;
    }
    out.flush()
}
