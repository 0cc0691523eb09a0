//! What happens to a packet: ports, parse, flows, verdict, workers, counters.

mod counters;
mod flows;
mod gateway;
mod table;
mod verdict;

pub use counters::*;
pub use flows::FlowConfig;
pub use gateway::*;
pub use table::{Table, TableRule};
pub use verdict::{Action, DropReason, Outcome, PassReason, Verdict};
