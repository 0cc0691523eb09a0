//! A laboratory for the gateway: two zones in network namespaces, real services, real clients.
//!
//! ```text
//!   client namespace          gateway namespace           server namespace
//!   10.77.1.10   eth0 ------- bh0   bulkhead   bh1 ------- eth0   10.77.1.130
//!   fd77::1:10                (no addresses,                      fd77::2:10
//!   10.77.1.11                 no forwarding)                     10.77.1.131
//!   fd77::1:11                                                    fd77::2:11
//! ```
//!
//! Both sides are one layer 2 segment, and the gateway is the wire between them: without it
//! nothing passes.

pub mod capture;
pub mod clients;
pub mod crafted;
pub mod endurance;
mod error;
pub mod exposition;
pub mod fragmentations;
pub mod frames;
pub mod gateway;
mod lab;
pub mod need;
pub mod nmap;
pub mod oracle;
pub mod policies;
pub mod process;
pub mod services;
pub mod wait;
pub mod watch;

pub use error::{Error, Result};
pub use lab::{Family, Lab, LabOptions, LinkStats, Side, address};
