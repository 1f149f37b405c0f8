//! Puts a server and its clients before this machine's other work, which would be measured with them.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, setpriority_process};

/// Before all others (nice(1)).
const FIRST: i32 = -20;

/// Gives a process, with the threads it has by now, more of the processors
/// than all that is not put first. Both ends of a wire go first, or neither:
/// the one would starve the other. Needs root.
pub fn first(pid: u32) -> Result<()> {
    let doing = || format!("cannot put process {pid} first: needs root");
    let threads = fs::read_dir(format!("/proc/{pid}/task")).with_context(doing)?;
    for thread in threads {
        let number = thread?.file_name().to_string_lossy().parse().ok();
        let number = number.and_then(Pid::from_raw).with_context(doing)?;
        // Linux takes the number of any thread, and means that one alone.
        setpriority_process(Some(number), FIRST).with_context(doing)?;
    }
    Ok(())
}
