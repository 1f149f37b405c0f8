//! The table of all keys, for the file, for flags and for help.

use super::reason::{ConfigError, Reason, nearest};
use super::{Config, toml, value};
use crate::tftp::wire::{BLKSIZE_MAX, BLKSIZE_MIN};

/// One key of the file, which is one flag of `ichor serve`.
pub struct Key<T: 'static> {
    /// Its name in the file; the flag has two hyphens before it.
    pub name: &'static str,
    /// What the value looks like, for help.
    pub value: &'static str,
    /// What it is for, in a line.
    pub about: &'static str,
    /// Whether it may be given more than once, and adds up.
    pub repeats: bool,
    /// Sets it to what the text says.
    pub set: fn(&mut T, &str) -> Result<(), Reason>,
}

impl<T> Key<T> {
    /// A key with a single value.
    pub const fn new(
        name: &'static str,
        value: &'static str,
        about: &'static str,
        set: fn(&mut T, &str) -> Result<(), Reason>,
    ) -> Self {
        Self {
            name,
            value,
            about,
            repeats: false,
            set,
        }
    }

    /// A key that may be given more than once.
    pub const fn repeated(mut self) -> Self {
        self.repeats = true;
        self
    }
}

impl Config {
    /// All keys that every board has.
    pub const KEYS: &[Key<Self>] = &[
        Key::new(
            "address",
            "A.B.C.D/N",
            "ichor's own address and its subnet, or \"host\" to share the host's",
            Self::set_address,
        ),
        Key::new(
            "gateway",
            "A.B.C.D",
            "router to other subnets",
            Self::set_gateway,
        ),
        Key::new(
            "routes",
            "N/P via R,…",
            "static routes for DHCP clients (option 121)",
            |config, text| {
                let routes = value::list(text, value::route)?;
                if let Some(link) = config.link() {
                    link.routes = routes;
                }
                Ok(())
            },
        ),
        Key::new(
            "mtu",
            "BYTES",
            "largest packet on this network [1500]",
            Self::set_mtu,
        ),
        Key::new(
            "dns",
            "A.B.C.D,…",
            "DNS servers for DHCP clients",
            |config, text| {
                config.dhcp.dns = value::list(text, value::address)?;
                Ok(())
            },
        ),
        Key::new(
            "domain",
            "NAME",
            "domain name for DHCP clients",
            |config, text| {
                config.dhcp.domain = value::domain(text)?;
                Ok(())
            },
        ),
        Key::new(
            "search",
            "NAME,…",
            "domains in which DHCP clients look up short names",
            |config, text| {
                config.dhcp.search = value::list(text, value::domain)?;
                Ok(())
            },
        ),
        Key::new(
            "ntp",
            "A.B.C.D,…",
            "time servers for DHCP clients",
            |config, text| {
                config.dhcp.ntp = value::list(text, value::address)?;
                Ok(())
            },
        ),
        Key::new(
            "dhcp",
            "server|proxy|off",
            "hand out addresses and boot files, boot files only, or nothing [off]",
            Self::set_dhcp,
        ),
        Key::new(
            "pool",
            "FIRST-LAST",
            "addresses to hand out",
            |config, text| {
                let pool = value::pool(text)?;
                if let Some(link) = config.link() {
                    link.pool = Some(pool);
                }
                Ok(())
            },
        ),
        Key::new(
            "lease",
            "SECONDS",
            "how long an address is lent; 45m, 12h and 7d are understood [1h]",
            Self::set_lease,
        ),
        Key::new(
            "probe-ms",
            "MS",
            "how long to look for another user of an address before it is offered [200]",
            Self::set_probe,
        ),
        Key::new(
            "boot",
            "CLIENT=FILE",
            "boot file or URL for a kind of client, such as arm64-efi",
            Self::set_boot,
        )
        .repeated(),
        Key::new(
            "ipxe-no-router",
            "true|false",
            "tell iPXE that no IPv6 router is there when none answers: it waits 4 s otherwise [true]",
            |config, text| {
                config.dhcp.boot.ends_router_search = value::boolean(text)?;
                Ok(())
            },
        ),
        Key::new(
            "reservation",
            "mac=…,address=…",
            "an address, and a hostname if wanted, for one machine known by mac or client-id",
            Self::add_reservation,
        )
        .repeated(),
        Key::new(
            "subnet",
            "address=…,pool=…",
            "a subnet behind a DHCP relay, with its gateway if wanted",
            Self::add_subnet,
        )
        .repeated(),
        Key::new(
            "http-port",
            "PORT,…",
            "ports of HTTP, the one in URLs first [8080]",
            Self::set_http_ports,
        ),
        Key::new(
            "tftp-port",
            "PORT",
            "port of TFTP, 0 for none [69]",
            |config, text| {
                let port = value::number(text, 0..=u16::MAX, "a port from 0 (none) to 65535")?;
                config.tftp_port = Some(port).filter(|port| *port > 0);
                Ok(())
            },
        ),
        Key::new(
            "tftp-single-port",
            "true|false",
            "keep transfers on that port, for clients behind NAT [false]",
            |config, text| {
                config.tftp_single_port = value::boolean(text)?;
                Ok(())
            },
        ),
        Key::new(
            "tftp-max-blksize",
            "BYTES",
            "largest TFTP block [what the MTU has room for]",
            |config, text| {
                let what = "a number from 8 to 65464";
                let size = value::number(text, BLKSIZE_MIN..=BLKSIZE_MAX, what)?;
                config.tftp_max_blksize = Some(size);
                Ok(())
            },
        ),
        Key::new(
            "tftp-max-window",
            "BLOCKS",
            "most TFTP blocks sent before an answer is awaited [64]",
            |config, text| {
                let what = "a number from 1 to 65535";
                config.tftp_max_window = value::number(text, 1..=u16::MAX, what)?;
                Ok(())
            },
        ),
    ];
}

/// Where settings go: the keys of every board, and those of this one.
pub struct Settings<'a, B: 'static> {
    config: &'a mut Config,
    board: &'a mut B,
    board_keys: &'static [Key<B>],
}

impl<'a, B> Settings<'a, B> {
    /// `board` takes what `board_keys` name.
    pub fn new(config: &'a mut Config, board: &'a mut B, board_keys: &'static [Key<B>]) -> Self {
        Self {
            config,
            board,
            board_keys,
        }
    }

    /// Sets one key to what its text says (see [`Config::set`]).
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Reason> {
        if value.contains(char::is_control) {
            return Err(Reason::expected("text without control characters", value));
        }
        if let Some(client) = key.strip_prefix("boot.") {
            return self.config.set_boot_file(client, value);
        }
        if let Some(key) = Config::KEYS.iter().find(|k| k.name == key) {
            return (key.set)(self.config, value);
        }
        if let Some(key) = self.board_keys.iter().find(|k| k.name == key) {
            return (key.set)(self.board, value);
        }
        if let Some((table, _)) = key.split_once('.')
            && Config::KEYS.iter().any(|k| k.repeats && k.name == table)
        {
            return Err(Reason::wrong(format_args!(
                "write [[{table}]], with two brackets on either side"
            )));
        }
        let known = Config::KEYS.iter().map(|k| k.name);
        let known = known.chain(self.board_keys.iter().map(|k| k.name));
        Err(Reason::UnknownKey(nearest(key, known)))
    }

    /// Takes over what a file says (see [`Config::read`]).
    pub fn read(&mut self, text: &str) -> Result<(), ConfigError> {
        toml::read(text, &mut |key, value| self.set(key, value))
    }
}
