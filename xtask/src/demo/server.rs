//! Who serves in the demo, and what it tells of itself and of the machines.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ichor_lab::cm3::{self, Board};
use ichor_lab::journal::Event;
use ichor_lab::lab::Lab;
use ichor_lab::raspi::Attach;

use crate::build;

/// The address of the Pi's network adapter, in QEMU's own range.
const ADAPTER: [u8; 6] = [0x52, 0x54, 0, b'c', b'm', b'3'];
/// How long the Pi may take until it serves.
const START: Duration = Duration::from_secs(60);
/// What the Pi says of itself that is shown, and what the demo calls it.
const MILESTONES: [(&str, &str); 2] = [("usb: link up", "link up"), ("serving on", "serving")];

/// A server at work, and how much of what it told was read.
pub(super) enum Server {
    /// The `ichor` process of the lab.
    Process { read: usize },
    /// A virtual Pi.
    Pi { board: Box<Board>, read: usize },
}

/// Something that the server told.
pub(super) enum News {
    /// Of itself: stage and detail.
    Own(Instant, String, String),
    /// Of a machine.
    Machine(Instant, Event),
}

impl Server {
    /// Starts the lab's own process.
    pub(super) fn process(lab: &mut Lab) -> Result<Self> {
        lab.serve()?;
        Ok(Self::Process { read: 0 })
    }

    /// Builds program and card, powers a virtual Pi on and waits until it serves.
    pub(super) fn pi(lab: &Lab) -> Result<Self> {
        build::cm3()?;
        lab.data().write("ichor.toml", cm3::SETTINGS)?;
        let built = cm3::built()?;
        let card = cm3::card(&built, lab.data().path(), lab.folder())?;
        let attach = Attach::UsbNet {
            wire: &lab.server_wire(),
            mac: ADAPTER,
            port1: true,
        };
        let board = Board::power_on(lab.tools(), &built, Some(&card), attach, lab.folder())?;
        board.wait_for("serving on", START)?;
        Ok(Self::Pi {
            board: Box::new(board),
            read: 0,
        })
    }

    /// When the Pi was powered on.
    pub(super) fn powered_on(&mut self) -> Result<Option<Instant>> {
        match self {
            Self::Process { .. } => Ok(None),
            Self::Pi { board, .. } => board.raspi().powered_on().map(Some),
        }
    }

    /// What it told since it was last asked.
    pub(super) fn news(&mut self, lab: &mut Lab) -> Result<Vec<News>> {
        match self {
            Self::Process { read } => {
                let ichor = lab.ichor()?;
                if !ichor.is_running() {
                    bail!("ichor ended");
                }
                let start = ichor.journal().start();
                let lines = ichor.journal().lines_from(*read);
                *read += lines.len();
                let news = lines.into_iter().filter_map(|line| {
                    Some(News::Machine(start + line.at, Event::parse(&line.text)?))
                });
                Ok(news.collect())
            }
            Self::Pi { board, read } => {
                let on = board.raspi().powered_on()?;
                if board.raspi().console()?.has_ended() {
                    bail!("the Pi's QEMU ended");
                }
                let log = board.log()?;
                let lines = log.get(*read..).unwrap_or_default();
                let news = lines
                    .iter()
                    .filter_map(|line| of_the_pi(on, line))
                    .collect();
                *read = log.len();
                Ok(news)
            }
        }
    }

    /// The end of its log.
    pub(super) fn last_words(&mut self, lab: &mut Lab) -> Result<String> {
        match self {
            Self::Process { .. } => Ok(lab.ichor()?.log().tail(15)),
            Self::Pi { board, .. } => {
                let log = board.log()?;
                let skip = log.len().saturating_sub(15);
                Ok(log[skip..].join("\n"))
            }
        }
    }
}

/// Reads a line of the Pi's log: `1.002003 INFO  message (file:line)`.
fn of_the_pi(powered_on: Instant, line: &str) -> Option<News> {
    let (time, rest) = line.split_once(' ')?;
    let at = powered_on + Duration::try_from_secs_f64(time.parse().ok()?).ok()?;
    let (_level, message) = rest.split_at_checked("INFO  ".len())?;
    let message = match message.rsplit_once(" (") {
        Some((message, place)) if place.contains(".rs:") => message,
        _ => message,
    };
    if let Some((_, stage)) = MILESTONES
        .iter()
        .find(|(text, _)| message.starts_with(text))
    {
        return Some(News::Own(at, (*stage).to_owned(), message.to_owned()));
    }
    let mut words = message.split_whitespace();
    let (mac, ip, stage) = (words.next()?, words.next()?, words.next()?);
    if mac.split(':').filter(|byte| byte.len() == 2).count() != 6 {
        return None;
    }
    let event = Event {
        mac: Some(mac.to_owned()),
        ip: (ip != "-").then(|| ip.to_owned()),
        stage: stage.to_owned(),
        detail: words.collect::<Vec<_>>().join(" "),
        ..Event::default()
    };
    Some(News::Machine(at, event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pis_log_is_read() {
        let on = Instant::now();
        let line = "1.500000 INFO  52:54:00:00:00:01 192.0.2.50      boot-file ipxe-arm64.efi by TFTP (boards/cm3/src/tasks.rs:215)";
        let Some(News::Machine(at, event)) = of_the_pi(on, line) else {
            panic!("no event");
        };
        assert_eq!(at - on, Duration::from_millis(1500));
        assert_eq!(event.mac.as_deref(), Some("52:54:00:00:00:01"));
        assert_eq!(event.ip.as_deref(), Some("192.0.2.50"));
        assert_eq!(event.stage, "boot-file");
        assert_eq!(event.detail, "ipxe-arm64.efi by TFTP");
        let line = "0.9 INFO  serving on 192.0.2.1 (aa)";
        assert!(matches!(of_the_pi(on, line), Some(News::Own(_, stage, _)) if stage == "serving"));
        for line in [
            "",
            "ichor 0.1.0 on a Raspberry Pi",
            "1.0 WARN  the card is slow",
        ] {
            assert!(of_the_pi(on, line).is_none(), "{line}");
        }
    }
}
