//! A CM3 whose card is missing says so and still gives addresses.

mod raw;

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use ichor_lab::cm3::{self, Board};
use ichor_lab::lab::Lab;
use ichor_lab::raspi::Attach;

const ADAPTER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0xCB];
const CLIENT: [u8; 6] = [0x02, 0, 0, 0, 9, 1];
const SOON: Duration = Duration::from_secs(30);

#[test]
fn without_a_card_it_serves_a_subnet_of_its_own() -> Result<()> {
    let lab = Lab::new("cm3_no_card", 0)?;
    let built = cm3::built()?;
    let attach = Attach::UsbNet {
        wire: &lab.server_wire(),
        mac: ADAPTER,
        port1: true,
    };
    let board = Board::power_on(lab.tools(), &built, None, attach, lab.folder())?;
    board.wait_for("serving on 192.168.77.1", SOON)?;
    let port = lab.switch().port("client");
    let address = raw::lease(&port, CLIENT, 7)?;
    assert_eq!(
        address & Ipv4Addr::new(255, 255, 255, 0),
        Ipv4Addr::new(192, 168, 77, 0)
    );
    let log = board.log()?;
    for says in [
        "card: no card: put one in",
        "leases are kept in RAM and forgotten at power-off",
        "no settings: put an ichor.toml on the card",
    ] {
        assert!(log.iter().any(|line| line.contains(says)), "{log:?}");
    }
    Ok(())
}
