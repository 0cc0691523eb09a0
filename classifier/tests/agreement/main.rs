//! The compiled table answers as the linear scan does.

mod audits;
mod check;
mod classbench;
mod corners;
mod edges;
mod edits;
mod properties;
mod rulesets;
mod scan;
mod shapes;
mod strategies;
mod updates;
