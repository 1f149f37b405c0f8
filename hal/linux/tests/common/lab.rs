//! Two network namespaces with a cable between them: the test's thread is in
//! one, with interface `srv`, and a client's thread in the other, with `cli`.
#![allow(dead_code, reason = "every test uses a part of this")]

use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;

use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};

/// The machine's own address on `srv`.
pub(crate) const HOST: &str = "192.0.2.10";
/// The client's address on `cli`.
pub(crate) const CLIENT: &str = "192.0.2.2";

/// Leaves this thread's network namespace for a new, empty one.
pub(crate) fn enter_new_network() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test makes network namespaces: run it as root"
    );
    // SAFETY: the memory and descriptors that threads share stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    ip("link set lo up");
}

/// Runs `ip` in this thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

/// Lays the cable, and returns a thread at its other end that runs `client`
/// once it is told to go.
pub(crate) fn lay_cable<T: Send + 'static>(
    client: impl FnOnce() -> T + Send + 'static,
) -> (mpsc::Sender<()>, JoinHandle<T>) {
    enter_new_network();
    let (tell_id, id) = mpsc::channel();
    let (go, started) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        enter_new_network();
        tell_id.send(gettid().as_raw_nonzero()).unwrap();
        started.recv().unwrap();
        client()
    });
    let id = id.recv().unwrap();
    ip("link add srv type veth peer name cli");
    ip(&format!("link set cli netns {id}"));
    ip(&format!("address add {HOST}/24 dev srv"));
    ip("link set srv up");
    (go, thread)
}

/// What the client does first.
pub(crate) fn plug_in() {
    ip(&format!("address add {CLIENT}/24 dev cli"));
    ip("link set cli up");
}
