//! `sluice completion`: a completion script for a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;

/// Arguments of `sluice completion`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "sluice", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
