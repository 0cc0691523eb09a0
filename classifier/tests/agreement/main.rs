//! The compiled table answers as the linear scan does.

mod check;
mod classbench;
mod corners;
mod edges;
mod properties;
mod rulesets;
mod scan;
mod shapes;
mod strategies;
mod updates;
