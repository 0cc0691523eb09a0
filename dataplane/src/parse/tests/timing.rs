//! What a packet costs, beside etherparse. Run by hand:
//! `cargo test --release -p bulkhead-dataplane --no-default-features -- --ignored --nocapture timing`

use super::*;
use etherparse::{PacketHeaders, SlicedPacket};
use std::hint::black_box;
use std::time::Instant;
use testing::sctp;

/// Few in a row and many times over: on a busy machine only a short run is ever left alone.
const PACKETS: u32 = 1000;
const TRIALS: usize = 2000;

/// Nanoseconds a packet, the least of all trials.
fn least(trials: &[Vec<f64>], contestant: usize) -> f64 {
    trials.iter().map(|trial| trial[contestant]).fold(f64::MAX, f64::min)
}

fn time(mut each: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..PACKETS {
        each();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(PACKETS)
}

#[test]
#[ignore = "a measurement"]
fn strict_parsing_beside_etherparse() {
    let mut segment = tcp(1000, 80, 0x18);
    segment.extend([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    segment[12] = 0x80;
    segment.resize(1480, 0x5a);
    let mut options = vec![60, 0, 5, 2, 0, 0, 1, 0, 43, 0, 1, 4, 0, 0, 0, 0];
    options.extend([17, 0, 4, 0, 0, 0, 0, 0]);
    options.extend(udp(1000, 53, &[7; 18]));
    let frames = [
        ("UDP, 60 bytes", frame(SRC, DST, 17, &udp(1000, 53, &[7; 18]))),
        ("TCP, 1514 bytes", frame(SRC, DST, 6, &segment)),
        ("IPv6, three extension headers, UDP", frame(SRC6, DST6, 0, &options)),
        ("IPv6, TCP SYN", frame(SRC6, DST6, 6, &tcp(1000, 80, 2))),
        ("SCTP, 1514 bytes", frame(SRC, DST, 132, &sctp(1, 2, 9, &[(0, &[7; 1464])]))),
    ];
    let off = ParseOptions { checksums: Checksums::Off, ..STRICT };
    println!(
        "{:36} {:>8} {:>8} {:>8} {:>8}",
        "ns a packet", "strict", "no sums", "headers", "sliced"
    );
    for (name, bytes) in &frames {
        accepted(bytes);
        let view = FrameView { bytes, wire_len: bytes.len() as u32 };
        let trials: Vec<Vec<f64>> = (0..TRIALS)
            .map(|_| {
                vec![
                    time(|| _ = black_box(parse(black_box(view), black_box(&STRICT)))),
                    time(|| _ = black_box(parse(black_box(view), black_box(&off)))),
                    time(|| _ = black_box(PacketHeaders::from_ethernet_slice(black_box(bytes)))),
                    time(|| _ = black_box(SlicedPacket::from_ethernet(black_box(bytes)))),
                ]
            })
            .collect();
        let [strict, no_sums, headers, sliced] = [0, 1, 2, 3].map(|nth| least(&trials, nth));
        println!("{name:36} {strict:8.1} {no_sums:8.1} {headers:8.1} {sliced:8.1}");
    }
}
