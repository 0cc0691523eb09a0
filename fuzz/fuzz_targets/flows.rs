#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(
    init: targets::seeds::write("flows"),
    |data: &[u8]| -> Corpus {
        if targets::flows::run(data) { Corpus::Keep } else { Corpus::Reject }
    }
);
