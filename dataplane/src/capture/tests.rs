//! Capture files written byte by byte, from the formats' descriptions (draft-ietf-opsawg-pcap and
//! draft-ietf-opsawg-pcapng).

use super::*;
use proptest::prelude::*;

/// Writes integers in a byte order.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    Little,
    Big,
}

const ORDERS: [Bytes; 2] = [Bytes::Little, Bytes::Big];

impl Bytes {
    fn u16(self, value: u16) -> Vec<u8> {
        match self {
            Bytes::Little => value.to_le_bytes().to_vec(),
            Bytes::Big => value.to_be_bytes().to_vec(),
        }
    }

    fn u32(self, value: u32) -> Vec<u8> {
        match self {
            Bytes::Little => value.to_le_bytes().to_vec(),
            Bytes::Big => value.to_be_bytes().to_vec(),
        }
    }

    fn u32s(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.u32(*value)).collect()
    }

    fn u64(self, value: u64) -> Vec<u8> {
        match self {
            Bytes::Little => value.to_le_bytes().to_vec(),
            Bytes::Big => value.to_be_bytes().to_vec(),
        }
    }

    fn pcap_header(self, magic: u32, link: u32) -> Vec<u8> {
        let version = [self.u16(2), self.u16(4)].concat();
        [self.u32(magic), version, self.u32s(&[0, 0, 65_535, link])].concat()
    }

    fn pcap_record(self, seconds: u32, fraction: u32, data: &[u8], wire_len: u32) -> Vec<u8> {
        let mut record = self.u32s(&[seconds, fraction, data.len() as u32, wire_len]);
        record.extend(data);
        record
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = 12 + body.len() as u32;
        [self.u32(kind), self.u32(length), body, self.u32(length)].concat()
    }

    fn section(self) -> Vec<u8> {
        let body = [self.u32(0x1a2b_3c4d), self.u16(1), self.u16(0), self.u64(u64::MAX)].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface with options (code, value).
    fn interface(self, link: u16, snap_length: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [self.u16(link), self.u16(0), self.u32(snap_length)].concat();
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(value.len() as u16)].concat());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, ticks: u64, data: &[u8], wire_len: u32) -> Vec<u8> {
        self.enhanced_claiming(interface, ticks, data, data.len() as u32, wire_len)
    }

    /// An enhanced packet that claims to hold `length` bytes.
    fn enhanced_claiming(
        self,
        interface: u32,
        ticks: u64,
        data: &[u8],
        length: u32,
        wire_len: u32,
    ) -> Vec<u8> {
        let (high, low) = ((ticks >> 32) as u32, ticks as u32);
        let mut body = self.u32s(&[interface, high, low, length, wire_len]);
        body.extend(data);
        self.block(6, &body)
    }

    fn simple(self, data: &[u8], wire_len: u32) -> Vec<u8> {
        self.block(3, &[self.u32(wire_len), data.to_vec()].concat())
    }
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const ETHERNET: u32 = 1;
const TSRESOL: u16 = 9;
const TSOFFSET: u16 = 14;

/// Time, bytes, length on the wire.
type Packet = (u64, Vec<u8>, u32);

fn packets(capture: &Capture) -> Vec<Packet> {
    let packet = |record: &Record| {
        (record.time, capture.view(record).bytes.to_vec(), capture.view(record).wire_len)
    };
    capture.records().iter().map(packet).collect()
}

fn try_read(bytes: &[u8]) -> (Result<Ending, CaptureProblem>, Vec<Packet>) {
    let mut capture = Capture::default();
    let ending = capture.read_blocks(bytes, 0);
    (ending, packets(&capture))
}

fn read(bytes: &[u8]) -> Vec<Packet> {
    let (ending, packets) = try_read(bytes);
    assert_eq!(ending.expect("the file is well-formed"), Ending::Whole);
    packets
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_both_resolutions() {
    for order in ORDERS {
        for (magic, unit) in [(MICROSECONDS, 1000), (NANOSECONDS, 1)] {
            let file = [
                order.pcap_header(magic, ETHERNET),
                order.pcap_record(7, 5, &[1, 2, 3], 3),
                order.pcap_record(8, 999_999, &[4; 20], 1500),
            ];
            let expected = vec![
                (7_000_000_000 + 5 * unit, vec![1, 2, 3], 3),
                (8_000_000_000 + 999_999 * unit, vec![4; 20], 1500),
            ];
            assert_eq!(read(&file.concat()), expected, "{order:?} {magic:#x}");
        }
    }
}

#[test]
fn a_cut_record_is_told_by_its_wire_length() {
    let order = Bytes::Little;
    let header = order.pcap_header(MICROSECONDS, ETHERNET);
    let records = [(60, 60), (60, 61), (60, 0)];
    let records: Vec<u8> = records
        .iter()
        .flat_map(|(len, wire)| order.pcap_record(0, 0, &vec![0; *len], *wire))
        .collect();
    let mut capture = Capture::default();
    capture.read_blocks(&[header, records].concat()[..], 0).expect("it is well-formed");
    let cut: Vec<bool> = capture.records().iter().map(Record::cut).collect();
    assert_eq!(cut, [false, true, false], "a wire length of 0 says nothing");
    assert_eq!(capture.records()[2].wire_len, 60);
}

#[test]
fn pcapng_is_read_in_both_byte_orders_with_the_clock_of_each_interface() {
    for order in ORDERS {
        let offset = order.u64(100);
        let file = [
            order.section(),
            order.interface(1, 0, &[]),
            order.interface(1, 0, &[(TSRESOL, &[9])]),
            order.interface(1, 0, &[(TSRESOL, &[3]), (TSOFFSET, &offset)]),
            order.interface(1, 0, &[(TSRESOL, &[0x80 | 10])]),
            order.interface(1, 0, &[(TSRESOL, &[0x80 | 63])]),
            order.enhanced(0, 5_000_001, &[1], 1),
            order.enhanced(1, 5_000_000_001, &[2; 2], 2),
            order.enhanced(2, 5_001, &[3; 3], 3),
            order.enhanced(3, 5 * 1024 + 512, &[4; 4], 4),
            order.enhanced(4, 3 << 62, &[5; 5], 9),
        ];
        let expected = vec![
            (5_000_001_000, vec![1], 1),
            (5_000_000_001, vec![2; 2], 2),
            (105_001_000_000, vec![3; 3], 3),
            (5_500_000_000, vec![4; 4], 4),
            (1_500_000_000, vec![5; 5], 9),
        ];
        assert_eq!(read(&file.concat()), expected, "{order:?}");
    }
}

#[test]
fn a_time_before_1970_or_after_64_bits_of_nanoseconds_is_the_nearest_there_is() {
    let order = Bytes::Big;
    let times = |resolution: u8, offset: i64, ticks: u64| {
        let offset = order.u64(offset as u64);
        let file = [
            order.section(),
            order.interface(1, 0, &[(TSRESOL, &[resolution]), (TSOFFSET, &offset)]),
            order.enhanced(0, ticks, &[1], 1),
        ];
        read(&file.concat())[0].0
    };
    assert_eq!(times(6, -10, 5_000_000), 0);
    assert_eq!(times(6, i64::MIN, u64::MAX), 0);
    assert_eq!(times(0, i64::MAX, u64::MAX), u64::MAX);
    assert_eq!(times(19, 0, u64::MAX), 1_844_674_407);
    assert_eq!(times(127, 0, u64::MAX), 0);
    assert_eq!(times(0xff, 0, u64::MAX), 0);
}

#[test]
fn a_simple_packet_is_bounded_by_the_snap_length_and_takes_the_time_before_it() {
    for order in ORDERS {
        let file = [
            order.section(),
            order.interface(1, 6, &[]),
            order.simple(&[1, 2, 3, 4, 5, 6], 100),
            order.enhanced(0, 9, &[7], 1),
            order.simple(&[1, 2, 3], 3),
        ];
        let expected =
            vec![(0, vec![1, 2, 3, 4, 5, 6], 100), (9_000, vec![7], 1), (9_000, vec![1, 2, 3], 3)];
        assert_eq!(read(&file.concat()), expected, "{order:?}");
    }
}

#[test]
fn a_new_section_forgets_interfaces_and_may_turn_the_byte_order() {
    let (little, big) = (Bytes::Little, Bytes::Big);
    let file = [
        little.section(),
        little.interface(1, 0, &[(TSRESOL, &[9])]),
        little.enhanced(0, 1, &[1], 1),
        big.section(),
        big.interface(1, 0, &[(TSRESOL, &[0])]),
        big.enhanced(0, 1, &[2], 1),
    ];
    assert_eq!(read(&file.concat()), [(1, vec![1], 1), (1_000_000_000, vec![2], 1)]);
    let file =
        [little.section(), little.interface(1, 0, &[]), big.section(), big.enhanced(0, 1, &[2], 1)];
    assert!(matches!(try_read(&file.concat()).0, Err(CaptureProblem::Malformed(0))));
}

#[test]
fn blocks_that_hold_no_packet_are_passed_over() {
    let order = Bytes::Little;
    let file = [
        order.section(),
        order.block(0x0bad_0001, &[9; 40]),
        order.interface(1, 0, &[]),
        order.block(5, &order.u32s(&[0, 0, 0])),
        order.enhanced(0, 1, &[1], 1),
    ];
    assert_eq!(read(&file.concat()).len(), 1);
}

#[test]
fn a_file_that_ends_within_a_record_gives_the_records_before_it() {
    for order in ORDERS {
        let pcap = [
            order.pcap_header(MICROSECONDS, ETHERNET),
            order.pcap_record(1, 0, &[1; 60], 60),
            order.pcap_record(2, 0, &[2; 60], 60),
        ];
        let pcapng = [
            [order.section(), order.interface(1, 0, &[])].concat(),
            order.enhanced(0, 1, &[1; 60], 60),
            order.enhanced(0, 2, &[2; 60], 60),
        ];
        for parts in [pcap, pcapng] {
            let (whole, last) = (parts.concat().len(), parts[2].len());
            for cut in 1..last {
                let (ending, packets) = try_read(&parts.concat()[..whole - cut]);
                assert_eq!(ending.expect("a cut is no error"), Ending::CutShort, "{cut}");
                assert_eq!(packets.len(), 1);
            }
            let (ending, packets) = try_read(&parts.concat()[..whole - last]);
            assert_eq!((ending.expect("it is whole"), packets.len()), (Ending::Whole, 1));
        }
    }
}

#[test]
fn a_packet_longer_than_its_block_is_damage_and_not_an_ending() {
    for order in ORDERS {
        for length in [61, 5_000, 2_000_000, 100_000_000, u32::MAX] {
            let file = [
                order.section(),
                order.interface(1, 0, &[]),
                order.enhanced(0, 1, &[1; 60], 60),
                order.enhanced_claiming(0, 2, &[2; 60], length, 60),
                order.enhanced(0, 3, &[3; 60], 60),
            ];
            let (ending, packets) = try_read(&file.concat());
            assert!(matches!(ending, Err(CaptureProblem::Malformed(1))), "{length}: {ending:?}");
            assert_eq!(packets.len(), 1);
        }
    }
}

#[test]
fn what_is_no_capture_is_refused_as_such() {
    for bytes in [&b""[..], b"x", b"GET / HTTP/1.1\r\n\r\n and more than 24 bytes", &[0; 4096]] {
        let (ending, _) = try_read(bytes);
        assert!(matches!(ending, Err(CaptureProblem::Format)), "{ending:?}");
    }
    let header = Bytes::Little.pcap_header(MICROSECONDS, ETHERNET);
    assert!(matches!(try_read(&header[..23]).0, Err(CaptureProblem::Format)));
    assert_eq!(read(&header), []);
}

#[test]
fn a_link_type_other_than_ethernet_is_refused() {
    for order in ORDERS {
        let file = order.pcap_header(MICROSECONDS, 101);
        assert!(matches!(try_read(&file).0, Err(CaptureProblem::LinkType(101))));
        let file = [
            order.section(),
            order.interface(113, 0, &[]),
            order.interface(1, 0, &[]),
            order.enhanced(1, 1, &[1], 1),
            order.enhanced(0, 1, &[1], 1),
        ];
        let (ending, packets) = try_read(&file.concat());
        assert!(matches!(ending, Err(CaptureProblem::LinkType(113))));
        assert_eq!(packets.len(), 1, "an interface without packets does no harm");
    }
}

#[test]
fn a_packet_of_an_interface_that_is_not_described_is_damage() {
    let order = Bytes::Little;
    let file = [
        order.section(),
        order.interface(1, 0, &[]),
        order.enhanced(0, 1, &[1], 1),
        order.enhanced(1, 1, &[1], 1),
    ];
    assert!(matches!(try_read(&file.concat()).0, Err(CaptureProblem::Malformed(1))));
}

#[test]
fn records_larger_than_the_buffer_are_read_up_to_the_limit() {
    let order = Bytes::Little;
    for megabytes in [1, 2, 5, 15] {
        let large = vec![7; megabytes << 20];
        let pcap = [
            order.pcap_header(MICROSECONDS, ETHERNET),
            order.pcap_record(1, 0, &[1; 60], 60),
            order.pcap_record(2, 0, &large, large.len() as u32),
            order.pcap_record(3, 0, &[3; 60], 60),
        ];
        let pcapng = [
            [order.section(), order.interface(1, 0, &[])].concat(),
            order.enhanced(0, 1, &[1; 60], 60),
            order.enhanced(0, 2, &large, large.len() as u32),
            order.enhanced(0, 3, &[3; 60], 60),
        ];
        for file in [pcap, pcapng] {
            let lengths: Vec<usize> = read(&file.concat()).iter().map(|p| p.1.len()).collect();
            assert_eq!(lengths, [60, large.len(), 60], "{megabytes} MiB");
        }
    }
    let file = [
        order.pcap_header(MICROSECONDS, ETHERNET),
        order.pcap_record(1, 0, &[1; 60], 60),
        order.u32s(&[2, 0, u32::MAX, u32::MAX]),
        vec![0; 17 << 20],
    ];
    assert!(matches!(try_read(&file.concat()).0, Err(CaptureProblem::Malformed(1))));
}

/// Hands over a few bytes at a time, and is interrupted in between.
struct Trickle<'a> {
    bytes: &'a [u8],
    interrupted: bool,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = self.bytes.len().min(buffer.len()).min(7);
        buffer[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

#[test]
fn a_pipe_that_hands_over_a_few_bytes_at_a_time_is_read_whole() {
    let order = Bytes::Big;
    let mut file = [order.section(), order.interface(1, 0, &[])].concat();
    for _ in 0..100 {
        file.extend(order.enhanced(0, 1, &[1; 60], 60));
    }
    let refused = OnceLock::new();
    let mut seen = 0;
    let trickle = Trickle { bytes: &file, interrupted: false };
    let input = Input { input: trickle, read: 0, progress: |read| seen = read, refused: &refused };
    let mut capture = Capture::default();
    assert_eq!(capture.read_blocks(input, 0).expect("it is well-formed"), Ending::Whole);
    assert_eq!((capture.records().len(), seen), (100, file.len() as u64));
}

#[test]
fn what_the_system_says_of_a_file_is_passed_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut capture = Capture::default();
    let missing = capture.read(&directory.path().join("none.pcap"), |_| {});
    let errno = |result: Result<Ending, CaptureError>| match result.map_err(|e| e.problem) {
        Err(CaptureProblem::Io(e)) => e.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(errno(missing), io::ErrorKind::NotFound);
    assert_eq!(errno(capture.read(directory.path(), |_| {})), io::ErrorKind::IsADirectory);
    let refused = capture.write(&directory.path().join("none/out.pcap"), |_| true);
    assert!(matches!(refused.map_err(|e| e.problem), Err(CaptureProblem::Io(_))));
}

#[test]
fn files_are_numbered_in_the_order_they_are_read_and_sorting_is_stable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let order = Bytes::Little;
    let mut capture = Capture::default();
    for (name, times) in [("a", [1, 5, 5]), ("b", [5, 0, 7])] {
        let mut file = order.pcap_header(NANOSECONDS, ETHERNET);
        for time in times {
            file.extend(order.pcap_record(0, time, &[1], 1));
        }
        let path = directory.path().join(name);
        std::fs::write(&path, file).expect("the file can be written");
        capture.read(&path, |_| {}).expect("it is well-formed");
    }
    capture.sort();
    let order: Vec<_> = capture.records().iter().map(|r| (r.time, r.file)).collect();
    assert_eq!(order, [(0, 1), (1, 0), (5, 0), (5, 0), (5, 1), (7, 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read_again(
        records in prop::collection::vec(
            (any::<u64>(), prop::collection::vec(any::<u8>(), 0..100), any::<u32>(), any::<bool>()),
            0..20,
        ),
    ) {
        let mut capture = Capture::default();
        for (time, data, wire_len, _) in &records {
            capture.push(data, *wire_len, *time, 0);
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("out.pcap");
        capture.write(&path, |nth| records[nth].3).expect("it can be written");
        let mut again = Capture::default();
        prop_assert_eq!(again.read(&path, |_| {}).expect("it is well-formed"), Ending::Whole);
        // pcap counts seconds in 32 bits.
        let last = 4_294_967_295_999_999_999;
        let wanted = |(nth, (time, data, wire_len)): (usize, Packet)| {
            records[nth].3.then(|| (time.min(last), data, wire_len))
        };
        let expected: Vec<Packet> =
            packets(&capture).into_iter().enumerate().filter_map(wanted).collect();
        prop_assert_eq!(packets(&again), expected);
    }

    #[test]
    fn a_spoilt_file_is_read_or_refused_without_panic(
        big in any::<bool>(),
        ng in any::<bool>(),
        writes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let order = ORDERS[usize::from(big)];
        let mut file = if ng {
            [
                order.section(),
                order.interface(1, 0, &[(TSRESOL, &[9]), (TSOFFSET, &[0; 8])]),
                order.enhanced(0, 1, &[1; 30], 30),
                order.simple(&[2; 20], 20),
                order.enhanced(0, 1, &[1; 30], 30),
            ].concat()
        } else {
            [
                order.pcap_header(MICROSECONDS, ETHERNET),
                order.pcap_record(u32::MAX, u32::MAX, &[1; 30], 30),
                order.pcap_record(1, 0, &[1; 30], 30),
            ].concat()
        };
        for (at, byte) in writes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let (_, packets) = try_read(&file);
        prop_assert!(packets.len() <= 3);
    }
}
