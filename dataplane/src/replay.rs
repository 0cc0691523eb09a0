//! Captures through the packet path of the live gateway, without sockets and without privileges.

use crate::capture::{Capture, Record};
use crate::flows::{FlowConfig, Flows};
use crate::fragments::FragmentConfig;
use crate::parse::{Content, FrameView, ParseOptions, parse};
use crate::ports::capture::CapturePorts;
use crate::table::Table;
use crate::tally::WorkerTally;
use crate::verdict::{DropReason, PassReason};
use crate::worker::{PortPlan, Worker, WorkerParts};
use classifier::{
    AddressMatch, Builder, Classifier, Config, Family, Lookup, PacketKey, Rule, ZoneId,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bursts between two calls of the progress function.
const PROGRESS_BURSTS: u32 = 4096;

/// Which zone a packet of a capture comes from and goes to.
#[derive(Clone, Debug, Default)]
pub struct SideMap {
    /// Addresses and the zone they are in; the longest prefix counts, of ranges the shortest.
    pub networks: Vec<(AddressMatch, ZoneId)>,
    /// Zone that every packet of a capture file comes from, by file number.
    pub files: Vec<Option<ZoneId>>,
    /// The two zones of a policy that has just two: where one end is known, the other end of a
    /// packet is in the other zone.
    pub pair: Option<[ZoneId; 2]>,
}

/// What happened to the packets.
#[derive(Clone, Debug)]
pub struct ReplayReport {
    /// Packets judged, all passes together.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Of the packets, those forwarded.
    pub forwarded: u64,
    /// Dropped, by [`DropReason`] discriminant.
    pub drops: [u64; DropReason::COUNT],
    /// Found to lie about addresses where a guard only counts that, by [`DropReason`] discriminant.
    /// Among the others too.
    pub suspects: [u64; DropReason::COUNT],
    /// Forwarded, by [`PassReason`] discriminant.
    pub passed: [u64; PassReason::COUNT],
    /// Hits of each rule, all passes together.
    pub hits: Vec<u64>,
    /// Flows opened in one pass.
    pub flows: u64,
    /// Packets of one pass that a snap length cut.
    pub cut: u64,
    /// Packets of one pass of which neither end's zone is known.
    pub unmapped: u64,
    /// Time in the packet path.
    pub elapsed: Duration,
    /// Which records were forwarded in the last pass.
    pub forwarded_records: Vec<bool>,
}

/// Replays `capture` through `table` `repeat` times, flows forgotten between passes, so that every
/// pass comes to the same verdicts. Frames are read by `options`. `progress` is told now and then
/// how many packets are done.
///
/// # Errors
/// [`TooManySides`] when the capture has more pairs of zones than ports can be numbered.
pub fn replay(
    capture: &Capture,
    sides: &SideMap,
    table: Table,
    flows: FlowConfig,
    options: ParseOptions,
    repeat: u32,
    mut progress: impl FnMut(u64),
) -> Result<ReplayReport, TooManySides> {
    let arrivals = Arrivals::of(capture, sides, &options)?;
    let table = Arc::new(table);
    let tally = Arc::new(WorkerTally::new(arrivals.plan.len()));
    let ports = CapturePorts::new(capture, &arrivals.ports, arrivals.plan.len());
    let mut worker = Worker::new(
        ports,
        WorkerParts {
            number: 0,
            plan: arrivals.plan,
            table: table.clone(),
            flows: Flows::new(flows),
            fragments: FragmentConfig::default(),
            handover: None,
            ethertypes: Vec::new(),
            parse: options,
            tally: tally.clone(),
        },
    );
    // Over all passes: one pass of a small capture ends before the first call is due.
    let mut bursts = 0;
    let start = Instant::now();
    for pass in 0..u64::from(repeat) {
        worker.ports.rewind();
        worker.flows.clear();
        while let Some(port) = worker.ports.next_port() {
            worker.receive(port);
            worker.judge_burst(port);
            bursts += 1;
            if bursts == PROGRESS_BURSTS {
                bursts = 0;
                progress(pass * capture.records().len() as u64 + worker.ports.position() as u64);
            }
        }
        worker.give_up_fragments();
    }
    let elapsed = start.elapsed();
    worker.collect_completed();
    let sum = |each: &dyn Fn(&crate::tally::PortTally) -> u64| {
        tally.ports.iter().map(|port| each(port)).sum::<u64>()
    };
    Ok(ReplayReport {
        packets: sum(&|port| port.rx_packets.get()),
        bytes: sum(&|port| port.rx_bytes.get()),
        forwarded: sum(&|port| port.tx_packets.get()),
        drops: std::array::from_fn(|reason| sum(&|port| port.drops[reason].get())),
        suspects: std::array::from_fn(|reason| sum(&|port| port.suspects[reason].get())),
        passed: std::array::from_fn(|reason| sum(&|port| port.passed[reason].get())),
        hits: table.hits(),
        flows: worker.flows.table.counts().opened / u64::from(repeat.max(1)),
        cut: capture.records().iter().filter(|record| record.cut()).count() as u64,
        unmapped: arrivals.unmapped,
        elapsed,
        forwarded_records: worker.ports.into_forwarded(),
    })
}

/// More pairs of zones than ports can be numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySides;

impl std::fmt::Display for TooManySides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the capture joins more than {} pairs of zones", u16::MAX / 2)
    }
}

impl std::error::Error for TooManySides {}

/// By which port each record arrives. Every pair of zones that some packet joins gets a wire of
/// its own, whose two ports are in these zones.
struct Arrivals {
    ports: Vec<u16>,
    plan: Vec<PortPlan>,
    unmapped: u64,
}

impl Arrivals {
    fn of(
        capture: &Capture,
        sides: &SideMap,
        options: &ParseOptions,
    ) -> Result<Self, TooManySides> {
        let lookup = ZoneLookup::new(&sides.networks);
        let mut wires: HashMap<(ZoneId, ZoneId), u16> = HashMap::new();
        let mut arrivals = Arrivals { ports: Vec::new(), plan: Vec::new(), unmapped: 0 };
        for record in capture.records() {
            let ends = ends(capture.view(record), options);
            let (from, to) = sides.zones(record, ends, &lookup);
            if from == ZoneId::UNKNOWN && to == ZoneId::UNKNOWN && ends.is_some() {
                arrivals.unmapped += 1;
            }
            let pair = (from.min(to), from.max(to));
            let first = match wires.get(&pair) {
                Some(&first) => first,
                None => {
                    let first = arrivals.add_wire(pair)?;
                    wires.insert(pair, first);
                    first
                }
            };
            // Within one zone the addresses tell the two sides of a flow apart.
            let by_second = match ends {
                Some(Ends { src, dst, .. }) if from == to => src > dst,
                _ => from != pair.0,
            };
            arrivals.ports.push(first + u16::from(by_second));
        }
        Ok(arrivals)
    }

    fn add_wire(&mut self, (one, other): (ZoneId, ZoneId)) -> Result<u16, TooManySides> {
        let first = self.plan.len();
        let number = u16::try_from(first + 1).map_err(|_| TooManySides)? - 1;
        self.plan.push(PortPlan { egress: first + 1, zone: one });
        self.plan.push(PortPlan { egress: first, zone: other });
        Ok(number)
    }
}

/// The two addresses of a packet, or those that ARP speaks of.
#[derive(Clone, Copy)]
struct Ends {
    family: Family,
    src: u128,
    dst: u128,
}

fn ends(frame: FrameView<'_>, options: &ParseOptions) -> Option<Ends> {
    match parse(frame, options).ok()?.content {
        Content::Ip(packet) => {
            Some(Ends { family: packet.family, src: packet.src, dst: packet.dst })
        }
        Content::Arp(arp) => {
            let (src, dst) = (u128::from(arp.sender), u128::from(arp.target));
            Some(Ends { family: Family::V4, src, dst })
        }
        // Other EtherTypes are not judged by zone.
        Content::Other(_) => None,
    }
}

impl SideMap {
    fn zones(&self, record: &Record, ends: Option<Ends>, lookup: &ZoneLookup) -> (ZoneId, ZoneId) {
        let of_file = self.files.get(usize::from(record.file)).copied().flatten();
        let (src, dst) = match ends {
            Some(Ends { family, src, dst }) => (lookup.zone(family, src), lookup.zone(family, dst)),
            None => (None, None),
        };
        let from = of_file.or(src);
        let (from, to) = match (from, dst, self.pair) {
            (Some(from), None, Some(pair)) => (Some(from), other_of(pair, from)),
            (None, Some(to), Some(pair)) => (other_of(pair, to), Some(to)),
            (from, to, _) => (from, to),
        };
        (from.unwrap_or(ZoneId::UNKNOWN), to.unwrap_or(ZoneId::UNKNOWN))
    }
}

fn other_of(pair: [ZoneId; 2], zone: ZoneId) -> Option<ZoneId> {
    if zone == pair[0] {
        Some(pair[1])
    } else if zone == pair[1] {
        Some(pair[0])
    } else {
        None
    }
}

/// Zones by address: a classifier over the networks, the narrowest first.
struct ZoneLookup {
    classifier: Classifier,
    zones: Vec<ZoneId>,
}

impl ZoneLookup {
    fn new(networks: &[(AddressMatch, ZoneId)]) -> Self {
        let mut networks = networks.to_vec();
        networks.sort_by_key(|(network, _)| free_bits(network));
        let unlimited =
            Config { max_rules: usize::MAX, max_memory: usize::MAX, ..Config::default() };
        let mut builder = Builder::new(unlimited);
        for (network, _) in &networks {
            builder.push(Rule { src: network.clone(), ..Rule::ANY });
        }
        ZoneLookup {
            classifier: builder.build().expect("only a limit stops a build, and there is none"),
            zones: networks.into_iter().map(|(_, zone)| zone).collect(),
        }
    }

    fn zone(&self, family: Family, address: u128) -> Option<ZoneId> {
        let key = PacketKey { src: address, ..PacketKey::empty(family) };
        self.classifier.lookup(&key).map(|network| self.zones[network as usize])
    }
}

/// The bits in which the addresses of the widest part of `network` differ: for a prefix, those below
/// it. Addresses of both families come after all others.
fn free_bits(network: &AddressMatch) -> u32 {
    if *network == AddressMatch::Any {
        return u32::MAX;
    }
    let ranges = [Family::V4, Family::V6].into_iter().flat_map(|family| network.ranges(family));
    ranges.map(|(low, high)| u128::BITS - (high - low).leading_zeros()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
