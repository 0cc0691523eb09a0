//! Compiles the XDP program when the live gateway is built.

#[path = "bpf/compile.rs"]
mod compile;

fn main() {
    compile::compile("port", "CARGO_FEATURE_AF_XDP", "the live gateway (--no-default-features)");
}
