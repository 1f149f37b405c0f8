//! perfdhcp: thousands of DHCP exchanges per second, and what became of every answer.

use anyhow::{Context as _, Result};

use super::{Bounded, Clients, finish_any};
use crate::netns::Netns;
use crate::priority;

/// How long answers may come after the last request, in microseconds: longer
/// than a server asks first whether somebody has the address that it will offer.
const PATIENCE: &str = "1000000";

/// What perfdhcp measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Exchanges begun (DISCOVER sent).
    pub discovers: u64,
    /// OFFERs that came.
    pub offers: u64,
    /// REQUESTs sent.
    pub requests: u64,
    /// ACKs that came.
    pub acks: u64,
    /// Full exchanges per second.
    pub rate: f64,
    /// Answers that the kernel of the client's host threw away, since
    /// perfdhcp's buffer for them was full (`RcvbufErrors` of
    /// `/proc/net/snmp`). The server did all it could.
    pub overflown: u64,
}

impl Load {
    /// Messages that perfdhcp saw no answer to within a second.
    pub fn unanswered(&self) -> u64 {
        (self.discovers + self.requests).saturating_sub(self.offers + self.acks)
    }

    /// Of those, the ones whose answer never came as far as the client's host,
    /// or came too late.
    pub fn lost(&self) -> u64 {
        self.unanswered().saturating_sub(self.overflown)
    }
}

impl Clients<'_> {
    /// `perfdhcp`: full exchanges at `rate` per second for `seconds`, from
    /// `machines` different addresses behind one relay agent. It is put
    /// [first](priority::first): so must be the server.
    pub fn perfdhcp(&self, server: &str, rate: u32, seconds: u32, machines: u32) -> Result<Load> {
        let mut command = self.netns.command("perfdhcp")?;
        command
            .args(["-4", "-l", "eth0", "-r", &rate.to_string()])
            .args(["-p", &seconds.to_string(), "-R", &machines.to_string()])
            .args(["-W", PATIENCE, server]);
        let before = overflows(self.netns)?;
        let mut process = Bounded::start(&mut command)?;
        // Its threads, once there are any, are put first with it.
        priority::first(process.process.id())?;
        // It ends badly if anything was unanswered, which is for the caller
        // to judge.
        process.until_end()?;
        let printed = process.end();
        let overflown = overflows(self.netns)?.saturating_sub(before);
        parse(&printed, overflown).with_context(|| format!("perfdhcp printed:\n{printed}"))
    }

    /// Whether `server` answers perfdhcp.
    pub fn perfdhcp_is_answered(&self, server: &str) -> Result<bool> {
        let mut command = self.netns.command("perfdhcp")?;
        command
            .args(["-4", "-l", "eth0", "-r", "100", "-n", "3"])
            .args(["-W", PATIENCE, server]);
        let (printed, _) = finish_any(&mut command)?;
        Ok(parse(&printed, 0).is_some_and(|load| load.acks > 0))
    }
}

/// Datagrams that the namespace's sockets had no room for, since it was made.
fn overflows(netns: &Netns) -> Result<u64> {
    let output = netns.command("cat")?.arg("/proc/net/snmp").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_overflows(&text)
        .with_context(|| format!("no Udp RcvbufErrors in /proc/net/snmp:\n{text}"))
}

/// A line of names and a line of numbers, both marked with the protocol.
fn parse_overflows(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names
        .split_whitespace()
        .position(|name| name == "RcvbufErrors")?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

fn parse(text: &str, overflown: u64) -> Option<Load> {
    let after = |from: &str, key: &str| -> Option<u64> {
        let at = text.find(from)?;
        let rest = text[at..].split_once(key)?.1;
        let digits = rest
            .trim_start()
            .split(|c: char| !c.is_ascii_digit())
            .next()?;
        digits.parse().ok()
    };
    let rate = text.split_once("Rate:")?.1.trim_start();
    let rate = rate.split(' ').next()?.parse().ok()?;
    let (first, second) = ("DISCOVER-OFFER", "REQUEST-ACK");
    Some(Load {
        discovers: after(first, "sent packets:")?,
        offers: after(first, "received packets:")?,
        requests: after(second, "sent packets:")?,
        acks: after(second, "received packets:")?,
        rate,
        overflown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfdhcps_report_is_read() {
        let text = "***Rate statistics***\nRate: 1999.5 4-way exchanges/second, expected rate: 2000\n\
            ***Statistics for: DISCOVER-OFFER***\nsent packets: 20000\nreceived packets: 19999\n\
            drops: 1\n***Statistics for: REQUEST-ACK***\nsent packets: 19999\nreceived packets: 19996\n";
        let load = parse(text, 3).unwrap();
        let want = Load {
            discovers: 20_000,
            offers: 19_999,
            requests: 19_999,
            acks: 19_996,
            rate: 1999.5,
            overflown: 3,
        };
        assert_eq!(load, want);
        assert_eq!((load.unanswered(), load.lost()), (4, 1));
    }

    #[test]
    fn the_kernels_count_of_full_buffers_is_read() {
        let text = "Icmp: InMsgs\nIcmp: 5\n\
            Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
            Udp: 39864 0 73 39937 72 1\nUdpLite: InDatagrams\nUdpLite: 0\n";
        assert_eq!(parse_overflows(text), Some(72));
        assert_eq!(parse_overflows("Tcp: InSegs\nTcp: 1\n"), None);
    }
}
