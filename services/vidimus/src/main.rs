//! Vidimus: a self-hosted, multi-tenant face-collection search service. See `vidimus --help`.

use std::process::ExitCode;

use clap::Parser;
use vidimus::cli::Cli;

fn main() -> ExitCode {
    vidimus::run(Cli::parse())
}
