//! The receiver as oracle: a short run of `make fragmentations`.

use lab::process::run;
use lab::{Result, need};
use std::time::Duration;

/// Many times what it takes on two cores with nothing else to do.
const LIMIT: Duration = Duration::from_secs(600);

#[test]
fn a_receiver_puts_together_what_was_judged() -> Result<()> {
    need!(Need::Gateway);
    compare("DATAGRAMS=20000", "QUEUES=1")
}

#[test]
fn fragments_of_one_datagram_that_come_by_two_queues_are_put_together() -> Result<()> {
    need!(Need::Gateway);
    compare("DATAGRAMS=5000", "QUEUES=2")
}

fn compare(datagrams: &str, queues: &str) -> Result<()> {
    let program = env!("CARGO_BIN_EXE_fragmentations");
    // SEED, if it is set, goes to the program as it is.
    let output = run(&std::env::temp_dir(), &["env", datagrams, queues, program], LIMIT)?;
    println!("{}", output.stdout);
    output.expect_success().map(drop)
}
