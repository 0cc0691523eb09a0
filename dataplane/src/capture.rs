//! Capture files: read whole into memory, and written.
//!
//! pcap (microseconds and nanoseconds, both byte orders) and pcapng are read by pcap-parser; what
//! is written is pcap with nanoseconds.

use crate::parse::FrameView;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest block that is read: no snap length in use comes near it.
const MAX_BLOCK: usize = 16 << 20;

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
        let input = Counted { input, read: 0, progress };
        self.read_blocks(input, file).map_err(failed)
    }

    fn read_blocks(
        &mut self,
        input: impl Read + Send,
        file: u16,
    ) -> Result<Ending, CaptureProblem> {
        let mut reader = match create_reader(1 << 20, input) {
            Ok(reader) => reader,
            Err(PcapError::ReadError) => {
                return Err(CaptureProblem::Io(io::ErrorKind::Other.into()));
            }
            Err(_) => return Err(CaptureProblem::Format),
        };
        let mut format = Format::default();
        let before = self.records.len();
        loop {
            let buffered = reader.data().len();
            match reader.next() {
                Ok((consumed, block)) => {
                    self.take_block(block, &mut format, file)?;
                    reader.consume(consumed);
                }
                Err(PcapError::Eof) => return Ok(Ending::Whole),
                Err(PcapError::UnexpectedEof) => return Ok(Ending::CutShort),
                Err(PcapError::Incomplete(_)) => {
                    if reader.reader_exhausted() {
                        return Ok(Ending::CutShort);
                    }
                    reader.refill().map_err(|_| CaptureProblem::Io(io::ErrorKind::Other.into()))?;
                }
                Err(PcapError::BufferTooSmall) if buffered < MAX_BLOCK => {
                    let larger = (buffered * 2).max(2 << 20);
                    if !reader.grow(larger) {
                        return Err(CaptureProblem::Malformed(self.records.len() - before));
                    }
                }
                Err(_) => return Err(CaptureProblem::Malformed(self.records.len() - before)),
            }
        }
    }

    fn take_block(
        &mut self,
        block: PcapBlockOwned<'_>,
        format: &mut Format,
        file: u16,
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
            PcapBlockOwned::NG(Block::SectionHeader(_)) => format.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                format.interfaces.push(InterfaceClock {
                    link: interface.linktype,
                    units: interface.ts_resolution().unwrap_or(1_000_000),
                    offset: interface.ts_offset(),
                    snap_length: interface.snaplen,
                });
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let clock = format.interface(packet.if_id)?;
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let data = &packet.data[..packet.data.len().min(packet.caplen as usize)];
                self.push(data, packet.origlen, clock.nanoseconds(ticks), file);
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                // A simple packet has no time and no captured length: the snap length bounds it.
                let clock = format.interface(0)?;
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

    /// Writes the records that `wanted` says to a new pcap file.
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
            let time = Duration::from_nanos(record.time);
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
    /// Interfaces of the pcapng section.
    interfaces: Vec<InterfaceClock>,
}

impl Format {
    fn interface(&self, id: u32) -> Result<&InterfaceClock, CaptureProblem> {
        let interface = self.interfaces.get(id as usize).ok_or(CaptureProblem::Format)?;
        only_ethernet(interface.link)?;
        Ok(interface)
    }
}

struct InterfaceClock {
    link: Linktype,
    /// Ticks per second (`if_tsresol`).
    units: u64,
    /// Seconds to add (`if_tsoffset`).
    offset: i64,
    snap_length: u32,
}

impl InterfaceClock {
    fn nanoseconds(&self, ticks: u64) -> u64 {
        let units = u128::from(self.units.max(1));
        let nanoseconds = u128::from(ticks) * 1_000_000_000 / units;
        let offset = i128::from(self.offset) * 1_000_000_000;
        u64::try_from(nanoseconds as i128 + offset).unwrap_or(0)
    }
}

/// Tells how much was read.
struct Counted<R, F> {
    input: R,
    read: u64,
    progress: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.read += n as u64;
        (self.progress)(self.read);
        Ok(n)
    }
}
