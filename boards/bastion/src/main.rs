//! `ichor`: the netboot server as one Linux process.
//!
//! Wiring only: the command line, the files and sockets that the stack gets,
//! its capacities, and the tasks that run it.

mod board;
mod cli;
mod explain;
mod failure;
mod output;
mod serve;
mod tasks;

use std::process::ExitCode;

/// How much this board has room for.
mod capacity {
    use ichor::catalog::Catalog;

    /// Leases; more than the machines that boot at once, since others of the
    /// LAN ask for addresses too.
    pub(crate) const LEASES: usize = 32_768;
    /// DHCP replies under way between two writes of the lease log.
    pub(crate) const REPLIES: usize = 256;
    /// Addresses being probed.
    pub(crate) const PROBES: usize = 1024;
    /// DHCP frames waiting to be handled, and to be sent.
    pub(crate) const FRAMES: usize = 512;
    /// TFTP transfers.
    pub(crate) const TRANSFERS: usize = 1024;
    /// UDP ports that TFTP transfers are spread over.
    pub(crate) const TFTP_PORTS: u8 = 8;
    /// IP stacks: one for TFTP, and those that the HTTP connections are spread
    /// over, as each looks at all of its own for every packet.
    pub(crate) const STACKS: usize = 1 + 16;
    /// HTTP connections of one stack, which are more than TFTP's sockets. So many
    /// of a thousand machines do not meet in one by chance: that is four standard
    /// deviations above the mean.
    pub(crate) const STACK_CONNECTIONS: usize = 96;
    /// HTTP connections.
    pub(crate) const CONNECTIONS: usize = (STACKS - 1) * STACK_CONNECTIONS;
    /// Events that a slow reader of the timeline can be behind.
    pub(crate) const EVENTS: usize = 1024;
    /// Machines whose address is known.
    pub(crate) const MACHINES: usize = 1024;

    /// 8 MiB of text, in up to 2,048 groups. Memory is used as it fills.
    pub(crate) type BoardCatalog = Catalog<{ 8 << 20 }, 2048, 512, 1024>;
}

fn main() -> ExitCode {
    output::init();
    let result = match cli::parse() {
        cli::Request::Serve(request) => serve::run(request),
        cli::Request::Explain(request) => explain::run(&request),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::error!("{failure}");
            failure.exit_code()
        }
    }
}
