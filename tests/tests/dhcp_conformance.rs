//! Another implementation of the DHCP formats (dhcproto) writes the requests
//! and reads the replies: what both sides agree on is not one author's error.

#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use dhcproto::v4::relay::{RelayAgentInformation, RelayInfo};
use dhcproto::v4::{
    Architecture, DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption,
};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use embassy_time::{Duration, Instant};
use ichor::MacAddr;
use ichor::dhcp::{Config, Meta, Mode, Now, Pool, Route, Server, Subnet, Transmit};
use ichor::journal::Journal;
use ichor_hal::fake::FakeLog;

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn config() -> Config {
    let mut link = Subnet::new(SERVER, 24);
    link.pool = Some(Pool {
        first: Ipv4Addr::new(192, 0, 2, 50),
        last: Ipv4Addr::new(192, 0, 2, 99),
    });
    link.routers.push(SERVER).unwrap();
    let route = |destination: [u8; 4], prefix| Route {
        destination: destination.into(),
        prefix,
        router: Ipv4Addr::new(192, 0, 2, 2),
    };
    link.routes.push(route([198, 51, 100, 128], 25)).unwrap();
    link.routes.push(route([172, 16, 0, 0], 12)).unwrap();
    link.routes.push(route([203, 0, 113, 9], 32)).unwrap();
    let mut config = Config {
        mode: Mode::Server,
        server: SERVER,
        probe: Duration::MIN,
        mtu: Some(9000),
        domain: "lab.test".try_into().unwrap(),
        ..Config::default()
    };
    config.subnets.push(link).unwrap();
    config.dns.push(Ipv4Addr::new(192, 0, 2, 3)).unwrap();
    config.ntp.push(Ipv4Addr::new(192, 0, 2, 4)).unwrap();
    for domain in SEARCH {
        config.search.push(domain.try_into().unwrap()).unwrap();
    }
    config
}

const SEARCH: [&str; 3] = ["lab.test", "test", "a.very.long.name.of.a.lab.test"];

struct Bench {
    server: Box<Server<64, 8, 8>>,
    journal: Journal<8, 8>,
    log: FakeLog,
}

impl Bench {
    fn new(config: Config) -> Self {
        let mut server = Box::new(Server::new());
        server.configure(config, 1).unwrap();
        Self {
            server,
            journal: Journal::new(),
            log: FakeLog::default(),
        }
    }

    /// The reply to a message, and where it goes.
    fn ask(&mut self, message: &Message, port: u16) -> (Message, Ipv4Addr, u16) {
        let mut bytes = Vec::new();
        message.encode(&mut Encoder::new(&mut bytes)).unwrap();
        let now = Now {
            mono: Instant::from_secs(1),
            seconds: 1_700_000_000,
        };
        let meta = Meta {
            src_mac: MAC,
            src_ip: message.ciaddr(),
            src_port: 68,
            dst_ip: Ipv4Addr::BROADCAST,
            port,
        };
        self.server.on_packet(now, &meta, &bytes, &self.journal);
        let persisted = pin!(self.server.persist(now, &mut self.log))
            .poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(persisted, Poll::Ready(()));
        let mut buf = [0; 1472];
        let Some(Transmit::Udp {
            dst_ip,
            dst_port,
            len,
            ..
        }) = self.server.poll_transmit(now.mono, &mut buf)
        else {
            panic!("no reply to {message}")
        };
        let reply = Message::decode(&mut Decoder::new(&buf[..len])).unwrap();
        assert_eq!(reply.opcode(), Opcode::BootReply);
        assert_eq!(reply.xid(), message.xid());
        assert_eq!(reply.chaddr(), message.chaddr());
        says(&reply, &DhcpOption::ServerIdentifier(SERVER));
        (reply, dst_ip, dst_port)
    }
}

fn message(kind: MessageType, ciaddr: Ipv4Addr, options: &[DhcpOption]) -> Message {
    let mut message = Message::new(ciaddr, ANY, ANY, ANY, &MAC.0);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    for option in options {
        message.opts_mut().insert(option.clone());
    }
    message
}

fn kind(message: &Message) -> MessageType {
    message.opts().msg_type().unwrap()
}

/// The `file` field, up to its end.
fn file(message: &Message) -> &str {
    let file = message.fname_str().unwrap().unwrap();
    file.trim_end_matches('\0')
}

/// The message has this very option.
#[track_caller]
fn says(message: &Message, option: &DhcpOption) {
    let code = OptionCode::from(option);
    assert_eq!(message.opts().get(code), Some(option));
}

#[test]
fn all_parameters_are_read_as_they_were_meant() {
    let wanted = [
        OptionCode::SubnetMask,
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::DomainName,
        OptionCode::InterfaceMtu,
        OptionCode::NtpServers,
        OptionCode::DomainSearch,
        OptionCode::ClasslessStaticRoute,
    ];
    let common = [
        DhcpOption::ParameterRequestList(wanted.to_vec()),
        DhcpOption::ClientIdentifier(vec![0, 1, 2, 3, 4, 5, 6, 7]),
        DhcpOption::AddressLeaseTime(1800),
        DhcpOption::MaxMessageSize(1500),
    ];
    let mut bench = Bench::new(config());
    let (offer, to, port) = bench.ask(&message(MessageType::Discover, ANY, &common), 67);
    assert_eq!(kind(&offer), MessageType::Offer);
    assert_eq!((to, port), (offer.yiaddr(), 68));

    let mut take = message(MessageType::Request, ANY, &common);
    take.opts_mut().insert(DhcpOption::ServerIdentifier(SERVER));
    take.opts_mut()
        .insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
    let (ack, ..) = bench.ask(&take, 67);
    assert_eq!(kind(&ack), MessageType::Ack);
    assert_eq!(ack.yiaddr(), offer.yiaddr());

    for reply in [offer, ack] {
        let table = [
            DhcpOption::ClientIdentifier(vec![0, 1, 2, 3, 4, 5, 6, 7]),
            DhcpOption::AddressLeaseTime(1800),
            DhcpOption::Renewal(900),
            DhcpOption::Rebinding(1575),
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::Router(vec![SERVER]),
            DhcpOption::DomainNameServer(vec![Ipv4Addr::new(192, 0, 2, 3)]),
            DhcpOption::NtpServers(vec![Ipv4Addr::new(192, 0, 2, 4)]),
            DhcpOption::DomainName("lab.test".into()),
            DhcpOption::InterfaceMtu(9000),
        ];
        for option in &table {
            says(&reply, option);
        }
        let search = reply.opts().get(OptionCode::DomainSearch);
        let Some(DhcpOption::DomainSearch(names)) = search else {
            panic!("{search:?}")
        };
        let names: Vec<_> = names.iter().map(|name| name.to_ascii()).collect();
        let names: Vec<_> = names.iter().map(|n| n.trim_end_matches('.')).collect();
        assert_eq!(names, SEARCH);
        let routes = reply.opts().get(OptionCode::ClasslessStaticRoute);
        let Some(DhcpOption::ClasslessStaticRoute(routes)) = routes else {
            panic!("{routes:?}")
        };
        let routes: Vec<_> = routes
            .iter()
            .map(|(net, router)| format!("{net} by {router}"))
            .collect();
        let want = [
            "198.51.100.128/25 by 192.0.2.2",
            "172.16.0.0/12 by 192.0.2.2",
            "203.0.113.9/32 by 192.0.2.2",
            "0.0.0.0/0 by 192.0.2.1",
        ];
        assert_eq!(routes, want);
    }
}

#[test]
fn boot_clients_read_their_file() {
    let url = "http://192.0.2.1/assets/ipxe-arm64.efi";
    let table = [
        (11, "PXEClient:Arch:00011:UNDI:003000", "ipxe-arm64.efi"),
        (19, "HTTPClient:Arch:00019:UNDI:003000", url),
        (7, "PXEClient:Arch:00007:UNDI:003016", "ipxe.efi"),
        (0, "PXEClient:Arch:00000:UNDI:002001", "undionly.kpxe"),
    ];
    for mode in [Mode::Server, Mode::Proxy] {
        let mut bench = Bench::new(Config { mode, ..config() });
        for (architecture, class, file) in table {
            let wanted = vec![OptionCode::TFTPServerName, OptionCode::BootfileName];
            let options = [
                DhcpOption::ClientSystemArchitecture(Architecture(architecture)),
                DhcpOption::ClassIdentifier(class.into()),
                DhcpOption::ClientMachineIdentifier(vec![0; 17]),
                DhcpOption::ParameterRequestList(wanted),
            ];
            let discover = message(MessageType::Discover, ANY, &options);
            let (offer, ..) = bench.ask(&discover, 67);
            assert_eq!(kind(&offer), MessageType::Offer);
            assert_eq!(offer.siaddr(), SERVER);
            assert_eq!(self::file(&offer), file);
            assert_eq!(offer.yiaddr().is_unspecified(), mode == Mode::Proxy);
            let name = class.split(':').next().unwrap();
            says(&offer, &DhcpOption::BootfileName(file.into()));
            says(&offer, &DhcpOption::ClassIdentifier(name.into()));
            says(&offer, &DhcpOption::ClientMachineIdentifier(vec![0; 17]));
        }
    }
}

#[test]
fn the_boot_server_acknowledges_by_unicast() {
    let client = Ipv4Addr::new(192, 0, 2, 60);
    let options = [
        DhcpOption::ClientSystemArchitecture(Architecture(11)),
        DhcpOption::ClassIdentifier("PXEClient:Arch:00011:UNDI:003000".into()),
    ];
    let inform = message(MessageType::Inform, client, &options);
    let (ack, to, port) = Bench::new(config()).ask(&inform, 4011);
    assert_eq!(kind(&ack), MessageType::Ack);
    assert_eq!((to, port), (client, 68));
    assert_eq!(file(&ack), "ipxe-arm64.efi");
}

#[test]
fn relays_get_their_information_back() {
    let mut agent = RelayAgentInformation::default();
    agent.insert(RelayInfo::AgentCircuitId(b"port 7".to_vec()));
    agent.insert(RelayInfo::LinkSelection(Ipv4Addr::new(192, 0, 2, 0)));
    let option = DhcpOption::RelayAgentInformation(agent);
    let options = std::slice::from_ref(&option);
    let mut discover = message(MessageType::Discover, ANY, options);
    let relay = Ipv4Addr::new(203, 0, 113, 1);
    discover.set_giaddr(relay);
    discover.set_flags(Flags::default().set_broadcast());
    let (offer, to, port) = Bench::new(config()).ask(&discover, 67);
    assert_eq!((to, port), (relay, 67));
    assert!(offer.flags().broadcast());
    assert_eq!(offer.giaddr(), relay);
    says(&offer, &option);
}

#[test]
fn a_refusal_says_why() {
    let options = [DhcpOption::RequestedIpAddress(Ipv4Addr::new(10, 1, 2, 3))];
    let reboot = message(MessageType::Request, ANY, &options);
    let (nak, to, _) = Bench::new(config()).ask(&reboot, 67);
    assert_eq!(kind(&nak), MessageType::Nak);
    assert_eq!(to, Ipv4Addr::BROADCAST);
    let why = "address is not of this network";
    says(&nak, &DhcpOption::Message(why.into()));
}

#[test]
fn ipxe_need_not_wait_for_a_proxy() {
    let code = OptionCode::from(175);
    let options = [
        DhcpOption::UserClass(b"iPXE".into()),
        DhcpOption::Unknown(UnknownOption::new(code, vec![1, 1, 1])),
        DhcpOption::ParameterRequestList(vec![code]),
    ];
    let discover = message(MessageType::Discover, ANY, &options);
    let (offer, ..) = Bench::new(config()).ask(&discover, 67);
    assert_eq!(file(&offer), "http://192.0.2.1/boot.ipxe");
    let answer = UnknownOption::new(code, vec![176, 1, 1]);
    says(&offer, &DhcpOption::Unknown(answer));
}

#[test]
fn the_probe_for_other_servers_is_a_discover() {
    let mut buf = [0; 300];
    let len = ichor::dhcp::wire::emit_discover(&mut buf, MAC, 77).unwrap();
    let discover = Message::decode(&mut Decoder::new(&buf[..len])).unwrap();
    assert_eq!(kind(&discover), MessageType::Discover);
    assert_eq!((discover.xid(), discover.chaddr()), (77, &MAC.0[..]));
    assert!(discover.flags().broadcast());
}
