//! Stub.
#[derive(clap::Args, Debug)]
pub struct Args {}
pub fn run(_: &Args) -> Result<(), super::Failure> { Ok(()) }
