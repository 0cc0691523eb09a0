//! Compiles the XDP programs of the live measurement when that is built.

#[path = "../dataplane/bpf/compile.rs"]
mod compile;

fn main() {
    compile::compile("wire", "CARGO_FEATURE_WIRE", "the feature `wire`");
}
