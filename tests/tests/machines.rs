//! The lab itself: each kind of machine powers on and asks for what it should.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use dhcproto::v4::{self, DhcpOption, OptionCode};
use dhcproto::{Decodable, Decoder};
use ichor_lab::qemu::{Disk, Machine, Parts, Turn, Via, Wire};
use ichor_lab::switch::Switch;
use ichor_lab::tools::{Set, Tools};

const PATIENCE: Duration = Duration::from_secs(30);
const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// The first DISCOVER of a machine: architecture and user class.
fn first_discover(via: Via) -> Result<(u16, Option<Vec<u8>>)> {
    let tools = Tools::with(&[Set::Boot, Set::Images])?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("machines-{via}"));
    fs::create_dir_all(&folder)?;
    let wire = std::env::temp_dir().join(format!("ichor-{}-{via}", std::process::id()));
    let mut switch = Switch::new();
    switch.capture(&folder.join("wire.pcapng"))?;
    switch.listen(&wire, "node")?;
    let port = switch.port("test");
    let machine = Machine::power_on(
        &tools,
        &Parts {
            name: "node",
            mac: MAC,
            via,
            wire: Wire::Switch(&wire),
            folder: &folder,
            disk: match via {
                Via::Ipxe => Disk::Script("http://192.0.2.1:8080/boot.ipxe"),
                _ => Disk::Absent,
            },
        },
        Some(Turn::wait()?),
    )?;
    let asked = port.find(PATIENCE, discover);
    let after = machine.powered_on().elapsed().as_secs_f64();
    println!("{via}: {asked:?} after {after:.1} s");
    asked.with_context(|| format!("no DISCOVER: {}", machine.last_words(PATIENCE)))
}

fn discover(frame: &[u8]) -> Option<(u16, Option<Vec<u8>>)> {
    // Ethernet, IPv4 without options, UDP to port 67.
    if frame.get(6..12)? != MAC
        || frame.get(12..14)? != [8, 0]
        || frame.get(23)? != &17
        || frame.get(36..38)? != [0, 67]
    {
        return None;
    }
    let message = v4::Message::decode(&mut Decoder::new(frame.get(42..)?)).ok()?;
    let architecture = match message.opts().get(OptionCode::ClientSystemArchitecture)? {
        DhcpOption::ClientSystemArchitecture(architecture) => u16::from(*architecture),
        _ => return None,
    };
    let user_class = match message.opts().get(OptionCode::UserClass) {
        Some(DhcpOption::UserClass(class)) => Some(class.clone()),
        _ => None,
    };
    Some((architecture, user_class))
}

#[test]
fn uefi_asks_for_pxe() -> Result<()> {
    assert_eq!(first_discover(Via::Pxe)?, (11, None));
    Ok(())
}

#[test]
fn uefi_asks_for_http_boot_without_trying_pxe_first() -> Result<()> {
    assert_eq!(first_discover(Via::Http)?, (19, None));
    Ok(())
}

#[test]
fn u_boot_asks_as_u_boot() -> Result<()> {
    assert_eq!(first_discover(Via::Uboot)?, (22, None));
    Ok(())
}

#[test]
fn ipxe_asks_as_ipxe() -> Result<()> {
    assert_eq!(first_discover(Via::Ipxe)?, (11, Some(b"iPXE".to_vec())));
    Ok(())
}
