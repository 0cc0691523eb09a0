#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(
    init: targets::seeds::write("parse"),
    |data: &[u8]| -> Corpus {
        if targets::parse::run(data) { Corpus::Keep } else { Corpus::Reject }
    }
);
