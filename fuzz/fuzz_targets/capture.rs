#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(
    init: targets::seeds::write("capture"),
    |data: &[u8]| -> Corpus {
        if targets::capture::run(data) { Corpus::Keep } else { Corpus::Reject }
    }
);
