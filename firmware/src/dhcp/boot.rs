//! Which boot file a client gets, by what it is (option 93), never by how it
//! spells its vendor class.
//!
//! | client | by TFTP | by HTTP |
//! | --- | --- | --- |
//! | `bios` | `undionly.kpxe` | – |
//! | `x86_64-efi`, `x86_64-http` | `ipxe.efi` | `http://SERVER/assets/ipxe.efi` |
//! | `arm64-efi`, `arm64-http` | `ipxe-arm64.efi` | `http://SERVER/assets/ipxe-arm64.efi` |
//! | `uboot-arm`, `uboot-arm64` | `boot.scr.uimg` | – |
//! | `rpi` | `bootcode.bin` | – |
//! | `ipxe` | – | `http://SERVER/boot.ipxe` |
//!
//! A client takes the HTTP column if it is an HTTP Boot client. Any other
//! client gets a file only by configuration.

use core::fmt::{self, Write as _};
use core::net::Ipv4Addr;
use core::str::FromStr;

use heapless::String;

use super::Config;
use super::capacity::FILE_LEN;
use super::request::{Request, Vendor};

/// What a client is told to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// It does not boot from the network, or boot files are switched off.
    Nothing,
    /// It wants to, but there is no file for its kind.
    Unknown(Client),
    /// A path for TFTP or a URL.
    File(String<FILE_LEN>),
}

/// Chooses what `request` boots.
pub fn choose(config: &Config, request: &Request) -> Choice {
    let Some(client) = request.client.filter(|_| config.boot.enabled) else {
        return Choice::Nothing;
    };
    let configured = config.boot.files.iter().find(|b| b.client == client);
    let file = match configured {
        Some(configured) if configured.file.is_empty() => return Choice::Nothing,
        Some(configured) => configured.file.as_str(),
        None => match built_in(client) {
            Some(file) => file,
            None => return Choice::Unknown(client),
        },
    };
    let script = configured.is_none() && client == Client::Ipxe;
    let whole_url = file.starts_with("http://") || file.starts_with("tftp://");
    let mut text = String::new();
    let written = if script {
        write!(text, "{}/{file}", Origin(config))
    } else if request.vendor == Vendor::Http && !whole_url {
        let path = file.trim_start_matches('/');
        write!(text, "{}/assets/{path}", Origin(config))
    } else {
        text.write_str(file)
    };
    match written {
        Ok(()) => Choice::File(text),
        // The URL of a configured path got too long for option 67.
        Err(fmt::Error) => Choice::Unknown(client),
    }
}

/// The file of clients that nothing was configured for.
const fn built_in(client: Client) -> Option<&'static str> {
    Some(match client {
        Client::Bios => "undionly.kpxe",
        Client::X86_64Efi | Client::X86_64Http => "ipxe.efi",
        Client::Arm64Efi | Client::Arm64Http => "ipxe-arm64.efi",
        Client::UbootArm | Client::UbootArm64 => "boot.scr.uimg",
        Client::Rpi => "bootcode.bin",
        Client::Ipxe => "boot.ipxe",
        Client::Ia32Efi | Client::Other(_) => return None,
    })
}

/// `http://SERVER[:PORT]`
struct Origin<'a>(&'a Config);

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config {
            server, http_port, ..
        } = self.0;
        write!(f, "http://{server}")?;
        match http_port {
            80 => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

/// The server that option 66 and siaddr name for a file: our own, or that of
/// a `tftp://` URL with an address.
pub fn next_server(config: &Config, file: &str) -> Ipv4Addr {
    file.strip_prefix("tftp://")
        .and_then(|rest| rest.split('/').next()?.parse().ok())
        .unwrap_or(config.server)
}

/// Vendor options (43) of a reply to a PXE client.
///
/// Discovery control (sub-option 6) with bit 3 says that the boot file of
/// this reply is the one to load, without asking a boot server for a menu
/// (PXE 2.1 table 2-1). Firmware that repeats the boot item it has chosen
/// (sub-option 71) gets it back.
pub fn vendor_options(request: &Request) -> heapless::Vec<u8, 40> {
    const DISCOVERY_CONTROL: u8 = 6;
    const USE_BOOT_FILE: u8 = 8;
    const BOOT_ITEM: u8 = 71;
    const END: u8 = 255;
    /// What the Raspberry Pi boot ROM looks for: no broadcast and no
    /// multicast discovery, a prompt that waits for nobody, and a menu whose
    /// one entry has this very name with its three spaces.
    const RASPBERRY_PI: &[u8] = b"\x06\x01\x03\
        \x0a\x04\x00PXE\
        \x09\x17\x00\x00\x14Raspberry Pi Boot   ";

    let mut options = heapless::Vec::new();
    let mut put = |bytes: &[u8]| {
        // All of them together are shorter than the capacity.
        let _ = options.extend_from_slice(bytes);
    };
    if request.client == Some(Client::Rpi) {
        put(RASPBERRY_PI);
    } else if let Some([a, b, c, d]) = request.boot_item {
        put(&[BOOT_ITEM, 4, a, b, c, d]);
    } else {
        put(&[DISCOVERY_CONTROL, 1, USE_BOOT_FILE]);
    }
    put(&[END]);
    options
}

/// What kind of firmware asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// PC BIOS PXE (0).
    Bios,
    /// 32-bit x86 UEFI PXE (6).
    Ia32Efi,
    /// x86-64 UEFI PXE (7, and 9 as early firmware numbered it).
    X86_64Efi,
    /// arm64 UEFI PXE (11).
    Arm64Efi,
    /// x86-64 UEFI HTTP Boot (16).
    X86_64Http,
    /// arm64 UEFI HTTP Boot (19).
    Arm64Http,
    /// 32-bit ARM U-Boot (21).
    UbootArm,
    /// arm64 U-Boot (22).
    UbootArm64,
    /// Raspberry Pi: boot ROM (which claims 0) and EEPROM boot loader (41).
    Rpi,
    /// iPXE on any architecture.
    Ipxe,
    /// Any other number of option 93 (IANA "Processor Architecture Types").
    Other(u16),
}

/// Names in `ichor.toml`, and the numbers of option 93 they stand for.
const NAMES: [(&str, Client, &[u16]); 10] = [
    ("bios", Client::Bios, &[0]),
    ("ia32-efi", Client::Ia32Efi, &[6]),
    ("x86_64-efi", Client::X86_64Efi, &[7, 9]),
    ("arm64-efi", Client::Arm64Efi, &[11]),
    ("x86_64-http", Client::X86_64Http, &[16]),
    ("arm64-http", Client::Arm64Http, &[19]),
    ("uboot-arm", Client::UbootArm, &[21]),
    ("uboot-arm64", Client::UbootArm64, &[22]),
    ("rpi", Client::Rpi, &[41]),
    ("ipxe", Client::Ipxe, &[]),
];

impl Client {
    /// The kind of client that option 93 names by `architecture`.
    pub fn from_architecture(architecture: u16) -> Self {
        NAMES
            .iter()
            .find(|(_, _, numbers)| numbers.contains(&architecture))
            .map_or(Self::Other(architecture), |(_, client, _)| *client)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Other(number) = self {
            return write!(f, "{number}");
        }
        let name = NAMES.iter().find(|(_, client, _)| client == self);
        f.write_str(name.map_or("", |(name, _, _)| name))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Client {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

/// The text names no kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseClientError;

impl fmt::Display for ParseClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a number of option 93 or one of")?;
        for (i, (name, _, _)) in NAMES.iter().enumerate() {
            write!(f, "{} {name}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for ParseClientError {}

impl FromStr for Client {
    type Err = ParseClientError;

    fn from_str(text: &str) -> Result<Self, ParseClientError> {
        if let Some((_, client, _)) = NAMES.iter().find(|(name, _, _)| *name == text) {
            return Ok(*client);
        }
        let number = text.parse().map_err(|_| ParseClientError)?;
        Ok(Self::from_architecture(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MacAddr;
    use crate::dhcp::BootFile;
    use crate::dhcp::fixture::Message;

    fn config(overrides: &[(Client, &str)]) -> Config {
        let mut config = Config {
            server: Ipv4Addr::new(192, 0, 2, 1),
            ..Config::default()
        };
        for (client, file) in overrides {
            let file = String::try_from(*file).unwrap();
            let client = *client;
            config.boot.files.push(BootFile { client, file }).unwrap();
        }
        config
    }

    fn chosen(config: &Config, message: &Message) -> std::string::String {
        match choose(config, &message.request()) {
            Choice::Nothing => "-".into(),
            Choice::Unknown(client) => std::format!("unknown {client}"),
            Choice::File(file) => file.as_str().into(),
        }
    }

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn the_architecture_decides_not_the_vendor_class() {
        let pxe = b"PXEClient:Arch:00000:UNDI:003000";
        let table: &[(&[u8], &str)] = &[
            (&[0, 0], "undionly.kpxe"),
            (&[0, 6], "unknown ia32-efi"),
            (&[0, 7], "ipxe.efi"),
            (&[0, 9], "ipxe.efi"),
            (&[0, 11], "ipxe-arm64.efi"),
            (&[0, 12], "unknown 12"),
            (&[0, 16], "http://192.0.2.1/assets/ipxe.efi"),
            (&[0, 19], "http://192.0.2.1/assets/ipxe-arm64.efi"),
            (&[0, 21], "boot.scr.uimg"),
            (&[0, 22], "boot.scr.uimg"),
            (&[0, 27], "unknown 27"),
            (&[0, 41], "bootcode.bin"),
            (&[0, 99, 0, 7, 0, 0], "ipxe.efi"),
            (&[0, 99, 0, 98], "unknown 99"),
            (&[11], "-"),
        ];
        for (architectures, file) in table {
            let message = Message::discover(MAC).with(60, pxe).with(93, architectures);
            assert_eq!(chosen(&config(&[]), &message), *file, "{architectures:?}");
        }
        assert_eq!(chosen(&config(&[]), &Message::discover(MAC)), "-");
    }

    #[test]
    fn ipxe_gets_the_script_or_it_would_load_itself_for_ever() {
        let arm64 = Message::discover(MAC).with(93, &[0, 11]);
        let table = [
            (arm64.clone().with(77, b"iPXE"), true),
            (arm64.clone().with(77, b"\x04iPXE"), true),
            (arm64.clone().with(77, b"\x03abc\x04iPXE"), true),
            (arm64.clone().with(175, &[1, 1, 1]), true),
            (arm64.clone().with(77, b"iPXEs"), false),
            (arm64.clone().with(77, b"\x04iPX"), false),
            (arm64, false),
        ];
        let mut config = config(&[]);
        config.http_port = 8080;
        for (message, ipxe) in table {
            let want = if ipxe {
                "http://192.0.2.1:8080/boot.ipxe"
            } else {
                "ipxe-arm64.efi"
            };
            assert_eq!(chosen(&config, &message), want, "{message:?}");
        }
    }

    #[test]
    fn an_operator_may_say_otherwise() {
        let config = config(&[
            (Client::Arm64Efi, "grubaa64.efi"),
            (Client::Arm64Http, "/own/boot.efi"),
            (Client::X86_64Http, "http://198.51.100.1/x.efi"),
            (Client::Ipxe, "menu.ipxe"),
            (Client::Bios, ""),
            (Client::Other(27), "riscv.efi"),
        ]);
        let table: &[(&[u8], &str)] = &[
            (&[0, 11], "grubaa64.efi"),
            (&[0, 19], "http://192.0.2.1/assets/own/boot.efi"),
            (&[0, 16], "http://198.51.100.1/x.efi"),
            (&[0, 0], "-"),
            (&[0, 27], "riscv.efi"),
            (&[0, 7], "ipxe.efi"),
        ];
        for (architecture, file) in table {
            let message = Message::discover(MAC).with(93, architecture);
            assert_eq!(chosen(&config, &message), *file, "{architecture:?}");
        }
        let ipxe = Message::discover(MAC).with(77, b"iPXE");
        assert_eq!(chosen(&config, &ipxe), "menu.ipxe");
    }

    #[test]
    fn the_raspberry_pi_rom_is_known_by_all_its_marks() {
        let pi = MacAddr([0xb8, 0x27, 0xeb, 1, 2, 3]);
        let class = b"PXEClient:Arch:00000:UNDI:002001";
        let rom = |mac, class: &[u8], id: &[u8]| {
            Message::discover(mac)
                .with(93, &[0, 0])
                .with(60, class)
                .with(97, id)
                .request()
                .rom
        };
        assert!(rom(pi, class, &[0; 17]));
        assert!(rom(MAC, class, &[0, 0x44, 0x44, 0x44, 0x44, 0x44]));
        assert!(rom(MAC, class, b"\x004iPR"));
        assert!(!rom(MAC, class, &[0; 17]), "a PC BIOS");
        assert!(!rom(pi, b"PXEClient:Arch:00000:UNDI:003016", &[0; 17]));
    }

    #[test]
    fn a_tftp_url_names_the_next_server() {
        let config = config(&[]);
        let table = [
            ("ipxe.efi", [192, 0, 2, 1]),
            ("tftp://198.51.100.9/x.efi", [198, 51, 100, 9]),
            ("tftp://name/x.efi", [192, 0, 2, 1]),
        ];
        for (file, server) in table {
            assert_eq!(next_server(&config, file), Ipv4Addr::from(server));
        }
    }

    #[test]
    fn names_and_numbers_name_the_same_clients() {
        for (name, client, numbers) in NAMES {
            assert_eq!(name.parse(), Ok(client));
            assert_eq!(client.to_string(), name);
            for number in numbers {
                assert_eq!(number.to_string().parse(), Ok(client));
            }
        }
        assert_eq!("27".parse(), Ok(Client::Other(27)));
        let error = "arm64".parse::<Client>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected a number of option 93 or one of bios, ia32-efi, x86_64-efi, arm64-efi, \
             x86_64-http, arm64-http, uboot-arm, uboot-arm64, rpi, ipxe"
        );
    }
}
