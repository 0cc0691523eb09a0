//! Every input that was kept, once more: what a fuzzer found stays found.
//!
//! `corpus` has what leads far into a target, `artifacts` what once made it panic. Neither libFuzzer
//! nor a C++ compiler takes part.

use std::path::{Path, PathBuf};
use targets::TARGETS;

fn kept(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    files.sort();
    files
}

/// Runs `name` over all that was kept for it.
fn again(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("it is a target");
    let corpus = kept("corpus", name);
    assert!(!corpus.is_empty(), "nothing was kept for {name}");
    for file in corpus.iter().chain(&kept("artifacts", name)) {
        let input = std::fs::read(file).expect("what was kept can be read");
        let result = std::panic::catch_unwind(|| target(&input));
        assert!(result.is_ok(), "{} makes {name} panic", file.display());
    }
}

macro_rules! targets {
    ($($name:ident)+) => {
        $(#[test] fn $name() { again(stringify!($name)); })+

        #[test]
        fn every_target_is_run_again() {
            assert_eq!([$(stringify!($name)),+], TARGETS.map(|(name, _)| name));
        }
    };
}

targets! { agreement capture flows fragments parse policy }
