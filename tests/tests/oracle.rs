//! The kernel as oracle: a short run of `make truth`.

use lab::process::run;
use lab::{Result, need};
use std::time::Duration;

/// Many times what it takes on two cores with nothing else to do.
const LIMIT: Duration = Duration::from_secs(600);

#[test]
fn bulkhead_and_hardened_nftables_let_the_same_packets_pass() -> Result<()> {
    need!(Need::Gateway, Need::Program("nft"));
    let truth = env!("CARGO_BIN_EXE_truth");
    // SEED, if it is set, goes to the program as it is.
    let argv = ["env", "PACKETS=100000", "POLICIES=100", truth];
    let output = run(&std::env::temp_dir(), &argv, LIMIT)?;
    println!("{}", output.stdout);
    output.expect_success().map(drop)
}
