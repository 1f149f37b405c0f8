//! The command line: `ichor serve` and `ichor explain`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Netboot server: DHCP, TFTP and HTTP in one process, from a matchbox folder.
#[derive(Debug, Parser)]
#[command(name = "ichor", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve DHCP, TFTP and HTTP until told to stop.
    Serve(Box<Serve>),
    /// Say which group and profile a machine gets, and why not the others.
    Explain(Explain),
}

/// Every setting but `--data` and `--log` is also a key of `ichor.toml` in the
/// data folder; a flag wins over the file.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The matchbox folder: groups/, profiles/, generic/, assets/ … and ichor.toml.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// What to print for each step of each machine.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log: LogFormat,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// One JSON object per line on standard output.
    Json,
}

macro_rules! settings {
    ($($(#[$attr:meta])* $field:ident: $key:literal <$value:literal>,)*) => {
        /// The flags that are also keys of `ichor.toml`.
        #[derive(Debug, Default, Args)]
        pub(crate) struct Settings {
            $($(#[$attr])* #[arg(long = $key, value_name = $value)] $field: Vec<String>,)*
        }

        impl Settings {
            /// The flags given, as key and text, in the order of their declaration.
            pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
                std::iter::empty()
                    $(.chain(self.$field.iter().map(|value| ($key, value.as_str()))))*
            }
        }
    };
}

settings! {
    /// Where the frames come from: an interface, a TAP device, or the unix
    /// socket of QEMU's `-netdev stream` or `dgram`.
    nic: "nic" <"packet:IFACE|tap:NAME|wire:PATH">,
    /// The stack's own address with its prefix length, or `host` to share the
    /// interface's address with the kernel.
    address: "address" <"A.B.C.D/N|host">,
    /// The router that machines are told, and that the stack itself uses.
    gateway: "gateway" <"A.B.C.D">,
    /// DNS servers, separated by commas.
    dns: "dns" <"A.B.C.D,…">,
    /// Domain name for the machines.
    domain: "domain" <"NAME">,
    /// Search domains, separated by commas.
    search: "search" <"NAME,…">,
    /// NTP servers, separated by commas.
    ntp: "ntp" <"A.B.C.D,…">,
    /// MTU that machines are told.
    mtu: "mtu" <"BYTES">,
    /// Static routes for the machines, separated by commas.
    routes: "routes" <"A.B.C.D/N via A.B.C.D,…">,
    /// `server` gives addresses, `proxy` only boot files beside another DHCP
    /// server, `off` neither.
    dhcp: "dhcp" <"server|proxy|off">,
    /// Addresses to give out.
    pool: "pool" <"FIRST-LAST">,
    /// Lease time: seconds, or with m, h or d.
    lease: "lease" <"SECONDS">,
    /// How long to wait for an answer from an address before offering it; 0
    /// does not ask.
    probe_ms: "probe-ms" <"MILLISECONDS">,
    /// HTTP ports, separated by commas: `8080,80` also serves port 80. The
    /// first one goes into boot scripts.
    http_port: "http-port" <"PORT,…">,
    /// TFTP port.
    tftp_port: "tftp-port" <"PORT">,
    /// Whether all TFTP transfers stay on the TFTP port (for NAT and firewalls).
    tftp_single_port: "tftp-single-port" <"true|false">,
    /// Largest TFTP block to agree to.
    tftp_max_blksize: "tftp-max-blksize" <"BYTES">,
    /// Largest TFTP window to agree to.
    tftp_max_window: "tftp-max-window" <"BLOCKS">,
    /// The boot file of an architecture, e.g. `arm64-efi=ipxe-arm64.efi`.
    boot: "boot" <"ARCH=FILE|URL">,
    /// A fixed address, e.g. `mac=52:54:00:12:34:56,address=192.0.2.9,hostname=n1`.
    reservation: "reservation" <"mac=…|client-id=…,address=…[,hostname=…]">,
    /// Folder for leases.
    state: "state" <"DIR">,
    /// User to become once the sockets are open, when started as root.
    user: "user" <"NAME">,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The matchbox folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The machine's hardware address.
    #[arg(long)]
    pub(crate) mac: Option<String>,
    /// Another label that the machine sends, e.g. `uuid=…`; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
}

/// The command line, or clap's own message and exit code 2.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Cli {
    Cli::parse_from(args)
}
