//! Boot files beside somebody else's DHCP server: the home router keeps giving
//! addresses, ichor only says what to boot (proxyDHCP, PXE 2.1 §2.2).

mod bench;
mod raw;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bench::{Bench, SOON, wait_for_line};
use dhcproto::v4::{Architecture, DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};
use ichor_lab::ichor::{Ichor, Settings};
use ichor_lab::switch::Port;
use raw::{BROADCAST, dhcp, dhcp_frame, kind, read_udp, select, udp};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const ROUTER_MAC: [u8; 6] = [0x02, 0, 0, 0, 7, 0xFE];
const LEASED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const CLIENT: [u8; 6] = [0x02, 0, 0, 0, 7, 1];
const PXE: &str = "PXEClient:Arch:00011:UNDI:003000";
const HTTP: &str = "HTTPClient:Arch:00019:UNDI:003000";

/// How long silence is listened to.
const QUIET: Duration = Duration::from_millis(800);

fn serve(bench: &mut Bench) -> Result<Ichor> {
    let settings = Settings {
        dhcp: "proxy".to_owned(),
        ..bench.settings("ichor", SERVER)?
    };
    bench.serve("ichor", &settings)
}

/// A message of boot firmware; `machine` is its kind in option 93.
fn firmware(kind: MessageType, xid: u32, class: &str, machine: u16) -> Message {
    let mut message = dhcp(CLIENT, xid, kind);
    for option in [
        DhcpOption::ClassIdentifier(class.into()),
        DhcpOption::ClientSystemArchitecture(Architecture(machine)),
        DhcpOption::ClientMachineIdentifier(vec![0; 17]),
    ] {
        message.opts_mut().insert(option);
    }
    message
}

/// The home router's answer: an address, and nothing of booting.
fn router_says(kind: MessageType, to: &Message) -> Message {
    let mut reply = Message::new(Ipv4Addr::UNSPECIFIED, LEASED, ROUTER, ROUTER, &CLIENT);
    reply.set_opcode(Opcode::BootReply).set_xid(to.xid());
    reply.set_flags(Flags::default().set_broadcast());
    for option in [
        DhcpOption::MessageType(kind),
        DhcpOption::ServerIdentifier(ROUTER),
        DhcpOption::AddressLeaseTime(3600),
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
    ] {
        reply.opts_mut().insert(option);
    }
    reply
}

/// What the router says as a frame to everybody.
fn router_frame(reply: &Message) -> Result<Vec<u8>> {
    let from = SocketAddrV4::new(ROUTER, 67);
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 68);
    Ok(udp((ROUTER_MAC, BROADCAST), from, to, &reply.to_vec()?))
}

/// A reply for our client, as it came over the wire.
struct Reply {
    to_mac: Vec<u8>,
    from: SocketAddrV4,
    to: SocketAddrV4,
    message: Message,
}

impl Reply {
    /// The reply to message `xid` in a frame.
    fn read(frame: &[u8], xid: u32) -> Option<Self> {
        let (from, to, payload) = read_udp(frame)?;
        (to.port() == 68).then_some(())?;
        let message = Message::decode(&mut Decoder::new(payload)).ok()?;
        (message.xid() == xid && message.opcode() == Opcode::BootReply).then(|| Self {
            to_mac: frame[..6].to_vec(),
            from,
            to,
            message,
        })
    }

    fn option(&self, code: OptionCode) -> Option<&DhcpOption> {
        self.message.opts().get(code)
    }

    /// It names a boot file, as `vendor`, and gives no address.
    fn boots(&self, vendor: &str, file: &str) {
        let message = &self.message;
        let named = message.fname_str().and_then(Result::ok).unwrap_or_default();
        assert_eq!(named.trim_end_matches('\0'), file, "{message}");
        assert_eq!(message.siaddr(), SERVER, "{message}");
        assert_eq!(message.yiaddr(), Ipv4Addr::UNSPECIFIED, "{message}");
        assert_eq!(
            self.option(OptionCode::ClassIdentifier),
            Some(&DhcpOption::ClassIdentifier(vendor.into())),
        );
        assert_eq!(
            self.option(OptionCode::ServerIdentifier),
            Some(&DhcpOption::ServerIdentifier(SERVER)),
        );
        assert_eq!(
            self.option(OptionCode::ClientMachineIdentifier),
            Some(&DhcpOption::ClientMachineIdentifier(vec![0; 17])),
        );
        for code in [
            OptionCode::AddressLeaseTime,
            OptionCode::SubnetMask,
            OptionCode::Router,
            OptionCode::DomainNameServer,
        ] {
            assert_eq!(self.option(code), None, "the router decides that");
        }
    }
}

/// Broadcasts a message until the proxy answers it.
fn ask(port: &Port, message: &Message) -> Result<Reply> {
    for _ in 0..5 {
        port.send(&dhcp_frame(CLIENT, message)?);
        let reply = port.find(SOON / 5, |frame| {
            Reply::read(frame, message.xid()).filter(|reply| *reply.from.ip() == SERVER)
        });
        if let Some(reply) = reply {
            return Ok(reply);
        }
    }
    anyhow::bail!("no answer to {message}")
}

/// Sends a frame that must get no answer from the proxy.
fn is_ignored(port: &Port, frame: &[u8], xid: u32) {
    port.send(frame);
    let reply = port.find(QUIET, |frame| {
        Reply::read(frame, xid).filter(|reply| *reply.from.ip() == SERVER)
    });
    if let Some(reply) = reply {
        panic!("the proxy answered: {}", reply.message);
    }
}

/// The server's hardware address, by ARP.
fn server_mac(port: &Port) -> Result<[u8; 6]> {
    let mut question = [BROADCAST, CLIENT].concat();
    question.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    question.extend(CLIENT);
    question.extend(LEASED.octets());
    question.extend([0; 6]);
    question.extend(SERVER.octets());
    question.resize(60, 0);
    port.send(&question);
    let answer = port.find(SOON, |frame| {
        let reply = frame.get(12..14)? == [8, 6] && frame.get(20..22)? == [0, 2];
        frame.get(22..28).filter(|_| reply)?.try_into().ok()
    });
    answer.context("the server does not answer ARP")
}

#[test]
fn a_pxe_machine_gets_its_address_there_and_its_file_here() -> Result<()> {
    let mut bench = Bench::new("proxy-pxe")?;
    let mut ichor = serve(&mut bench)?;
    let client = bench.switch.port("client");
    let router = bench.switch.port("router");

    // One DISCOVER, two OFFERs: an address from the router, a file from ichor.
    let discover = firmware(MessageType::Discover, 1, PXE, 11);
    let proxied = ask(&client, &discover)?;
    assert_eq!(kind(&proxied.message), Some(MessageType::Offer));
    assert_eq!((proxied.from.port(), proxied.to.port()), (67, 68));
    proxied.boots("PXEClient", "ipxe-arm64.efi");
    router.send(&router_frame(&router_says(MessageType::Offer, &discover))?);
    let offer = client.find(SOON, |frame| Reply::read(frame, 1));
    let offer = offer.context("the router's OFFER is lost")?.message;
    assert_eq!(offer.yiaddr(), LEASED);

    // The machine takes the address. That is between it and the router: an
    // answer, above all a NAK, would spoil it.
    let mut request = select(CLIENT, &offer)?;
    request
        .opts_mut()
        .insert(DhcpOption::ClassIdentifier(PXE.into()));
    is_ignored(&client, &dhcp_frame(CLIENT, &request)?, 1);
    router.send(&router_frame(&router_says(MessageType::Ack, &request))?);

    // With an address it asks the boot server on port 4011, by unicast and so
    // it is answered.
    let mut boot = firmware(MessageType::Request, 2, PXE, 11);
    boot.set_ciaddr(LEASED);
    let macs = (CLIENT, server_mac(&client)?);
    let (from, to) = (
        SocketAddrV4::new(LEASED, 68),
        SocketAddrV4::new(SERVER, 4011),
    );
    client.send(&udp(macs, from, to, &boot.to_vec()?));
    let ack = client.find(SOON, |frame| Reply::read(frame, 2));
    let ack = ack.context("port 4011 is silent: PXE-E55")?;
    assert_eq!(kind(&ack.message), Some(MessageType::Ack));
    assert_eq!((ack.from, ack.to), (to, from), "back the way it came");
    assert_eq!(ack.to_mac, CLIENT, "by unicast");
    ack.boots("PXEClient", "ipxe-arm64.efi");

    // The timeline tells it, with the address that the router gave.
    let mac = "02:00:00:00:07:01";
    let bound = ichor.wait_for(SOON, |event| {
        event.mac.as_deref() == Some(mac) && event.stage == "bound"
    });
    let bound = bound.context("no boot file in the timeline")?;
    assert_eq!(bound.ip, Some(LEASED.to_string()));
    let stages = ichor.events_of(mac);
    let stages: Vec<&str> = stages.iter().map(|event| event.stage.as_str()).collect();
    assert!(stages.starts_with(&["discover", "offer"]), "{stages:?}");

    // A router that gives addresses is what a proxy needs: no word of it.
    let lines = ichor.log().lines();
    let warnings = lines.iter().filter(|line| line.text.starts_with("warning"));
    assert_eq!(warnings.count(), 0, "{}", ichor.log().tail(20));
    assert!(ichor.is_running());
    Ok(())
}

#[test]
fn an_http_boot_machine_gets_a_url() -> Result<()> {
    let mut bench = Bench::new("proxy-http")?;
    let _ichor = serve(&mut bench)?;
    let client = bench.switch.port("client");
    let offer = ask(&client, &firmware(MessageType::Discover, 1, HTTP, 19))?;
    offer.boots("HTTPClient", "http://192.0.2.1:8080/assets/ipxe-arm64.efi");
    Ok(())
}

#[test]
fn who_does_not_boot_is_none_of_its_business() -> Result<()> {
    let mut bench = Bench::new("proxy-others")?;
    let ichor = serve(&mut bench)?;
    let client = bench.switch.port("client");

    let plain = dhcp(CLIENT, 1, MessageType::Discover);
    is_ignored(&client, &dhcp_frame(CLIENT, &plain)?, 1);
    let mut phone = dhcp(CLIENT, 2, MessageType::Discover);
    let class = DhcpOption::ClassIdentifier("android-dhcp-14".into());
    phone.opts_mut().insert(class);
    is_ignored(&client, &dhcp_frame(CLIENT, &phone)?, 2);
    assert_eq!(ichor.events(), [], "nor of its timeline");
    Ok(())
}

#[test]
fn a_kind_of_machine_without_a_file_is_named_with_the_setting() -> Result<()> {
    let mut bench = Bench::new("proxy-unknown")?;
    let ichor = serve(&mut bench)?;
    let client = bench.switch.port("client");
    let class = "PXEClient:Arch:00027:UNDI:003000";
    let riscv = firmware(MessageType::Discover, 1, class, 27);
    is_ignored(&client, &dhcp_frame(CLIENT, &riscv)?, 1);
    let warning = wait_for_line(&ichor, "no boot file")?;
    println!("{warning}");
    assert!(warning.contains("02:00:00:00:07:01"), "{warning}");
    assert!(warning.contains("set boot."), "{warning}");
    Ok(())
}

#[test]
fn a_second_source_of_boot_files_is_named() -> Result<()> {
    let discover = firmware(MessageType::Discover, 1, PXE, 11);
    let offer = || router_says(MessageType::Offer, &discover);
    // Each way in which a router can have boot options of its own.
    let (mut class, mut name, mut field) = (offer(), offer(), offer());
    let pxe = DhcpOption::ClassIdentifier("PXEClient".into());
    class.opts_mut().insert(pxe);
    let file = DhcpOption::BootfileName("pxelinux.0".into());
    name.opts_mut().insert(file);
    field.set_fname_str("pxelinux.0");
    for (n, reply) in [class, name, field].iter().enumerate() {
        let mut bench = Bench::new(&format!("proxy-second-{n}"))?;
        let mut ichor = serve(&mut bench)?;
        let client = bench.switch.port("client");
        let router = bench.switch.port("router");
        ask(&client, &discover)?;
        router.send(&router_frame(reply)?);
        let warning = wait_for_line(&ichor, "names boot files")?;
        assert!(warning.contains(&format!(": {ROUTER};")), "{warning}");
        // And goes on.
        ask(&client, &firmware(MessageType::Discover, 2, PXE, 11))?;
        assert!(ichor.is_running());
    }
    Ok(())
}
