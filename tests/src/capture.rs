//! Capture files: how they are recorded, what Wireshark's tools count in them, another byte order.

use crate::process::{self, Running};
use crate::{Error, Lab, Result, Side, wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time for one of Wireshark's tools.
const TOOL: Duration = Duration::from_secs(60);

/// How many packets of `capture` match the Wireshark display filter; an empty filter matches all.
///
/// # Errors
/// If tshark cannot read the file or the filter.
pub fn count(capture: &Path, filter: &str) -> Result<u64> {
    let file = capture.display().to_string();
    let mut argv = vec!["tshark", "-n", "-r", &file, "-T", "fields", "-e", "frame.number"];
    if !filter.is_empty() {
        argv.extend(["-Y", filter]);
    }
    let output = process::run(&std::env::temp_dir(), &argv, TOOL)?.expect_success()?;
    Ok(output.stdout.lines().count() as u64)
}

/// Packets and bytes on the wire as capinfos counts them.
///
/// # Errors
/// If capinfos cannot read the file.
pub fn totals(capture: &Path) -> Result<(u64, u64)> {
    let file = capture.display().to_string();
    let argv = ["capinfos", "-T", "-M", "-r", "-c", "-d", &file];
    let output = process::run(&std::env::temp_dir(), &argv, TOOL)?.expect_success()?;
    let mut columns = output.stdout.trim().split('\t').skip(1);
    let mut next = || columns.next().and_then(|column| column.trim().parse().ok());
    match (next(), next()) {
        (Some(packets), Some(bytes)) => Ok((packets, bytes)),
        _ => Err(Error::new(format!("capinfos says: {}", output.stdout))),
    }
}

/// `editcap` with `arguments`, from `input` to `output`.
///
/// # Errors
/// If editcap refuses.
pub fn edit(arguments: &[&str], input: &Path, output: &Path) -> Result<()> {
    let (input, output) = (input.display().to_string(), output.display().to_string());
    let mut argv = vec!["editcap"];
    argv.extend(arguments);
    argv.extend([input.as_str(), output.as_str()]);
    process::run(&std::env::temp_dir(), &argv, TOOL)?.expect_success().map(drop)
}

/// Bytes of the header of a classic capture file, and of each packet's header.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// The packets of a classic little-endian capture file: header and bytes of each.
/// (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap>)
///
/// # Errors
/// If `bytes` are not such a file, or it ends within a packet.
pub fn packets(bytes: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let wrong = || Error::new("not a whole little-endian capture file");
    let magic = bytes.get(..4).ok_or_else(wrong)?;
    if !matches!(magic, [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) {
        return Err(wrong());
    }
    let mut rest = bytes.get(FILE_HEADER..).ok_or_else(wrong)?;
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(PACKET_HEADER).ok_or_else(wrong)?;
        let captured = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let (packet, after) = after.split_at_checked(captured as usize).ok_or_else(wrong)?;
        packets.push((header, packet));
        rest = after;
    }
    Ok(packets)
}

/// A classic little-endian capture file in big-endian byte order: the headers are swapped, the
/// packets stay.
///
/// # Errors
/// As [`packets`].
pub fn big_endian(bytes: &[u8]) -> Result<Vec<u8>> {
    let packets = packets(bytes)?;
    let swap = |out: &mut Vec<u8>, field: &[u8]| out.extend(field.iter().rev());
    let mut out = Vec::with_capacity(bytes.len());
    // Magic, major and minor version, two unused words, snap length, link type.
    for (start, end) in [(0, 4), (4, 6), (6, 8), (8, 12), (12, 16), (16, 20), (20, 24)] {
        swap(&mut out, &bytes[start..end]);
    }
    for (header, packet) in packets {
        for field in header.chunks(4) {
            swap(&mut out, field);
        }
        out.extend(packet);
    }
    Ok(out)
}

/// tcpdump at work on one interface.
#[derive(Debug)]
pub struct Recording {
    tcpdump: Running,
    file: PathBuf,
}

impl Recording {
    /// Starts tcpdump on `interface` of `side` and waits until it listens. `options` are more
    /// options of tcpdump, `filter` is its filter.
    ///
    /// # Errors
    /// If tcpdump does not come up.
    pub fn start(
        lab: &Lab,
        (side, interface): (Side, &str),
        file: PathBuf,
        options: &[&str],
        filter: &str,
    ) -> Result<Recording> {
        let name = file.display().to_string();
        let mut argv = vec!["tcpdump", "-i", interface, "-n", "-U", "--immediate-mode"];
        // Debian's tcpdump gives up root before it opens the file.
        argv.extend(["-Z", "root", "-B", "16384"]);
        argv.extend(options);
        argv.extend(["-w", &name, filter]);
        let mut tcpdump = lab.spawn(side, &argv)?;
        let listening = wait::until("tcpdump to listen", TOOL, || {
            let up = tcpdump.stderr().contains("listening on");
            (up || tcpdump.ended().is_some()).then_some(up)
        })?;
        if listening {
            Ok(Recording { tcpdump, file })
        } else {
            Err(Error::new(tcpdump.stop_and_read().describe()))
        }
    }

    /// Ends when nothing was recorded for half a second.
    ///
    /// # Errors
    /// If the kernel dropped packets that were to be recorded, or there is no end of them.
    pub fn finish(self) -> Result<PathBuf> {
        let size = || fs::metadata(&self.file).map(|m| m.len()).unwrap_or_default();
        let mut last = (size(), Instant::now());
        wait::until("quiet after the commands", TOOL, || {
            let now = size();
            if now != last.0 {
                last = (now, Instant::now());
            }
            (last.1.elapsed() > Duration::from_millis(500)).then_some(())
        })?;
        let output = self.tcpdump.stop_and_read();
        if output.stderr.contains("\n0 packets dropped by kernel") {
            Ok(self.file)
        } else {
            Err(Error::new(format!("the recording is not whole: {}", output.describe())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_endian_swaps_headers_and_keeps_packets() {
        let mut little = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
        little.extend([0; 8]);
        little.extend([0, 0, 4, 0, 1, 0, 0, 0]);
        little.extend([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 7, 8, 9]);
        let mut big = vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4];
        big.extend([0; 8]);
        big.extend([0, 4, 0, 0, 0, 0, 0, 1]);
        big.extend([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 9, 7, 8, 9]);
        assert_eq!(big_endian(&little).unwrap(), big);
        assert!(big_endian(&little[..little.len() - 1]).is_err());
    }
}
