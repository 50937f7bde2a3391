//! The `sluice` command; all of it is in [`sluice::cli`].

fn main() -> std::process::ExitCode {
    sluice::cli::main()
}
