//! Compiles a program for the kernel with clang. Shared by the build scripts that need one.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Compiles `bpf/NAME.bpf.c` of the package to `NAME.bpf.o` in `OUT_DIR` when the cargo feature is
/// on whose variable is `feature`; `without` says how to build where there is no clang.
///
/// # Panics
/// Ends the build when clang is missing or refuses the source.
pub fn compile(name: &str, feature: &str, without: &str) {
    let source = format!("bpf/{name}.bpf.c");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={source}");
    if env::var_os(feature).is_none() {
        return;
    }
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // libbpf-sys tells its direct dependents where it put libbpf's headers.
    let libbpf = env::var_os("DEP_BPF_INCLUDE").expect("libbpf-sys exports its headers");
    let machine = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target");
    let status = Command::new(&clang)
        .args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-c", &source, "-o"])
        .arg(out.join(format!("{name}.bpf.o")))
        .arg("-I")
        .arg(libbpf)
        // Debian keeps <asm/types.h> in the directory of the machine.
        .arg(format!("-I/usr/include/{machine}-linux-gnu"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("clang could not compile {source} ({status})"),
        Err(e) => panic!(
            "clang is needed to compile {source} ({e}); install it (Debian: apt-get install \
             clang), name it in CLANG, or build without {without}"
        ),
    }
}
