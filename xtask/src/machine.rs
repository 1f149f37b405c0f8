//! What a measurement was taken on: the processor, and the state of the sources.

use std::fs;
use std::process::Command;

use crate::steps::said;
use crate::workspace;

/// The processor's name, as Linux tells it.
pub(crate) fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model)
        .to_owned()
}

/// The commit of the workspace, and whether something in it was not committed.
/// A copy without history can be measured, too.
pub(crate) fn commit() -> (String, bool) {
    let git = |arguments: &[&str]| {
        let output = said(Command::new("git").args(arguments).current_dir(workspace()));
        output.map(|output| output.trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|_| "unknown".to_owned());
    let changes = git(&["status", "--porcelain"]);
    (commit, changes.is_ok_and(|changes| !changes.is_empty()))
}
