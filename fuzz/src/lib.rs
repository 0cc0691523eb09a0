//! What the fuzz targets do with an input: functions from bytes to a panic, or none.
//!
//! libFuzzer's programs in `fuzz_targets` call them, and the test of this package, which runs all
//! inputs that were kept through them without libFuzzer. Each returns whether the input is worth
//! keeping.

pub mod agreement;
pub mod capture;
pub mod flows;
pub mod fragments;
pub mod parse;
pub mod policy;
pub mod seal;
pub mod seeds;

// What the classifier's tests use: keys around the corners of rules, and how answers are compared.
#[allow(dead_code)]
#[path = "../../classifier/tests/agreement/check.rs"]
mod check;
#[path = "../../classifier/tests/agreement/corners.rs"]
mod corners;

/// A target: true for an input that is worth keeping.
pub type Target = fn(&[u8]) -> bool;

/// Every target by its name.
pub const TARGETS: [(&str, Target); 6] = [
    ("agreement", agreement::run),
    ("capture", capture::run),
    ("flows", flows::run),
    ("fragments", fragments::run),
    ("parse", parse::run),
    ("policy", policy::run),
];
