//! Right lengths and checksums for a frame of any bytes, so that a mutation gets past the checks
//! of them. Written from the RFCs, naively, and without the parser that is tested with it.

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Writes the checksums of the headers that can be found in `frame`; with `lengths` their lengths
/// too, as if the frame ended where its packet does.
pub fn seal(frame: &mut [u8], lengths: bool) {
    let mut at = 12;
    for _ in 0..3 {
        let Some(ethertype) = word(frame, at) else { return };
        at += 2;
        match ethertype {
            0x8100 | 0x88a8 => at += 2,
            0x0800 => return seal_v4(&mut frame[at..], lengths),
            0x86dd => return seal_v6(&mut frame[at..], lengths),
            _ => return,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// The ones' complement sum (RFC 1071), inverted.
fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&b| u32::from(b));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !(sum as u16)
}

fn seal_v4(packet: &mut [u8], lengths: bool) {
    if packet.len() < 20 {
        return;
    }
    if lengths {
        put(packet, 2, packet.len().min(65_535) as u16);
    }
    let header = usize::from(packet[0] & 15) * 4;
    let total = usize::from(word(packet, 2).unwrap_or(0));
    if header < 20 || header > total || total > packet.len() {
        return;
    }
    put(packet, 10, 0);
    let sum = checksum([&packet[..header]]);
    put(packet, 10, sum);
    if word(packet, 6).is_some_and(|place| place & 0x3fff != 0) {
        return;
    }
    let (head, l4) = packet[..total].split_at_mut(header);
    seal_transport(head[9], &head[12..20], l4, lengths);
}

fn seal_v6(packet: &mut [u8], lengths: bool) {
    if packet.len() < 40 {
        return;
    }
    if lengths {
        put(packet, 4, (packet.len() - 40).min(65_535) as u16);
    }
    let end = 40 + usize::from(word(packet, 4).unwrap_or(0));
    if end > packet.len() {
        return;
    }
    let (head, mut rest) = packet[..end].split_at_mut(40);
    let mut next = head[6];
    for _ in 0..8 {
        if !matches!(next, 0 | 43 | 44 | 60) {
            return seal_transport(next, &head[8..40], rest, lengths);
        }
        let &[following, units, hi, lo, ..] = &*rest else { return };
        let is_part = next == 44 && u16::from_be_bytes([hi, lo]) & 0xfff9 != 0;
        let len = if next == 44 { 8 } else { 8 + 8 * usize::from(units) };
        if is_part || len > rest.len() {
            return;
        }
        rest = &mut rest[len..];
        next = following;
    }
}

fn seal_transport(protocol: u8, addresses: &[u8], l4: &mut [u8], lengths: bool) {
    let Ok(len) = u16::try_from(l4.len()) else { return };
    let over_addresses = |l4: &[u8]| {
        let [high, low] = len.to_be_bytes();
        checksum([addresses, &[0, protocol, high, low], l4])
    };
    let v4 = addresses.len() == 8;
    let place = match protocol {
        TCP => 16,
        UDP => 6,
        1 if v4 => 2,
        58 if !v4 => 2,
        SCTP if l4.len() >= 12 => {
            l4[8..12].fill(0);
            let crc = crc32c(l4);
            return l4[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        _ => return,
    };
    if protocol == UDP && lengths {
        put(l4, 4, len);
    }
    put(l4, place, 0);
    let sum = if protocol == 1 { checksum([&*l4]) } else { over_addresses(l4) };
    // UDP says with 0 that there is none (RFC 768).
    put(l4, place, if protocol == UDP && sum == 0 { 0xffff } else { sum });
}

/// CRC32c bit by bit (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}
