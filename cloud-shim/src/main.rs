//! `ichor-cloud`: the commands behind `cargo xtask cloud-*`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ichor_cloud::cli::run()
}
