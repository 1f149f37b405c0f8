//! The CM3's firmware drives the model of the LAN9514, its only Ethernet:
//! leases and files come through it, whatever cable and chip do.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use ichor_lab::checksum::sha256;
use ichor_lab::cm3::{self, Board};
use ichor_lab::lab::{SERVER, folder};
use ichor_lab::lan95xx::{Adapter, Fault, FrameError, Mode, Options};
use ichor_lab::raspi::Attach;
use ichor_lab::switch::{Port, Switch};
use ichor_lab::tools::{Set, Tools};
use ichor_lab::usbredir::Status;

#[path = "lan95xx/browser.rs"]
mod browser;

mod raw;

const CLIENT: [u8; 6] = [0x52, 0x54, 0, 0, 1, 2];
const FILE: &str = "assets/blob";
/// Long enough that no fault finds the transfer over.
const FILE_LENGTH: u32 = 512 * 1024;
/// How much of a file has come when something goes wrong.
const MIDST: usize = 64 * 1024;
/// For the board, which takes two seconds, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// For one file, with what goes wrong meanwhile.
const TRANSFER: Duration = Duration::from_secs(20);

/// A board at the switch, and somebody who wants something of it.
struct Story {
    board: Board,
    adapter: Adapter,
    port: Port,
    address: Ipv4Addr,
    sum: String,
}

impl Story {
    /// Fetches the file, does `midst` once a part of it has come, and looks
    /// whether all is right.
    fn fetch(&self, what: &str, midst: impl FnOnce() -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        let mut midst = Some(midst);
        let body = browser::fetch(
            &self.port,
            (CLIENT, self.address),
            (SERVER, FILE),
            TRANSFER,
            |count| match midst.take_if(|_| count >= MIDST) {
                Some(midst) => midst(),
                None => Ok(()),
            },
        );
        let body = match body {
            Ok(body) => body,
            Err(error) => bail!("{what}: {error:#}\n{}", self.board.log()?.join("\n")),
        };
        ensure!(midst.is_none(), "{what}: it never came to it");
        assert_eq!(sha256(&body[..])?, self.sum, "{what}");
        println!("{what}: {:.2} s", begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// How often `text` is in the board's log.
    fn count(&self, text: &str) -> Result<usize> {
        let log = self.board.log()?;
        Ok(log.iter().filter(|line| line.contains(text)).count())
    }

    /// Waits until `text` is in the board's log so often.
    fn wait_for(&self, text: &str, times: usize) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while self.count(text)? < times {
            ensure!(
                Instant::now() < deadline,
                "`{text}` is not {times} times in the log:\n{}",
                self.board.log()?.join("\n")
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

#[test]
fn the_cm3_serves_through_the_lan9514() -> Result<()> {
    let tools = Tools::with(&[Set::Boot])?;
    let folder = folder("cm3_lan95xx")?;
    let data = folder.join("data");
    std::fs::create_dir_all(data.join("assets"))?;
    let file: Vec<u8> = (0..FILE_LENGTH)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    std::fs::write(data.join(FILE), &file)?;
    std::fs::write(data.join("ichor.toml"), cm3::SETTINGS)?;
    let built = cm3::built()?;
    let card = cm3::card(&built, &data, &folder)?;

    let switch = Switch::new();
    switch.capture(&folder.join("wire.pcapng"))?;
    let socket = std::env::temp_dir().join(format!("ichor-{}-cm3-lan", std::process::id()));
    let adapter = Adapter::new(&switch, "adapter", &socket, Options::default())?;
    let attach = Attach::Redir(&socket);
    let board = Board::power_on(&tools, &built, Some(&card), attach, &folder)?;
    board.wait_for("by lan95xx at High speed", SOON)?;
    board.wait_for("link up, 100 Mbit/s, full duplex", SOON)?;
    let serving = board.wait_for("serving on 192.0.2.1", SOON)?;
    let mac: Vec<String> = adapter.mac().iter().map(|b| format!("{b:02x}")).collect();
    ensure!(
        serving.contains(&mac.join(":")),
        "{serving}: chip has {mac:?}"
    );
    assert_eq!(
        adapter.link(),
        Some(Mode {
            speed: 100,
            full: true
        })
    );

    let port = switch.port("client");
    let address = raw::lease(&port, CLIENT, 1)?;
    ensure!(address.octets()[..3] == [192, 0, 2], "address {address}");
    let story = Story {
        board,
        adapter,
        port,
        address,
        sum: sha256(&file[..])?,
    };
    story.fetch("as it is", || Ok(()))?;
    cable(&story)?;
    faults(&story)?;
    assert_eq!(raw::lease(&story.port, CLIENT, 2)?, story.address);

    println!("{:?}", story.adapter.counters());
    assert_eq!(story.adapter.violations(), [], "what the driver did wrong");
    assert_eq!(story.adapter.usb().fault(), None);
    assert_eq!(story.count("started again")?, 0, "helped without a restart");
    assert_eq!(story.count("adapter lost")?, 0);
    Ok(())
}

/// The cable is pulled and put back, twice: in the midst of a transfer.
fn cable(story: &Story) -> Result<()> {
    for round in 1..=2 {
        story.fetch("cable pulled", || {
            story.adapter.plug_cable(false);
            assert_eq!(story.adapter.link(), None);
            story.wait_for("link down", round)?;
            story.adapter.plug_cable(true);
            story.wait_for("link up", round + 1)
        })?;
    }
    Ok(())
}

/// One fault after the other, each in the midst of a transfer.
fn faults(story: &Story) -> Result<()> {
    let faults = [
        Fault::Frame(FrameError::Crc),
        Fault::Frame(FrameError::TooLong),
        Fault::LoseBurst,
        Fault::CutBurst(70),
        Fault::Claims(9000),
        Fault::BulkIn(Status::Stall),
        Fault::BulkOut(Status::Stall),
        Fault::SlowMii(20),
    ];
    for fault in faults {
        story.fetch(&format!("{fault:?}"), || {
            story.adapter.inject([fault]);
            Ok(())
        })?;
        let deadline = Instant::now() + SOON;
        // Whoever looks at the PHY does so once in a while.
        while story.adapter.faults_left() > 0 {
            ensure!(Instant::now() < deadline, "{fault:?} has not hit");
            thread::sleep(Duration::from_millis(20));
        }
        story.fetch(&format!("after {fault:?}"), || Ok(()))?;
    }
    Ok(())
}
