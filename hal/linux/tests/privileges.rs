//! A root process that gives up root keeps what it opened, and nothing else.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod common;
#[path = "common/lab.rs"]
mod lab;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::Scratch;
use embassy_futures::block_on;
use ichor_hal::LeaseLog;
use ichor_hal_linux::nic::AnyNic;
use ichor_hal_linux::{LogFile, Reactor, User, drop_privileges};
use lab::{enter_new_network, ip};

/// Set in the process that gives up root.
const CHILD: &str = "ICHOR_TEST_PRIVILEGES_FOLDER";

#[test]
fn root_is_given_up_for_good() {
    if let Ok(folder) = std::env::var(CHILD) {
        return child(Path::new(&folder));
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "this test gives up root: run it as root"
    );
    let scratch = Scratch::new("privileges");
    fs::set_permissions(&scratch.0, Permissions::from_mode(0o755)).unwrap();
    fs::write(scratch.0.join("secret"), "root's").unwrap();
    fs::set_permissions(scratch.0.join("secret"), Permissions::from_mode(0o600)).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "root_is_given_up_for_good", "--nocapture"])
        .env(CHILD, &scratch.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn child(folder: &Path) {
    enter_new_network();
    ip("link add srv type veth peer name cli");
    let state = folder.join("state");
    let mut log = LogFile::open(&state, true).unwrap();
    block_on(log.append(b"before")).unwrap();
    block_on(log.commit()).unwrap();

    let user = User::find(Some("nobody")).unwrap();
    drop_privileges(&user, &state).unwrap();

    assert!(File::open(folder.join("secret")).is_err());
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!(line("NoNewPrivs:"), "1");
    for ids in ["Uid:", "Gid:"] {
        assert!(!line(ids).split(' ').any(|id| id == "0"), "{ids}");
    }
    assert!(!line("Groups:").split(' ').any(|group| group == "0"));

    let nic = AnyNic::open(&"packet:srv".parse().unwrap(), &Reactor::new().unwrap());
    let error = nic.err().unwrap().to_string();
    assert!(error.contains("setcap cap_net_raw+ep"), "{error}");

    // The lease log goes on, and can be replaced.
    block_on(log.begin_rewrite()).unwrap();
    block_on(log.append(b"after")).unwrap();
    block_on(log.finish_rewrite()).unwrap();
    assert_eq!(fs::read(state.join("leases.log")).unwrap(), b"after");
}
