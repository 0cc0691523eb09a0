#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(
    init: targets::seeds::write("policy"),
    |data: &[u8]| -> Corpus {
        if targets::policy::run(data) { Corpus::Keep } else { Corpus::Reject }
    }
);
