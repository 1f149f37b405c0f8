//! What a client asks: the meaning of its message, parsed once.

use core::net::Ipv4Addr;

use heapless::Vec;

use super::boot::Client;
use super::client_key::ClientKey;
use super::options::{self as option, Options};
use super::wire::{MIN_MAX_MESSAGE, MessageType, Op, Packet, Repr, WireError};
use crate::MacAddr;

/// A client's message. What replies repeat is kept as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Type of the message (option 53).
    pub kind: MessageType,
    /// The fixed fields.
    pub repr: Repr,
    /// Who asks.
    pub key: ClientKey,
    /// Client identifier (61), repeated in replies (RFC 6842); may be empty.
    pub client_id: Vec<u8, 255>,
    /// The address asked for (50).
    pub requested: Option<Ipv4Addr>,
    /// The server chosen (54).
    pub server_id: Option<Ipv4Addr>,
    /// The lease time asked for in seconds (51).
    pub lease_seconds: Option<u32>,
    /// What the client wants to know (55), as far as this server knows it, in
    /// the client's order. `None` if it did not say.
    pub parameters: Option<Vec<u8, { KNOWN.len() }>>,
    /// The largest datagram it takes, with IP and UDP headers (57).
    pub max_message: u16,
    /// Relay agent information (82), repeated as it is.
    pub agent: Vec<u8, 255>,
    /// The link that the relay names, if it is not that of giaddr (RFC 3527).
    pub link: Option<Ipv4Addr>,
    /// Machine identifier (97), repeated as it is; may be empty.
    pub machine_id: Vec<u8, MACHINE_ID_LEN>,
    /// Which kind of netboot client it says it is (60).
    pub vendor: Vendor,
    /// Its firmware, if it is about to boot (93, and what is known of
    /// Raspberry Pi ROMs and iPXE).
    pub client: Option<Client>,
    /// Whether this is the Raspberry Pi boot ROM: it never sends REQUEST.
    pub rom: bool,
    /// Boot item chosen from a menu (43, sub-option 71), repeated.
    pub boot_item: Option<[u8; 4]>,
}

/// How a client names itself in option 60.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// `PXEClient…`
    Pxe,
    /// `HTTPClient…`
    Http,
    /// Anything else, or nothing.
    Other,
}

impl Vendor {
    /// What the reply's option 60 says.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Pxe => Some("PXEClient"),
            Self::Http => Some("HTTPClient"),
            Self::Other => None,
        }
    }
}

/// A type byte and a UUID are 17 bytes (RFC 4578 §2.3); firmware has been
/// seen to send a little more.
const MACHINE_ID_LEN: usize = 32;

/// Options that a parameter request list (55) may ask of this server.
pub(super) const KNOWN: [u8; 17] = [
    option::SUBNET_MASK,
    option::ROUTER,
    option::DNS,
    option::HOSTNAME,
    option::DOMAIN,
    option::MTU,
    option::NTP,
    option::VENDOR,
    option::T1,
    option::T2,
    option::VENDOR_CLASS,
    option::TFTP_SERVER,
    option::BOOT_FILE,
    option::MACHINE_ID,
    option::SEARCH,
    option::ROUTES,
    option::IPXE,
];

/// Sub-option of 82: the link to choose an address for (RFC 3527).
const LINK_SELECTION: u8 = 5;
/// Sub-option of 43: the boot item chosen (PXE 2.1 table 2-1).
const PXE_BOOT_ITEM: u8 = 71;

impl Request {
    /// Understands a client's message.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self, WireError> {
        let repr = Repr::parse(packet)?;
        let options = packet.options();
        let kind = message_type(&options)?;
        let from_client = matches!(
            kind,
            MessageType::Discover
                | MessageType::Request
                | MessageType::Decline
                | MessageType::Release
                | MessageType::Inform
        );
        if repr.op != Op::Request || !from_client {
            return Err(WireError::MessageType);
        }
        let client_id = options.concatenated(option::CLIENT_ID)?;
        let agent = options.concatenated::<255>(option::AGENT_INFORMATION)?;
        let vendor_class = options.first(option::VENDOR_CLASS).unwrap_or_default();
        let architectures = options.first(option::ARCHITECTURE).unwrap_or_default();
        let machine_id = options.first(option::MACHINE_ID).unwrap_or_default();
        let rom = is_raspberry_pi_rom(&repr, vendor_class, architectures, machine_id);
        let client = if is_ipxe(&options) {
            Some(Client::Ipxe)
        } else if rom {
            Some(Client::Rpi)
        } else {
            first_known(architectures)
        };
        let vendor = match client {
            Some(Client::X86_64Http | Client::Arm64Http) => Vendor::Http,
            _ if vendor_class.starts_with(b"PXEClient") => Vendor::Pxe,
            _ if vendor_class.starts_with(b"HTTPClient") => Vendor::Http,
            _ => Vendor::Other,
        };
        Ok(Self {
            kind,
            key: ClientKey::new(&repr, &client_id)?,
            repr,
            client_id,
            requested: options.address(option::REQUESTED_IP)?,
            server_id: options.address(option::SERVER_ID)?,
            lease_seconds: options.fixed(option::LEASE_TIME)?.map(u32::from_be_bytes),
            parameters: parameters(&options),
            max_message: options
                .fixed(option::MAX_MESSAGE)?
                .map_or(MIN_MAX_MESSAGE, u16::from_be_bytes)
                .max(MIN_MAX_MESSAGE),
            link: sub_option(&agent, LINK_SELECTION).map(Ipv4Addr::from),
            agent,
            // What is too long to be an identifier is not repeated.
            machine_id: Vec::from_slice(machine_id).unwrap_or_default(),
            vendor,
            client,
            rom,
            boot_item: options
                .first(option::VENDOR)
                .and_then(|vendor| sub_option(vendor, PXE_BOOT_ITEM)),
        })
    }

    /// The station to name in logs: its Ethernet address, or what there is of
    /// another kind of address.
    pub fn mac(&self) -> MacAddr {
        self.repr
            .chaddr
            .first_chunk()
            .map_or_else(MacAddr::default, |mac| MacAddr(*mac))
    }

    /// Whether the client asked for an option, or did not say what it wants.
    pub fn wants(&self, code: u8) -> bool {
        self.parameters
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&code))
    }
}

/// The type of a message (option 53).
pub(super) fn message_type(options: &Options<'_>) -> Result<MessageType, WireError> {
    match options.first(option::MESSAGE_TYPE) {
        Some([number]) => MessageType::from_number(*number),
        _ => None,
    }
    .ok_or(WireError::MessageType)
}

/// What of the parameter request list this server knows, each option once.
fn parameters(options: &Options<'_>) -> Option<Vec<u8, { KNOWN.len() }>> {
    options.first(option::PARAMETERS)?;
    let mut wanted = Vec::new();
    for (_, list) in options.clone().filter(|(c, _)| *c == option::PARAMETERS) {
        for code in list.iter().filter(|code| KNOWN.contains(code)) {
            if !wanted.contains(code) {
                // Has room for all known ones.
                let _ = wanted.push(*code);
            }
        }
    }
    Some(wanted)
}

/// The value of a sub-option that has four bytes.
fn sub_option(encapsulated: &[u8], code: u8) -> Option<[u8; 4]> {
    Options::new(encapsulated, &[], &[])
        .first(code)?
        .try_into()
        .ok()
}

/// iPXE says so in its user class (77), raw as it sends it or as a list of
/// counted strings (RFC 3004), or by sending its own options (175).
fn is_ipxe(options: &Options<'_>) -> bool {
    const NAME: &[u8] = b"iPXE";
    let mut class = options.first(option::USER_CLASS).unwrap_or_default();
    if class == NAME || options.first(option::IPXE).is_some() {
        return true;
    }
    while let [len, rest @ ..] = class {
        let Some((item, rest)) = rest.split_at_checked(usize::from(*len)) else {
            return false;
        };
        if item == NAME {
            return true;
        }
        class = rest;
    }
    false
}

/// The boot ROM of Raspberry Pi 3 and older claims to be a PC BIOS. Taken
/// alone, none of its marks is its own, so all must be there.
fn is_raspberry_pi_rom(repr: &Repr, class: &[u8], architectures: &[u8], machine: &[u8]) -> bool {
    /// Address blocks of Raspberry Pi (IEEE registry).
    const VENDORS: [[u8; 3]; 6] = [
        [0xb8, 0x27, 0xeb],
        [0xdc, 0xa6, 0x32],
        [0xe4, 0x5f, 0x01],
        [0x28, 0xcd, 0xc1],
        [0xd8, 0x3a, 0xdd],
        [0x2c, 0xcf, 0x67],
    ];
    let vendor = repr.chaddr.first_chunk();
    // A UUID of nothing but 0x44, or one that begins with "RPi4" backwards.
    let named = matches!(
        machine,
        [0, 0x44, 0x44, 0x44, 0x44, ..] | [0, _, b'i', b'P', b'R', ..]
    );
    class == b"PXEClient:Arch:00000:UNDI:002001"
        && architectures == [0, 0]
        && (named || vendor.is_some_and(|vendor| VENDORS.contains(vendor)))
}

/// Old firmware lists several architectures: the first that is known counts.
fn first_known(architectures: &[u8]) -> Option<Client> {
    let (numbers, _) = architectures.as_chunks();
    let clients = || {
        numbers
            .iter()
            .map(|n| Client::from_architecture(u16::from_be_bytes(*n)))
    };
    clients()
        .find(|client| !matches!(client, Client::Other(_)))
        .or_else(|| clients().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::fixture::Message;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn the_parameter_list_keeps_order_and_what_is_known() {
        let request = Message::discover(MAC).request();
        assert_eq!(request.parameters, None);
        assert!(request.wants(option::ROUTER), "it did not say otherwise");

        let listed = Message::discover(MAC)
            .with(55, &[6, 250, 3, 6])
            .with(55, &[1]);
        let request = listed.request();
        assert_eq!(request.parameters.as_deref(), Some(&[6, 3, 1][..]));
        assert!(!request.wants(option::DOMAIN));
    }

    #[test]
    fn long_options_are_put_together() {
        let id = Message::discover(MAC)
            .with(61, &[1; 200])
            .with(61, &[2; 55]);
        let request = id.request();
        assert_eq!(request.client_id.len(), 255);
        assert_eq!(request.key, ClientKey::from_id(&request.client_id));
        let long = id.with(61, &[3]).bytes();
        let packet = Packet::new_checked(&long[..]).unwrap();
        let error = Request::parse(&packet).unwrap_err();
        assert_eq!(error, WireError::OptionLength(61, 256));
    }

    #[test]
    fn sizes_and_links_are_read() {
        let table = [(None, 576), (Some(100_u16), 576), (Some(1500), 1500)];
        for (sent, understood) in table {
            let mut message = Message::discover(MAC);
            if let Some(sent) = sent {
                message = message.with(57, &sent.to_be_bytes());
            }
            assert_eq!(message.request().max_message, understood);
        }
        let relayed = Message::discover(MAC).with(82, &[1, 1, 9, 5, 4, 192, 0, 2, 0]);
        let link = relayed.request().link;
        assert_eq!(link, Some(Ipv4Addr::new(192, 0, 2, 0)));
        let short = Message::discover(MAC).with(82, &[5, 3, 192, 0, 2]);
        assert_eq!(short.request().link, None);
    }

    #[test]
    fn only_clients_are_understood() {
        for (kind, understood) in [
            (MessageType::Discover, true),
            (MessageType::Inform, true),
            (MessageType::Offer, false),
            (MessageType::Ack, false),
            (MessageType::Nak, false),
        ] {
            let bytes = Message::new(kind, MAC).bytes();
            let packet = Packet::new_checked(&bytes[..]).unwrap();
            assert_eq!(Request::parse(&packet).is_ok(), understood, "{kind:?}");
        }
    }
}
