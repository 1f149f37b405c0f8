//! A TAP device as plain frames, for programs that are a cable and no station.

use std::fs::File;
use std::io;

use crate::sys;

/// Attaches to the TAP device `name` of this thread's network namespace, which
/// is made if it is not there and goes away with the file then. Each read
/// takes a frame as it would be on a wire, without offloads, and each write
/// sends one; neither waits. Needs `CAP_NET_ADMIN`.
///
/// [`nic::AnyNic`](crate::nic::AnyNic) is what a stack wants.
pub fn open_tap(name: &str) -> io::Result<File> {
    sys::open_tap(name, 0).map(File::from)
}
