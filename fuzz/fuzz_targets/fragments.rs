#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(
    init: targets::seeds::write("fragments"),
    |data: &[u8]| -> Corpus {
        if targets::fragments::run(data) { Corpus::Keep } else { Corpus::Reject }
    }
);
