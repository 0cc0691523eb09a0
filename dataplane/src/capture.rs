//! Capture files: read whole into memory, and written.
//!
//! pcap (microseconds and nanoseconds, both byte orders) and pcapng are read by pcap-parser; what
//! is written is pcap with nanoseconds.

use crate::parse::FrameView;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_parser::{
    Block, Linktype, OptionCode, PcapBlockOwned, PcapError, PcapNGOption, create_reader,
};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Room for blocks at first.
const BUFFER: usize = 1 << 20;
/// Most room for one block: no snap length in use comes near it.
const MAX_BUFFER: usize = 16 << 20;

/// The last time that a pcap file can tell: 32 bits of seconds, nanoseconds since 1970.
const LAST_TIME: u64 = u32::MAX as u64 * 1_000_000_000 + 999_999_999;

/// One packet of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    start: usize,
    length: u32,
    /// Length on the wire; more than the bytes there are when the snap length cut it.
    pub wire_len: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Which of the files it came from, in the order they were read.
    pub file: u16,
}

impl Record {
    /// Whether the snap length cut it.
    pub fn cut(&self) -> bool {
        self.length < self.wire_len
    }
}

/// The packets of one or more capture files, in memory.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    bytes: Vec<u8>,
    records: Vec<Record>,
    files: u16,
}

/// Why a capture could not be read.
#[derive(Debug)]
pub struct CaptureError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: CaptureProblem,
}

/// What can be wrong with a capture.
#[derive(Debug)]
pub enum CaptureProblem {
    /// It cannot be opened or read.
    Io(io::Error),
    /// It is neither pcap nor pcapng.
    Format,
    /// Its packets are not Ethernet frames.
    LinkType(i32),
    /// A block after this many packets is malformed.
    Malformed(usize),
    /// More files than can be told apart.
    TooManyFiles,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.problem {
            CaptureProblem::Io(e) => write!(f, "{e}"),
            CaptureProblem::Format => write!(f, "neither a pcap nor a pcapng file"),
            CaptureProblem::LinkType(link) => write!(
                f,
                "link type {link} is not supported: only Ethernet (1) captures can be replayed"
            ),
            CaptureProblem::Malformed(after) => {
                write!(f, "malformed after packet {after}; is the file damaged?")
            }
            CaptureProblem::TooManyFiles => write!(f, "more than {} files", u16::MAX),
        }
    }
}

impl std::error::Error for CaptureError {}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a whole packet.
    Whole,
    /// In the middle of one, which is left out: the capturing program was stopped, or still runs.
    CutShort,
}

impl Capture {
    /// Appends the packets of the file at `path`. `progress` is told the bytes read so far.
    ///
    /// # Errors
    /// [`CaptureError`]; the packets before the damage stay.
    pub fn read(
        &mut self,
        path: &Path,
        progress: impl FnMut(u64) + Send,
    ) -> Result<Ending, CaptureError> {
        let failed = |problem| CaptureError { path: path.to_owned(), problem };
        let file = self.files;
        self.files = file.checked_add(1).ok_or_else(|| failed(CaptureProblem::TooManyFiles))?;
        let input = File::open(path).map_err(|e| failed(CaptureProblem::Io(e)))?;
        let refused = OnceLock::new();
        let input = Input { input, read: 0, progress, refused: &refused };
        let result = self.read_blocks(input, file);
        // pcap-parser says only that reading failed.
        result.map_err(|problem| failed(refused.into_inner().map_or(problem, CaptureProblem::Io)))
    }

    /// Appends the packets of a file with these bytes, as [`read`](Self::read) does.
    ///
    /// # Errors
    /// What is wrong with it; the packets before the damage stay.
    #[cfg(fuzzing)]
    pub fn read_bytes(&mut self, bytes: &[u8]) -> Result<Ending, CaptureProblem> {
        self.read_blocks(bytes, 0)
    }

    fn read_blocks(
        &mut self,
        input: impl Read + Send,
        file: u16,
    ) -> Result<Ending, CaptureProblem> {
        let mut capacity = BUFFER;
        let mut reader = create_reader(capacity, input).map_err(|_| CaptureProblem::Format)?;
        let mut format = Format::default();
        let before = self.records.len();
        loop {
            let next = match reader.next() {
                Ok((consumed, block)) => {
                    let malformed = CaptureProblem::Malformed(self.records.len() - before);
                    self.take_block(block, &mut format, file, malformed)?;
                    reader.consume(consumed);
                    continue;
                }
                Err(PcapError::Eof) => return Ok(Ending::Whole),
                Err(PcapError::UnexpectedEof) => Next::Ended,
                Err(PcapError::Incomplete(_)) => Next::Refill,
                Err(PcapError::BufferTooSmall) if capacity < MAX_BUFFER => Next::Grow,
                Err(_) => Next::Malformed,
            };
            let malformed = CaptureProblem::Malformed(self.records.len() - before);
            match next {
                // A packet that is longer than the block around it makes the reader ask for more
                // than the whole block, and more again, until the file ends.
                _ if format.holds_whole_block(reader.data()) => return Err(malformed),
                Next::Ended => return Ok(Ending::CutShort),
                Next::Refill => reader.refill().map_err(|_| malformed)?,
                Next::Grow => {
                    capacity *= 2;
                    reader.grow(capacity);
                }
                Next::Malformed => return Err(malformed),
            }
        }
    }

    fn take_block(
        &mut self,
        block: PcapBlockOwned<'_>,
        format: &mut Format,
        file: u16,
        malformed: CaptureProblem,
    ) -> Result<(), CaptureProblem> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                only_ethernet(header.network)?;
                format.nanoseconds = header.is_nanosecond_precision();
            }
            PcapBlockOwned::Legacy(packet) => {
                let fraction =
                    u64::from(packet.ts_usec) * if format.nanoseconds { 1 } else { 1000 };
                let time = u64::from(packet.ts_sec) * 1_000_000_000 + fraction;
                self.push(packet.data, packet.origlen, time, file);
            }
            PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                format.interfaces.clear();
                format.section =
                    Some(if section.big_endian() { Order::Big } else { Order::Little });
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                let order = format.section.unwrap_or(Order::Little);
                format.interfaces.push(InterfaceClock {
                    link: interface.linktype,
                    units: ticks_per_second(interface.if_tsresol),
                    offset: order.time_offset(&interface.options),
                    snap_length: interface.snaplen,
                });
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let clock = format.interface(packet.if_id, malformed)?;
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let data = &packet.data[..packet.data.len().min(packet.caplen as usize)];
                self.push(data, packet.origlen, clock.nanoseconds(ticks), file);
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                // A simple packet has no time and no captured length: the snap length bounds it.
                let clock = format.interface(0, malformed)?;
                let snap = if clock.snap_length == 0 { u32::MAX } else { clock.snap_length };
                let length = packet.origlen.min(snap) as usize;
                let time = self.records.last().map_or(0, |record| record.time);
                self.push(
                    &packet.data[..packet.data.len().min(length)],
                    packet.origlen,
                    time,
                    file,
                );
            }
            PcapBlockOwned::NG(_) => {}
        }
        Ok(())
    }

    fn push(&mut self, data: &[u8], wire_len: u32, time: u64, file: u16) {
        let (start, length) = (self.bytes.len(), data.len() as u32);
        self.bytes.extend_from_slice(data);
        // Some writers leave the original length zero; the bytes that are there were on the wire.
        self.records.push(Record { start, length, wire_len: wire_len.max(length), time, file });
    }

    /// Puts the packets of all files into the order of their times; packets of equal time keep the
    /// order in which they were read.
    pub fn sort(&mut self) {
        self.records.sort_by_key(|record| record.time);
    }

    /// The packets.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The bytes of a record.
    #[inline]
    pub fn view(&self, record: &Record) -> FrameView<'_> {
        let end = record.start + record.length as usize;
        FrameView { bytes: &self.bytes[record.start..end], wire_len: record.wire_len }
    }

    /// Writes the records that `wanted` says to a new pcap file. Times after the year 2106, of which
    /// pcap cannot tell, are written as the last that it can.
    ///
    /// # Errors
    /// [`CaptureError`] when the file cannot be written.
    pub fn write(&self, path: &Path, wanted: impl Fn(usize) -> bool) -> Result<(), CaptureError> {
        self.write_records(path, wanted)
            .map_err(|e| CaptureError { path: path.to_owned(), problem: CaptureProblem::Io(e) })
    }

    fn write_records(&self, path: &Path, wanted: impl Fn(usize) -> bool) -> io::Result<()> {
        let as_io = |e: pcap_file::PcapError| match e {
            pcap_file::PcapError::IoError(e) => e,
            other => io::Error::other(other.to_string()),
        };
        let header = PcapHeader {
            snaplen: self.records.iter().map(|r| r.wire_len).max().unwrap_or(0).max(262_144),
            datalink: DataLink::ETHERNET,
            ts_resolution: pcap_file::TsResolution::NanoSecond,
            endianness: pcap_file::Endianness::native(),
            ..PcapHeader::default()
        };
        let output = BufWriter::new(File::create(path)?);
        let mut writer = PcapWriter::with_header(output, header).map_err(as_io)?;
        for (_, record) in self.records.iter().enumerate().filter(|(nth, _)| wanted(*nth)) {
            let data = self.view(record).bytes;
            let time = Duration::from_nanos(record.time.min(LAST_TIME));
            writer.write_packet(&PcapPacket::new(time, record.wire_len, data)).map_err(as_io)?;
        }
        writer.into_writer().flush()
    }
}

fn only_ethernet(link: Linktype) -> Result<(), CaptureProblem> {
    match link {
        Linktype::ETHERNET => Ok(()),
        Linktype(other) => Err(CaptureProblem::LinkType(other)),
    }
}

/// What the headers of a file said.
#[derive(Default)]
struct Format {
    nanoseconds: bool,
    /// Byte order of the pcapng section; `None` in a pcap file.
    section: Option<Order>,
    /// Interfaces of the pcapng section.
    interfaces: Vec<InterfaceClock>,
}

impl Format {
    /// The interface of a packet, or `unknown` when the section has not described it.
    fn interface(
        &self,
        id: u32,
        unknown: CaptureProblem,
    ) -> Result<&InterfaceClock, CaptureProblem> {
        let interface = self.interfaces.get(id as usize).ok_or(unknown)?;
        only_ethernet(interface.link)?;
        Ok(interface)
    }

    /// Whether `data`, at the beginning of a pcapng block, has all of it.
    fn holds_whole_block(&self, data: &[u8]) -> bool {
        match (self.section, data.get(4..).and_then(<[u8]>::first_chunk)) {
            (Some(order), Some(&length)) => data.len() >= order.u32(length) as usize,
            _ => false,
        }
    }
}

/// Byte order of a pcapng section.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    }

    /// `if_tsoffset`, seconds. (pcap-parser takes every file's for little endian.)
    fn time_offset(self, options: &[PcapNGOption<'_>]) -> i64 {
        let option = options.iter().find(|option| option.code == OptionCode::IfTsoffset);
        match (self, option.and_then(|option| option.value.first_chunk())) {
            (_, None) => 0,
            (Order::Little, Some(&bytes)) => i64::from_le_bytes(bytes),
            (Order::Big, Some(&bytes)) => i64::from_be_bytes(bytes),
        }
    }
}

/// What `if_tsresol` says: a negative power of 10, or of 2 when the highest bit is set. (pcap-parser
/// refuses the latter.)
fn ticks_per_second(resolution: u8) -> u128 {
    let exponent = u32::from(resolution & 0x7f);
    if resolution & 0x80 == 0 {
        // Beyond what fits, every time there can be is less than a nanosecond.
        10u128.checked_pow(exponent).unwrap_or(u128::MAX)
    } else {
        1 << exponent
    }
}

/// What to do when the reader has no block to give.
enum Next {
    Ended,
    Refill,
    Grow,
    Malformed,
}

struct InterfaceClock {
    link: Linktype,
    /// Ticks per second (`if_tsresol`).
    units: u128,
    /// Seconds to add (`if_tsoffset`).
    offset: i64,
    snap_length: u32,
}

impl InterfaceClock {
    fn nanoseconds(&self, ticks: u64) -> u64 {
        // 64 bits of ticks and of offset, times 10^9, take less than 95 bits each.
        let nanoseconds = (u128::from(ticks) * 1_000_000_000 / self.units) as i128;
        let offset = i128::from(self.offset) * 1_000_000_000;
        (nanoseconds + offset).clamp(0, i128::from(u64::MAX)) as u64
    }
}

/// A file that tells how much was read of it, and what kept it from being read.
struct Input<'a, R, F> {
    input: R,
    read: u64,
    progress: F,
    refused: &'a OnceLock<io::Error>,
}

impl<R: Read, F: FnMut(u64)> Read for Input<'_, R, F> {
    /// Fills `buffer` unless the input ends: the first read must bring the whole file header, which
    /// a pipe may hand over in pieces.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let kind = e.kind();
                    // The first is the one to report.
                    let _ = self.refused.set(e);
                    return Err(kind.into());
                }
            }
        }
        self.read += filled as u64;
        (self.progress)(self.read);
        Ok(filled)
    }
}

#[cfg(test)]
mod tests;
