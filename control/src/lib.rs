//! Who decides: policy, compile, control socket, metrics, command line.

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod diagnostic;
pub mod export;
pub mod metrics;
pub mod policy;
mod protocol;
pub mod server;
mod yaml;
