//! Compiles the XDP programs of the live measurement with clang when that is built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=bpf/wire.bpf.c");
    if env::var_os("CARGO_FEATURE_WIRE").is_some() {
        compile_xdp_programs();
    }
}

fn compile_xdp_programs() {
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // libbpf-sys tells its direct dependents where it put libbpf's headers.
    let libbpf = env::var_os("DEP_BPF_INCLUDE").expect("libbpf-sys exports its headers");
    let machine = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target");
    let status = Command::new(&clang)
        .args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-c", "bpf/wire.bpf.c", "-o"])
        .arg(out.join("wire.bpf.o"))
        .arg("-I")
        .arg(Path::new(&libbpf))
        // Debian keeps <asm/types.h> in the directory of the machine.
        .arg(format!("-I/usr/include/{machine}-linux-gnu"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("clang could not compile bpf/wire.bpf.c ({status})"),
        Err(e) => panic!(
            "clang is needed to compile the XDP programs of the live measurement ({e}); install it \
             (Debian: apt-get install clang), name it in CLANG, or build without the feature `wire`"
        ),
    }
}
