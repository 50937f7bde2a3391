//! The `sluice` command; all of it is in [`sluice::cli`].

// The files' writers make and drop thousands of small values at once, in which glibc's allocator spends a third of the
// controller's time. How it is tuned says `.cargo/config.toml`, since it is read when it is built.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    sluice::cli::main()
}
