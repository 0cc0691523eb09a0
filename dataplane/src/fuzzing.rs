//! The parts of the packet path that fuzz targets drive one by one. Only in builds with
//! `--cfg fuzzing`; the product has no such doors.

/// The parser: [`parse`](parse::parse) and what it says of a frame.
pub mod parse {
    pub use crate::parse::{
        Arp, Content, Echo, Fragment, Icmp, IpPacket, L4, Parsed, SctpPacket, TcpSegment, parse,
    };
}

/// The fragment table.
pub mod fragments {
    pub use crate::fragments::{DatagramKey, Dropped, Ended, FragmentTable, Head, Offered, Whole};
}

/// The flow table.
pub mod flowtable {
    pub use crate::flowtable::{
        Class, Direction, End, FlowCounts, FlowKey, FlowTable, FlowTableConfig, HashKey, NewFlow,
        Refused, TIMEOUTS, TimeoutNumber,
    };
}

/// What a packet does to its flow.
pub mod state {
    pub use crate::state::datagram::{DatagramClass, DatagramEvent, DatagramState};
    pub use crate::state::sctp::{SctpClass, SctpEvent, SctpPacket, SctpState};
    pub use crate::state::tcp::{TcpClass, TcpConfig, TcpEvent, TcpState};
}
