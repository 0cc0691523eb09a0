//! Rule files.

use super::line::{Line, Result, instead, mac_text, parse_lines};
use super::{Error, FIELDS, Flags};
use crate::draw::family_of;
use classifier::{
    AddressMatch, Family, FlagsMatch, MacMatch, PortRange, Range16, Rule, RuleIndex, ZoneId,
};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

/// The rules of a file, one for each line that is not blank.
///
/// A prefix of length zero matches its own family only.
///
/// # Errors
/// If the file cannot be read, a line is not a rule, or there are none.
pub fn read_rules(path: &Path, flags: Flags) -> std::result::Result<Vec<Rule>, Error> {
    parse_lines(path, |line| rule(line, flags))
}

fn rule(line: &mut Line<'_>, flags: Flags) -> Result<Rule> {
    line.expect('@', "@ and a rule")?;
    let (src, dst) = (addresses(line)?, addresses(line)?);
    if family_of(&src).zip(family_of(&dst)).is_some_and(|(src, dst)| src != dst) {
        return Err("expected two addresses of one family, found one of each".to_owned());
    }
    let (src_ports, dst_ports) = (ports(line)?, ports(line)?);
    let protocol = protocol(line)?;
    let mut rule = Rule { src, dst, src_ports, dst_ports, protocol, ..Rule::ANY };
    if !line.is_done() && !line.named_next() {
        let tcp_flags = tcp_flags(line)?;
        if flags == Flags::Read {
            rule.tcp_flags = tcp_flags;
        }
    }
    line.named(|name, line| field(&mut rule, name, line))?;
    Ok(rule)
}

fn addresses(line: &mut Line<'_>) -> Result<AddressMatch> {
    let expected = "an address and its prefix length";
    let word = line.word(&['/'], expected)?;
    if word == "any" {
        return Ok(AddressMatch::Any);
    }
    let address: IpAddr = word.parse().map_err(|_| instead(expected, word))?;
    line.expect('/', "/ and a prefix length after the address")?;
    let bits = Family::split(address).0.bits();
    let len = line.number(&[], bits.into(), "a prefix length")?;
    AddressMatch::prefix(address, len as u8).map_err(|error| error.to_string())
}

fn ports(line: &mut Line<'_>) -> Result<PortRange> {
    range(line, ':', "a port")
}

fn range(line: &mut Line<'_>, between: char, what: &str) -> Result<Range16> {
    let low = line.number_16(&[between], what)?;
    line.expect(between, &format!("{between} and the end of the range that begins with {low}"))?;
    let high = line.number_16(&[], what)?;
    if low > high {
        return Err(format!("expected a range from low to high, found {low} to {high}"));
    }
    Ok(Range16 { low, high })
}

fn protocol(line: &mut Line<'_>) -> Result<Option<u8>> {
    let value = line.number(&['/'], u8::MAX.into(), "a protocol")?;
    line.expect('/', "/ and the protocol's mask")?;
    match line.number(&[], u8::MAX.into(), "the protocol's mask")? {
        0 => Ok(None),
        0xff => Ok(Some(value as u8)),
        mask => Err(format!("expected the protocol mask 0x00 or 0xFF, found {mask:#04x}")),
    }
}

fn tcp_flags(line: &mut Line<'_>) -> Result<FlagsMatch> {
    let value = line.number_16(&['/'], "TCP flags")?;
    line.expect('/', "/ and the mask of the TCP flags")?;
    let mask = line.number_16(&[], "the mask of the TCP flags")?;
    Ok(FlagsMatch { value: value & mask, mask })
}

/// An address and, after `/`, its mask; without one, every bit.
fn mac_match(line: &mut Line<'_>) -> Result<MacMatch> {
    let value = line.mac(&['/'])?;
    let mask = if line.take('/') { line.mac(&[])? } else { [u8::MAX; 6] };
    Ok(MacMatch { value, mask })
}

fn field(rule: &mut Rule, name: &str, line: &mut Line<'_>) -> Result<()> {
    match name {
        "from" => rule.from_zone = Some(ZoneId(line.number_16(&[], "a zone")?)),
        "to" => rule.to_zone = Some(ZoneId(line.number_16(&[], "a zone")?)),
        "vlan" => rule.vlan = Some(line.number(&[], 4094, "a VLAN")? as u16),
        "src-id" => rule.src_identities = range(line, '-', "an identity")?,
        "dst-id" => rule.dst_identities = range(line, '-', "an identity")?,
        "dscp" => rule.dscp = Some(line.number(&[], 63, "a DSCP")? as u8),
        "fragment" => rule.fragment = Some(line.yes_or_no()?),
        "src-mac" => rule.src_mac = mac_match(line)?,
        "dst-mac" => rule.dst_mac = mac_match(line)?,
        "length" => rule.lengths = range(line, '-', "a length")?,
        _ => return Err(instead(FIELDS, name)),
    }
    Ok(())
}

/// Writes `rules` so that [`read_rules`] reads them back, flags read.
///
/// A rule with one address and any other says the family's whole range for the other, which is the
/// same.
///
/// # Errors
/// If `out` cannot be written, or a rule names addresses by range or set, which the format cannot.
pub fn write_rules(out: &mut impl Write, rules: &[Rule]) -> io::Result<()> {
    let mut line = String::new();
    for (index, rule) in (0..).zip(rules) {
        line.clear();
        format(&mut line, index, rule)?;
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}

fn format(line: &mut String, index: RuleIndex, rule: &Rule) -> io::Result<()> {
    // Every field by name, so that a new one is not passed over.
    let Rule {
        from_zone,
        to_zone,
        vlan,
        src,
        dst,
        src_identities,
        dst_identities,
        protocol,
        src_ports,
        dst_ports,
        tcp_flags,
        dscp,
        fragment,
        src_mac,
        dst_mac,
        lengths,
    } = rule;
    let src = text_of(src, dst, index)?;
    let dst = text_of(dst, &rule.src, index)?;
    let mut put = |text: std::fmt::Arguments<'_>| _ = line.write_fmt(text);
    put(format_args!("@{src}\t{dst}"));
    for PortRange { low, high } in [src_ports, dst_ports] {
        put(format_args!("\t{low} : {high}"));
    }
    let (protocol, mask) = protocol.map_or((0, 0), |protocol| (protocol, u8::MAX));
    put(format_args!("\t0x{protocol:02x}/0x{mask:02X}"));
    put(format_args!("\t0x{:04x}/0x{:04x}", tcp_flags.value, tcp_flags.mask));
    let zones = [("from", from_zone.map(|zone| zone.0)), ("to", to_zone.map(|zone| zone.0))];
    let others = [("vlan", *vlan), ("dscp", dscp.map(u16::from))];
    for (name, value) in zones.into_iter().chain(others) {
        if let Some(value) = value {
            put(format_args!("\t{name}={value}"));
        }
    }
    let ranges = [("src-id", src_identities), ("dst-id", dst_identities), ("length", lengths)];
    for (name, range) in ranges {
        if *range != Range16::ANY {
            put(format_args!("\t{name}={}-{}", range.low, range.high));
        }
    }
    for (name, mac) in [("src-mac", src_mac), ("dst-mac", dst_mac)] {
        if *mac != MacMatch::ANY {
            put(format_args!("\t{name}={}/{}", mac_text(mac.value), mac_text(mac.mask)));
        }
    }
    if let Some(fragment) = fragment {
        put(format_args!("\tfragment={}", if *fragment { "yes" } else { "no" }));
    }
    put(format_args!("\n"));
    Ok(())
}

/// `addresses` as text, of the family of the `other` side if they are any.
fn text_of(addresses: &AddressMatch, other: &AddressMatch, index: RuleIndex) -> io::Result<String> {
    let (family, value, len) = match (addresses, other) {
        (AddressMatch::Prefix { family, value, len }, _) => (*family, *value, *len),
        (AddressMatch::Any, AddressMatch::Prefix { family, .. }) => (*family, 0, 0),
        (AddressMatch::Any, _) => return Ok("any".to_owned()),
        _ => {
            let why = format!("rule {index} (counted from 0) has addresses that are no prefix");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    };
    Ok(format!("{}/{len}", family.ip_addr(value)))
}
