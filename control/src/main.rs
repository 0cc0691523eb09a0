//! The `bulkhead` program.

fn main() -> std::process::ExitCode {
    control::cli::main()
}
