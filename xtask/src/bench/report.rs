//! The bench's result for programs: every sample, on what machine and with what.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use ichor_lab::servers::tftpd_hpa;
use ichor_lab::tools::Tools;
use serde_json::{Map, Value, json};

use super::row::{Bench, Limit, MIB, Of, Sample, Taken};
use super::summary::{median, spread};
use crate::machine;

/// What was measured on, and with what.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conditions {
    processor: String,
    cores: usize,
    kernel: String,
    /// By which congestion control the kernel sends, and so its servers do.
    congestion_control: String,
    memory: u64,
    /// Programs and the first line that each says of itself.
    versions: Vec<(String, String)>,
    commit: String,
    /// Whether something is in the tree that was not committed.
    dirty: bool,
}

impl Conditions {
    /// Those of this machine; `programs` are asked for their versions.
    pub(super) fn now(bench: &Bench, programs: &[&str]) -> Result<Self> {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let meminfo = read("/proc/meminfo");
        let memory = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next())
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok());
        let mut versions = vec![(
            "ichor".to_owned(),
            first_line(Command::new(&bench.ichor).arg("--version"))?,
        )];
        for program in programs {
            versions.push(((*program).to_owned(), version(&bench.tools, program)?));
        }
        let (commit, dirty) = machine::commit();
        Ok(Self {
            processor: machine::processor(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control")
                .trim()
                .to_owned(),
            memory: memory.unwrap_or(0) * 1024,
            versions,
            commit,
            dirty,
        })
    }

    /// A few lines for people.
    pub(super) fn told(&self) -> String {
        let mut versions: Vec<&str> = self.versions.iter().map(|(_, it)| it.as_str()).collect();
        // Client and server of one package say the same.
        versions.dedup();
        format!(
            "{} × {}, {:.1} GiB, Linux {} with {}\n{}\ncommit {}{}",
            self.cores,
            self.processor,
            self.memory as f64 / MIB / 1024.0,
            self.kernel,
            self.congestion_control,
            versions.join(" · "),
            self.commit,
            if self.dirty { " and changes" } else { "" }
        )
    }

    fn json(&self) -> Value {
        let versions: Map<String, Value> = self
            .versions
            .iter()
            .map(|(program, version)| (program.clone(), json!(version)))
            .collect();
        json!({
            "machine": {
                "processor": self.processor,
                "cores": self.cores,
                "memory_bytes": self.memory,
                "kernel": self.kernel,
                "congestion_control": self.congestion_control,
            },
            "versions": versions,
            "commit": self.commit,
            "dirty": self.dirty,
        })
    }
}

/// Everything that was measured.
pub(super) fn json(conditions: &Conditions, quick: bool, rows: &[Taken]) -> Value {
    let mut report = conditions.json();
    let taken = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    report["taken_unix_seconds"] = json!(taken.as_secs());
    report["quick"] = json!(quick);
    report["rows"] = rows.iter().map(of_row).collect();
    report
}

/// Writes the report to `path`.
pub(super) fn write(path: &Path, report: &Value) -> Result<()> {
    let text = format!("{report:#}\n");
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn of_row(taken: &Taken) -> Value {
    let row = taken.row;
    let contenders: Vec<Value> = row
        .contenders
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let samples: Vec<Value> = taken.samples[number].iter().map(of_sample).collect();
            let mut contender = json!({ "name": name, "samples": samples });
            contender["value"] = of_values(&taken.values(number));
            if number > 0 {
                let ratios = taken.ratios(number);
                contender["ratio_of_ichor"] = of_values(&ratios);
                contender["ratio_of_ichor"]["by_pair"] = json!(ratios);
            }
            contender
        })
        .collect();
    let bars: Vec<Value> = row
        .bars
        .iter()
        .map(|bar| {
            let found = taken.looked_at(bar.of);
            let of = match bar.of {
                Of::Value => "value".to_owned(),
                Of::Ratio(to) => format!("ratio to {to}"),
                Of::Figure(name) => name.to_owned(),
                Of::PeakMemory => "peak memory, MiB".to_owned(),
            };
            let (limit, value) = match bar.limit {
                Limit::AtLeast(value) => ("at_least", value),
                Limit::AtMost(value) => ("at_most", value),
            };
            let median = (!found.is_empty()).then(|| median(&found));
            let met = median.map(|median| bar.limit.is_met_by(median));
            json!({ "of": of, limit: value, "median": median, "met": met })
        })
        .collect();
    json!({
        "name": row.name,
        "about": row.about,
        "unit": row.unit.symbol,
        "more_is_better": row.unit.more_is_better,
        "contenders": contenders,
        "bars": bars,
        "error": taken.error,
        "cpu_per": row.per,
    })
}

fn of_values(values: &[f64]) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    let (least, greatest) = spread(values);
    json!({ "median": median(values), "least": least, "greatest": greatest })
}

fn of_sample(sample: &Sample) -> Value {
    let figures: Map<String, Value> = sample
        .figures
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    json!({
        "value": sample.value,
        "server_cpu_seconds": sample.cpu.map(|cpu| cpu.server),
        "machine_cpu_seconds": sample.cpu.map(|cpu| cpu.machine),
        "peak_memory_bytes": sample.peak_memory,
        "figures": figures,
    })
}

/// What a program of the tools says of itself.
fn version(tools: &Tools, program: &str) -> Result<String> {
    let (mut command, flag) = match program {
        "tftpd-hpa" => (tftpd_hpa(tools), "-V"),
        "nginx" | "wrk" | "perfdhcp" | "kea-dhcp4" => (tools.command(program)?, "-v"),
        _ => (tools.command(program)?, "--version"),
    };
    first_line(command.arg(flag))
}

/// The first line that a command prints, without its copyright and its libraries.
fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    let end = line.find("Copyright").or_else(|| line.find(" ("));
    let line = &line[..end.unwrap_or(line.len())];
    Ok(line.replace("version: nginx/", "").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::taken;

    #[test]
    fn every_sample_is_in_the_report() {
        let conditions = Conditions {
            processor: "a processor".to_owned(),
            cores: 2,
            kernel: "6.1".to_owned(),
            congestion_control: "cubic".to_owned(),
            memory: 1 << 30,
            versions: vec![("peer".to_owned(), "peer 1.0".to_owned())],
            commit: "abc".to_owned(),
            dirty: true,
        };
        let mut broken = taken(&[], &[]);
        broken.error = Some("no peer".to_owned());
        let rows = [taken(&[4.0, 6.0], &[2.0, 2.0]), broken];
        let report = json(&conditions, true, &rows);
        for (pointer, want) in [
            ("/machine/cores", json!(2)),
            ("/machine/congestion_control", json!("cubic")),
            ("/machine/memory_bytes", json!(1 << 30)),
            ("/versions/peer", json!("peer 1.0")),
            ("/dirty", json!(true)),
            ("/quick", json!(true)),
            ("/rows/0/name", json!("row-a")),
            ("/rows/0/contenders/0/value/median", json!(5.0)),
            ("/rows/0/contenders/0/samples/1/value", json!(6.0)),
            (
                "/rows/0/contenders/0/samples/1/server_cpu_seconds",
                json!(0.5),
            ),
            (
                "/rows/0/contenders/1/ratio_of_ichor/by_pair",
                json!([2.0, 3.0]),
            ),
            ("/rows/0/bars/0/met", json!(true)),
            ("/rows/0/bars/1/of", json!("slowest/fastest")),
            ("/rows/0/bars/1/met", json!(false)),
            ("/rows/0/error", Value::Null),
            ("/rows/1/contenders/1/value", Value::Null),
            ("/rows/1/bars/0/met", Value::Null),
            ("/rows/1/error", json!("no peer")),
        ] {
            assert_eq!(report.pointer(pointer), Some(&want), "{pointer}");
        }
    }
}
