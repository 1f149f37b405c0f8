//! The CM3's firmware on a virtual Raspberry Pi netboots another machine: the
//! raw kernel8.img, its files and leases on its card, its Ethernet on USB.

mod story;

use std::time::Duration;

use anyhow::{Result, ensure};
use ichor_lab::cm3::{self, Board};
use ichor_lab::lab::Lab;
use ichor_lab::node;
use ichor_lab::qemu::Via;
use ichor_lab::raspi::Attach;
use story::{VIA_IPXE, comes_in_order, has_what_the_server_has};

const ADAPTER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0xCA];
/// For the board, which takes two seconds, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// For the machine that boots from it.
const PATIENCE: Duration = Duration::from_secs(150);

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
    has_what_the_server_has(&lab, &report)?;

    let log = board.log()?;
    let told: Vec<&str> = log
        .iter()
        .filter_map(|line| line.split_once(&machine.mac())?.1.split_whitespace().nth(1))
        .collect();
    comes_in_order(&told, &VIA_IPXE)?;
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
