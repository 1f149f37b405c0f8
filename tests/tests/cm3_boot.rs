//! The CM3's firmware on a virtual Raspberry Pi netboots another machine: the
//! raw kernel8.img, its files and leases on its card, its Ethernet on USB.

use std::time::Duration;

use anyhow::{Result, ensure};
use ichor_lab::checksum::sha256;
use ichor_lab::cm3::{self, Board};
use ichor_lab::data::DataFolder;
use ichor_lab::lab::Lab;
use ichor_lab::node;
use ichor_lab::qemu::Via;
use ichor_lab::raspi::Attach;

const ADAPTER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0xCA];
/// For the board, which takes two seconds, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// For the machine that boots from it.
const PATIENCE: Duration = Duration::from_secs(150);

/// What the board's console tells of the machine, in this order.
const STAGES: [&str; 12] = [
    "discover",
    "offer",
    "bound",
    "boot-file",
    "discover",
    "offer",
    "bound",
    "script",
    "kernel",
    "initrd",
    "bound",
    "config",
];

fn a_machine_boots(name: &str, port1: bool) -> Result<()> {
    let lab = Lab::new(name, 1)?;
    lab.data().write("ichor.toml", cm3::SETTINGS)?;
    let built = cm3::built()?;
    let card = cm3::card(&built, lab.data().path(), lab.folder())?;
    let attach = Attach::UsbNet {
        wire: &lab.server_wire(),
        mac: ADAPTER,
        port1,
    };
    let board = Board::power_on(lab.tools(), &built, Some(&card), attach, lab.folder())?;
    board.wait_for("serving on 192.0.2.1", SOON)?;

    let machine = lab.power_on(1, Via::Pxe)?;
    let report = node::report(&machine, 2, PATIENCE)?;
    println!("up after {:.1} s", report.up_after.as_secs_f64());
    let config = DataFolder::config_of(lab.node(1)?);
    assert_eq!(report.config, sha256(config.as_bytes())?);
    for file in ["assets/vmlinuz", "assets/initramfs"] {
        let want = lab.data().sha256_of(file)?;
        assert_eq!(report.sha256_of(file), Some(want.as_str()), "{file}");
    }

    let log = board.log()?;
    let told: Vec<&str> = log
        .iter()
        .filter_map(|line| line.split_once(&machine.mac())?.1.split_whitespace().nth(1))
        .collect();
    let mut rest = told.iter();
    for stage in STAGES {
        ensure!(
            rest.any(|told| *told == stage),
            "no {stage} in time: {told:?}\n{}",
            log.join("\n")
        );
    }
    let troubles: Vec<&String> = log.iter().filter(|line| line.contains("ERROR")).collect();
    ensure!(troubles.is_empty(), "{troubles:?}");
    Ok(())
}

#[test]
fn a_machine_boots_from_the_cm3() -> Result<()> {
    a_machine_boots("cm3_boot", true)
}

#[test]
fn and_with_a_hub_between_the_board_and_its_adapter() -> Result<()> {
    a_machine_boots("cm3_boot_hub", false)
}
