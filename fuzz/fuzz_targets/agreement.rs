#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(
    init: targets::seeds::write("agreement"),
    |data: &[u8]| -> Corpus {
        if targets::agreement::run(data) { Corpus::Keep } else { Corpus::Reject }
    }
);
