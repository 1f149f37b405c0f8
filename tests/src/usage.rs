//! What a process takes of its machine: processor time and memory, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks per second of the times in `/proc` (`USER_HZ`, the same on every Linux).
const TICKS: f64 = 100.0;

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// In RAM now, pages shared with other processes among them.
    pub resident: u64,
    /// The most that was in RAM at once since the process started.
    pub peak: u64,
}

impl Memory {
    /// That of process `pid`.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&text).with_context(|| format!("{path} tells of no memory"))
    }

    fn parse(status: &str) -> Option<Self> {
        Some(Self {
            resident: kilobytes(status, "VmRSS:")?,
            peak: kilobytes(status, "VmHWM:")?,
        })
    }
}

/// Memory of process `pid` in RAM, in bytes; of a page that several processes
/// share only its share counts.
pub fn proportional_memory(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    kilobytes(&text, "Pss:").with_context(|| format!("{path} has no line `Pss:`"))
}

/// Processor time that process `pid` has taken so far, with all its threads, its
/// children, and what the kernel did in its name.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let ended = ticks_of(pid)?;
    let running: u64 = children_of(pid)
        .into_iter()
        // A child that ends meanwhile is counted with its parent the next time.
        .filter_map(|child| ticks_of(child).ok())
        .sum();
    Ok(Duration::from_secs_f64((ended + running) as f64 / TICKS))
}

fn ticks_of(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    ticks(&text).with_context(|| format!("{path} has no times"))
}

fn children_of(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let children = threads.into_iter().flatten().flatten();
    children
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            let pids = text.split_whitespace();
            pids.filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// User and system time of a process and of its children that ended (proc_pid_stat(5)).
fn ticks(stat: &str) -> Option<u64> {
    // The name before it may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    // The 14th field of all is the 12th after the name.
    let mut times = fields.split_whitespace().skip(11).take(4);
    let mut sum = 0;
    for _ in 0..4 {
        sum += times.next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

/// The figure of a line `name 1234 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let figure: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(figure * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194560 90 0 0 0 11 22 3 4 20 0 1 0 5";
        assert_eq!(ticks(stat), Some(40));
        assert_eq!(ticks("77 (short) S 1 2 3"), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t  12 kB\nVmRSS:\t  8 kB\n";
        let memory = Memory::parse(status);
        let want = Memory {
            resident: 8192,
            peak: 12_288,
        };
        assert_eq!(memory, Some(want));
        assert_eq!(Memory::parse("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_takes_time_and_memory() {
        let pid = std::process::id();
        let memory = Memory::of(pid).unwrap();
        assert!(memory.peak >= memory.resident && memory.resident > 0);
        assert!(proportional_memory(pid).unwrap() > 0);
        let before = processor_time(pid).unwrap();
        let mut sum = 0_u64;
        while processor_time(pid).unwrap() <= before {
            sum = std::hint::black_box(sum + 1);
        }
    }
}
