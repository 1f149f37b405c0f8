//! How far a machine has come, by what its console and its server's log say.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ichor_lab::console::Line;
use ichor_lab::journal::Event;
use ichor_lab::qemu::Machine;

use super::super::summary::median;

/// The stages, and the text on the machine's console that tells of each. The
/// server tells of the first: the firmware is silent until it has an address.
const STAGES: [(&str, &str); 11] = [
    ("firmware asks (DHCP)", ""),
    ("it has an address (DHCP)", "Station IP address is"),
    ("it has iPXE (TFTP)", "NBP file downloaded"),
    ("iPXE started", "Press Ctrl-B"),
    ("iPXE has an address (DHCP)", "Configuring (net0"),
    ("script (HTTP)", "boot.ipxe : "),
    ("kernel (HTTP)", "vmlinuz..."),
    ("initrd (HTTP)", "initramfs..."),
    ("Linux started", "Booting Linux on"),
    ("init", "Run /init as init process"),
    ("up (DHCP, config by HTTP)", "ichor-node: up"),
];
const INIT: usize = STAGES.len() - 2;
const UP: usize = STAGES.len() - 1;

/// One machine's boot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Boot {
    powered_on: Instant,
    /// From power-on to each stage.
    reached: [Duration; STAGES.len()],
}

impl Boot {
    /// That of a machine that is up. `asked` is when its firmware sent its first
    /// DHCPDISCOVER.
    pub(super) fn of(machine: &Machine, asked: Instant) -> Result<Self> {
        let powered_on = machine.powered_on();
        let console = machine.console();
        let lines = console.lines();
        let mut reached = [Duration::ZERO; STAGES.len()];
        for (reached, (stage, text)) in reached.iter_mut().zip(STAGES) {
            let at = if text.is_empty() {
                asked
            } else {
                let line = lines.iter().find(|line| line.text.contains(text));
                let line = line.with_context(|| format!("no sign of stage `{stage}`: {text}"))?;
                console.start() + line.at
            };
            *reached = at.saturating_duration_since(powered_on);
        }
        Ok(Self {
            powered_on,
            reached,
        })
    }

    /// Seconds that a stage took.
    fn took(&self, stage: usize) -> f64 {
        let before = stage.checked_sub(1);
        let before = before.map_or(Duration::ZERO, |last| self.reached[last]);
        self.reached[stage].as_secs_f64() - before.as_secs_f64()
    }
}

/// Seconds from the first machine's power-on until the first and until the last
/// of them had reached a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub first: f64,
    pub last: f64,
}

impl Span {
    pub(super) fn to_init(boots: &[Boot]) -> Self {
        Self::to(boots, INIT)
    }

    pub(super) fn to_up(boots: &[Boot]) -> Self {
        Self::to(boots, UP)
    }

    fn to(boots: &[Boot], stage: usize) -> Self {
        let begun = boots.iter().map(|boot| boot.powered_on).min();
        let ends = boots.iter().filter_map(|boot| {
            let at = boot.powered_on + boot.reached[stage];
            Some(at.duration_since(begun?).as_secs_f64())
        });
        let (first, last) = ends.fold((f64::INFINITY, 0.0), |(first, last), end| {
            (f64::min(first, end), f64::max(last, end))
        });
        Self { first, last }
    }
}

/// Medians of what each stage took with each of two contenders, over all
/// machines of all runs.
pub(super) fn table([ours, theirs]: [&str; 2], boots: [&[Boot]; 2]) -> String {
    let mut table = format!(
        "  {:28}{ours:>14}{theirs:>16}{:>12}\n",
        "seconds until, median", "difference"
    );
    for (stage, (name, _)) in STAGES.iter().enumerate() {
        let [ours, theirs] = boots.map(|boots| {
            let took: Vec<f64> = boots.iter().map(|boot| boot.took(stage)).collect();
            median(&took)
        });
        let difference = ours - theirs;
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "  {name:28}{ours:14.2}{theirs:16.2}{difference:+12.2}"
        );
    }
    table.truncate(table.trim_end().len());
    table
}

/// When ichor's journal tells of a machine's first DHCPDISCOVER.
pub(super) fn asked_ichor(journal: &[Line], mac: &str) -> Option<Duration> {
    let line = journal.iter().find(|line| {
        Event::parse(&line.text)
            .is_some_and(|event| event.stage == "discover" && event.mac.as_deref() == Some(mac))
    });
    line.map(|line| line.at)
}

/// When dnsmasq's log tells of a machine's first DHCPDISCOVER.
///
/// It names the message and its sender once it has looked whether the address is
/// free; before that, it names the message's number beside the range.
pub(super) fn asked_dnsmasq(log: &[Line], mac: &str) -> Option<Duration> {
    let named = log
        .iter()
        .find(|line| line.text.contains("DHCPDISCOVER") && line.text.contains(mac))?;
    let (before, _) = named.text.split_once(" DHCPDISCOVER")?;
    // `dnsmasq-dhcp[PID]: NUMBER`
    let begins = format!("{before} ");
    let line = log.iter().find(|line| line.text.starts_with(&begins));
    line.map(|line| line.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(texts: &[&str]) -> Vec<Line> {
        let line = |(second, text): (usize, &&str)| Line {
            at: Duration::from_secs(second as u64),
            text: (*text).to_owned(),
        };
        texts.iter().enumerate().map(line).collect()
    }

    #[test]
    fn each_machines_own_discover_is_found() {
        let dnsmasq = log(&[
            "dnsmasq-dhcp[9]: DHCP, IP range 192.0.2.50 -- 192.0.2.99, lease time 1h",
            "dnsmasq-dhcp[9]: 11 available DHCP range: 192.0.2.50 -- 192.0.2.99",
            "dnsmasq-dhcp[9]: 22 available DHCP range: 192.0.2.50 -- 192.0.2.99",
            "dnsmasq-dhcp[9]: 11 vendor class: PXEClient:Arch:00011:UNDI:003000",
            "dnsmasq-dhcp[9]: 22 DHCPDISCOVER(eth0) 52:54:00:00:00:02 ",
            "dnsmasq-dhcp[9]: 11 DHCPDISCOVER(eth0) 52:54:00:00:00:01 ",
        ]);
        let ichor = log(&[
            "no event",
            r#"{"seq":1,"ms":5,"mac":"52:54:00:00:00:02","ip":null,"stage":"discover","detail":""}"#,
            r#"{"seq":2,"ms":6,"mac":"52:54:00:00:00:01","ip":null,"stage":"offer","detail":""}"#,
            r#"{"seq":3,"ms":7,"mac":"52:54:00:00:00:01","ip":null,"stage":"discover","detail":""}"#,
        ]);
        let second = |n| Some(Duration::from_secs(n));
        for (mac, in_dnsmasq, in_ichor) in [
            ("52:54:00:00:00:01", second(1), second(3)),
            ("52:54:00:00:00:02", second(2), second(1)),
            ("52:54:00:00:00:03", None, None),
        ] {
            assert_eq!(asked_dnsmasq(&dnsmasq, mac), in_dnsmasq, "{mac}");
            assert_eq!(asked_ichor(&ichor, mac), in_ichor, "{mac}");
        }
    }

    #[test]
    fn the_last_machine_counts_from_the_first_power_on() {
        let start = Instant::now();
        let boot = |powered_on: u64, to_init: u64| {
            let mut boot = Boot {
                powered_on: start + Duration::from_secs(powered_on),
                reached: [Duration::ZERO; STAGES.len()],
            };
            boot.reached[INIT] = Duration::from_secs(to_init);
            boot.reached[UP] = Duration::from_secs(to_init + 3);
            boot
        };
        let boots = [boot(1, 20), boot(0, 22), boot(2, 19)];
        let span = |first, last| Span { first, last };
        assert_eq!(Span::to_init(&boots), span(21.0, 22.0));
        assert_eq!(Span::to_up(&boots), span(24.0, 25.0));
        assert_eq!(boots[0].took(UP), 3.0);
        let table = table(["ours", "theirs"], [&boots[..1], &boots[1..2]]);
        let init = table
            .lines()
            .nth(1 + INIT)
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(init.unwrap(), ["init", "20.00", "22.00", "-2.00"]);
    }
}
