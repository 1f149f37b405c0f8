//! What a test node tells on its console about its boot (see `initrd/init.sh`).

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::qemu::Machine;

/// How the node begins its lines.
const SAYS: &str = "ichor-node: ";

/// What a line of the console says if it is the node's own.
pub fn says(line: &str) -> Option<&str> {
    line.split_once(SAYS).map(|(_, says)| says)
}

/// A node's own account of a finished boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Its hardware address.
    pub mac: String,
    /// The address that it leased.
    pub ip: String,
    /// The SHA-256 of its configuration.
    pub config: String,
    /// URLs that it fetched, with the SHA-256 of what came.
    pub files: Vec<(String, String)>,
    /// From power-on until it was up.
    pub up_after: Duration,
}

impl Report {
    /// The SHA-256 of the file whose URL ends in `name`.
    pub fn sha256_of(&self, name: &str) -> Option<&str> {
        let found = self.files.iter().find(|(url, _)| url.ends_with(name));
        found.map(|(_, sum)| sum.as_str())
    }

    fn read(&mut self, says: &str, at: Duration) {
        if let Some(up) = says.strip_prefix("up ") {
            for (key, value) in up.split(' ').filter_map(|word| word.split_once('=')) {
                match key {
                    "mac" => self.mac = value.to_owned(),
                    "ip" => self.ip = value.to_owned(),
                    "config" => self.config = value.to_owned(),
                    _ => {}
                }
            }
            self.up_after = at;
        } else if let Some((sum, url)) = says
            .strip_prefix("sha256 ")
            .and_then(|rest| rest.split_once(' '))
        {
            self.files.push((url.to_owned(), sum.to_owned()));
        }
    }
}

/// Waits until the node is up and has fetched `files` files; `timeout` counts
/// from power-on. What the node itself calls a failure ends the wait.
pub fn report(machine: &Machine, files: usize, timeout: Duration) -> Result<Report> {
    let deadline = machine.powered_on() + timeout;
    let mut report = Report::default();
    let mut next = 0;
    while report.mac.is_empty() || report.files.len() < files {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = machine.console().find(next, left, |line| {
            Some((says(&line.text)?.to_owned(), line.at))
        });
        let Some(((says, at), after)) = line else {
            let why = machine.last_words(timeout);
            bail!("{} did not come up: {why}", machine.name());
        };
        if says.starts_with("failed") || says.starts_with("cannot fetch") {
            bail!(
                "{} says: {says}\n{}",
                machine.name(),
                machine.console().tail(25)
            );
        }
        next = after;
        report.read(&says, at);
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_lines_are_read() {
        let mut report = Report::default();
        let at = Duration::from_secs(20);
        report.read("config from http://192.0.2.1:8080/generic", Duration::ZERO);
        report.read(
            "up mac=52:54:00:00:00:01 ip=192.0.2.50 config=ab12 uptime=3.51",
            at,
        );
        report.read("sha256 cd34 tftp://192.0.2.1/assets/initramfs", at);
        let want = Report {
            mac: "52:54:00:00:00:01".to_owned(),
            ip: "192.0.2.50".to_owned(),
            config: "ab12".to_owned(),
            files: vec![(
                "tftp://192.0.2.1/assets/initramfs".to_owned(),
                "cd34".to_owned(),
            )],
            up_after: at,
        };
        assert_eq!(report, want);
        assert_eq!(report.sha256_of("/initramfs"), Some("cd34"));
    }
}
