//! The CM3's firmware drives the model of the LAN9514, its only Ethernet:
//! leases and files come through it, whatever cable and chip do.
//!
//! Not here: the chip pulled from its port. QEMU's controller asks a device
//! that has nothing to say again and again, and aborts when it is gone
//! (`usb_ep_get: Assertion dev != NULL`).

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use ichor_lab::browser;
use ichor_lab::checksum::sha256;
use ichor_lab::cm3::{self, Board};
use ichor_lab::lab::{SERVER, folder};
use ichor_lab::lan95xx::{Adapter, Fault, FrameError, Options};
use ichor_lab::raspi::Attach;
use ichor_lab::switch::{Port, Switch};
use ichor_lab::tools::{Set, Tools};
use ichor_lab::usbredir::Status;

mod raw;

const CLIENT: [u8; 6] = [0x52, 0x54, 0, 0, 1, 2];
const FILE: &str = "assets/blob";
/// Long enough that no fault finds the transfer over.
const FILE_LENGTH: u32 = 512 * 1024;
/// How much of a file has come when something goes wrong.
const MIDST: usize = 64 * 1024;
/// The base page of a partner that can do nothing better.
const TEN_HALF: u16 = 0x4021;
const ICMP: u8 = 1;
/// For the board, which takes two seconds, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// After so long there will be no answer.
const QUIET: Duration = Duration::from_millis(300);
/// For one file, with what goes wrong meanwhile.
const TRANSFER: Duration = Duration::from_secs(40);

/// A board at the switch, and somebody who wants something of it.
struct Story {
    board: Board,
    adapter: Adapter,
    port: Port,
    address: Ipv4Addr,
    sum: String,
    /// Last, so that nobody is unplugged before the board is off.
    _switch: Switch,
}

impl Story {
    /// A board that serves, and a client that has its address from it.
    fn begin(name: &str, options: Options, link: &str) -> Result<Self> {
        let tools = Tools::with(&[Set::Boot])?;
        let folder = folder(name)?;
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
        let socket = std::env::temp_dir().join(format!("ichor-{}-{name}", std::process::id()));
        let adapter = Adapter::new(&switch, "adapter", &socket, options)?;
        let attach = Attach::Redir(&socket);
        let board = Board::power_on(&tools, &built, Some(&card), attach, &folder)?;
        board.wait_for("by lan95xx at High speed", SOON)?;
        board.wait_for(link, SOON)?;
        let serving = board.wait_for("serving on 192.0.2.1", SOON)?;
        let mac: Vec<String> = adapter.mac().iter().map(|b| format!("{b:02x}")).collect();
        ensure!(
            serving.contains(&mac.join(":")),
            "{serving}: chip has {mac:?}"
        );
        let port = switch.port("client");
        let address = raw::lease(&port, CLIENT, 1)?;
        ensure!(address.octets()[..3] == [192, 0, 2], "address {address}");
        Ok(Self {
            board,
            adapter,
            port,
            address,
            sum: sha256(&file[..])?,
            _switch: switch,
        })
    }

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

    /// Fetches the file with a fault in the midst of it, and once more.
    fn fetch_with(&self, fault: Fault) -> Result<()> {
        self.fetch(&format!("{fault:?}"), || {
            self.adapter.inject([fault]);
            Ok(())
        })?;
        let deadline = Instant::now() + SOON;
        // The PHY is looked at once in a while.
        while self.adapter.faults_left() > 0 {
            ensure!(Instant::now() < deadline, "{fault:?} has not hit");
            thread::sleep(Duration::from_millis(20));
        }
        self.fetch(&format!("after {fault:?}"), || Ok(()))
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

    /// What the model has to say about the driver.
    fn end(&self) -> Result<()> {
        assert_eq!(raw::lease(&self.port, CLIENT, 2)?, self.address);
        println!("{:?}", self.adapter.counters());
        assert_eq!(self.adapter.violations(), [], "what the driver did wrong");
        assert_eq!(self.adapter.usb().fault(), None);
        Ok(())
    }

    /// Sends an echo request in a frame of `length` bytes and compares the
    /// answer.
    fn echo(&self, length: usize) -> Result<()> {
        let frame = self.echo_request(length);
        let Some(answer) = self.echo_answer(SOON) else {
            bail!(
                "no echo of {length} bytes\n{}",
                self.board.log()?.join("\n")
            );
        };
        assert_eq!(answer.len(), length);
        assert_eq!(answer[38..], frame[38..], "the echo of {length} bytes");
        assert_eq!(raw::checksum(&answer[34..]), 0);
        Ok(())
    }

    /// A fault that costs a frame costs that one alone: what the chip calls
    /// damaged is not answered, and the next one is.
    fn lose(&self, fault: Fault) -> Result<()> {
        self.adapter.inject([fault]);
        self.echo_request(200);
        ensure!(self.echo_answer(QUIET).is_none(), "{fault:?} was answered");
        assert_eq!(self.adapter.faults_left(), 0, "{fault:?} has not hit");
        self.echo(201)
    }

    fn echo_request(&self, length: usize) -> Vec<u8> {
        let [high, low] = (length as u16).to_be_bytes();
        let mut request = vec![8, 0, 0, 0, 0x1C, 0x08, high, low];
        // After the headers of Ethernet and IPv4.
        request.extend((34 + request.len()..length).map(|n| ((n * n) >> 3) as u8));
        let sum = raw::checksum(&request).to_be_bytes();
        request[2..4].copy_from_slice(&sum);
        let macs = (CLIENT, self.adapter.mac());
        let frame = raw::ipv4(macs, (self.address, SERVER), ICMP, &request);
        assert_eq!(frame.len(), length);
        self.port.send(&frame);
        frame
    }

    fn echo_answer(&self, patience: Duration) -> Option<Vec<u8>> {
        self.port.find(patience, |frame| {
            let is_answer = frame.get(23) == Some(&ICMP) && frame.get(34) == Some(&0);
            is_answer.then(|| frame.to_vec())
        })
    }
}

#[test]
fn the_cm3_serves_through_the_lan9514() -> Result<()> {
    let link = "link up, 100 Mbit/s, full duplex";
    let story = Story::begin("cm3_lan95xx", Options::default(), link)?;
    story.fetch("as it is", || Ok(()))?;
    // Around the packets of the bus, both ways: 4 + 4 more bytes each.
    for packets in [512, 1024] {
        for length in packets - 12..=packets + 4 {
            story.echo(length)?;
        }
    }
    for length in [60, 61, 62, 63, 64, 1513, 1514] {
        story.echo(length)?;
    }
    for fault in [
        Fault::Frame(FrameError::Crc),
        Fault::Frame(FrameError::TooLong),
        Fault::Frame(FrameError::Runt),
        Fault::Frame(FrameError::Watchdog),
        Fault::Claims(9000),
        Fault::Claims(17),
        Fault::Claims(0),
        Fault::LoseBurst,
        Fault::CutBurst(3),
        Fault::CutBurst(70),
    ] {
        story.lose(fault)?;
    }
    cable(&story)?;
    faults(&story)?;
    assert_eq!(story.count("started again")?, 0, "helped without a restart");
    assert_eq!(story.count("adapter lost")?, 0);
    story.end()
}

#[test]
fn and_through_one_that_is_slow_or_fails() -> Result<()> {
    let options = Options {
        partner: TEN_HALF,
        ..Options::default()
    };
    let link = "link up, 10 Mbit/s, half duplex";
    let story = Story::begin("cm3_lan95xx_ill", options, link)?;
    story.fetch("10 Mbit/s, half duplex", || Ok(()))?;
    // The bus itself: the chip is spoken to again, or started again.
    for fault in [
        Fault::BulkIn(Status::IoError),
        Fault::BulkIn(Status::Babble),
        Fault::BulkOut(Status::IoError),
        Fault::Register(Status::Stall),
        Fault::Register(Status::IoError),
    ] {
        story.fetch_with(fault)?;
    }
    story.end()
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
        story.fetch_with(fault)?;
    }
    Ok(())
}
