//! A chip between a socket for QEMU and a port of the lab's switch.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Chip, Counters, Fault, Mode, Options, Violation};
use crate::switch::{Port, Switch};
use crate::usbredir::Plug;

/// How often the chip sees the time pass when no frame comes.
const TICK: Duration = Duration::from_millis(20);
/// Frames handed to the chip at once, as they would gather in its FIFO while
/// a burst is on the bus.
const BATCH: usize = 12;

/// A USB Ethernet adapter of the lab; dropping it unplugs both its ends.
#[derive(Debug)]
pub struct Adapter {
    plug: Arc<Plug<Chip>>,
    stopping: Arc<AtomicBool>,
    receiver: Option<JoinHandle<()>>,
}

impl Adapter {
    /// An adapter with its cable in `switch` (as `name`), that waits for QEMU
    /// at the unix socket `path`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn new(switch: &Switch, name: &str, path: &Path, options: Options) -> io::Result<Self> {
        let port = Arc::new(switch.port(name));
        let out = Arc::clone(&port);
        let wire = Box::new(move |frame: &[u8]| out.send(frame));
        let chip = Chip::new(Instant::now(), options, wire);
        let plug = Arc::new(Plug::listen(path, chip)?);
        let stopping = Arc::new(AtomicBool::new(false));
        let receiver = thread::spawn({
            let (plug, stopping) = (Arc::clone(&plug), Arc::clone(&stopping));
            move || {
                while !stopping.load(Ordering::Relaxed) {
                    let frames = gather(&port);
                    plug.with(|chip| {
                        let now = Instant::now();
                        chip.advance(now);
                        for frame in &frames {
                            chip.receive(now, frame);
                        }
                    });
                }
            }
        });
        Ok(Self {
            plug,
            stopping,
            receiver: Some(receiver),
        })
    }

    /// The USB side: the socket, and pulling the device from its port.
    pub fn usb(&self) -> &Plug<Chip> {
        &self.plug
    }

    /// Puts the network cable in or pulls it.
    pub fn plug_cable(&self, cable: bool) {
        self.plug
            .with(|chip| chip.plug_cable(Instant::now(), cable));
    }

    /// The link, if it is up.
    pub fn link(&self) -> Option<Mode> {
        self.plug.with(|chip| chip.link())
    }

    /// The MAC address that the driver has set.
    pub fn mac(&self) -> [u8; 6] {
        self.plug.with(|chip| chip.mac())
    }

    /// What the driver has done wrong so far, each mistake once.
    pub fn violations(&self) -> Vec<Violation> {
        self.plug.with(|chip| chip.violations().to_vec())
    }

    /// What has moved so far.
    pub fn counters(&self) -> Counters {
        self.plug.with(|chip| chip.counters())
    }

    /// Orders faults, each of which hits once.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plug
            .with(|chip| faults.into_iter().for_each(|fault| chip.inject(fault)));
    }

    /// How many ordered faults have not hit yet.
    pub fn faults_left(&self) -> usize {
        self.plug.with(|chip| chip.faults_left())
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(receiver) = self.receiver.take() {
            let _ = receiver.join();
        }
    }
}

/// Waits a tick for a frame, and takes those that wait behind it.
fn gather(port: &Port) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut wait = TICK;
    while frames.len() < BATCH
        && let Some(frame) = port.recv(wait)
    {
        frames.push(frame);
        wait = Duration::ZERO;
    }
    frames
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn wait_for(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !what() {
            assert!(Instant::now() < deadline, "waited in vain");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn who_does_not_speak_the_protocol_is_cut_off_and_the_next_is_served() {
        let path = std::env::temp_dir().join(format!("ichor-adapter-{}", std::process::id()));
        let switch = Switch::new();
        let adapter = Adapter::new(&switch, "adapter", &path, Options::default()).unwrap();
        assert!(switch.has("adapter"));
        let mut browser = UnixStream::connect(&path).unwrap();
        browser.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        browser.read_to_end(&mut Vec::new()).unwrap();
        wait_for(|| adapter.usb().fault().is_some() && !adapter.usb().is_connected());

        let mut qemu = UnixStream::connect(&path).unwrap();
        let mut hello = [0; 12 + 64 + 4];
        qemu.read_exact(&mut hello).unwrap();
        assert_eq!(hello[..4], [0; 4]);
        assert_eq!(adapter.usb().fault(), None);
        drop(adapter);
        assert!(!path.exists());
        assert!(!switch.has("adapter"));
    }
}
