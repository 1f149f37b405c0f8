//! A station on the switch that answers ARP and takes uploads by TFTP.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ichor_lab::switch::{Port, Switch};

use crate::raw::{UDP, read_udp, transport_checksum, udp};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 1, 1];
const TFTP: u16 = 69;
/// The port from which uploads are answered.
const TRANSFER: u16 = 40_069;
/// The block size that the client asks for, and is given.
const BLOCK: usize = 1428;

/// Uploads by file name, and datagrams with a wrong checksum.
#[derive(Debug, Default)]
struct Taken {
    files: HashMap<String, Vec<u8>>,
    current: String,
    damaged: u32,
}

/// The station; dropping it unplugs it.
#[derive(Debug)]
pub(crate) struct Station {
    taken: Arc<Mutex<Taken>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Station {
    pub(crate) fn new(switch: &Switch, address: Ipv4Addr) -> Self {
        let port = switch.port("station");
        let taken = Arc::new(Mutex::new(Taken::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (taken, stopping) = (Arc::clone(&taken), Arc::clone(&stopping));
            move || {
                while !stopping.load(Ordering::Relaxed) {
                    let Some(frame) = port.recv(Duration::from_millis(50)) else {
                        continue;
                    };
                    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                    answer_arp(&port, address, &frame);
                    taken.datagram(&port, address, &frame);
                }
            }
        });
        Self {
            taken,
            stopping,
            thread: Some(thread),
        }
    }

    /// What was uploaded as `name`.
    pub(crate) fn file(&self, name: &str) -> Option<Vec<u8>> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.files.get(name).cloned()
    }

    /// Datagrams that came with a wrong checksum.
    pub(crate) fn damaged(&self) -> u32 {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.damaged
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer_arp(port: &Port, address: Ipv4Addr, frame: &[u8]) {
    let asks = frame.get(12..14) == Some(&[8, 6])
        && frame.get(20..22) == Some(&[0, 1])
        && frame.get(38..42) == Some(&address.octets());
    if !asks {
        return;
    }
    let mut answer = frame[6..12].to_vec();
    answer.extend(MAC);
    answer.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    answer.extend(MAC);
    answer.extend(address.octets());
    answer.extend(&frame[22..32]);
    answer.resize(60, 0);
    port.send(&answer);
}

impl Taken {
    /// One step of an upload: each block is answered once it is kept.
    fn datagram(&mut self, port: &Port, address: Ipv4Addr, frame: &[u8]) {
        let Some((from, to, payload)) = read_udp(frame) else {
            return;
        };
        if *to.ip() != address {
            return;
        }
        // With its checksum in it, the datagram sums up to nothing.
        let length = 8 + payload.len();
        let datagram = &frame[34..34 + length];
        if transport_checksum((*from.ip(), *to.ip()), UDP, datagram) != 0 {
            self.damaged += 1;
            return;
        }
        let answer = match (to.port(), payload) {
            (TFTP, [0, 2, rest @ ..]) => {
                let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                self.current = String::from_utf8_lossy(name).into_owned();
                self.files.insert(self.current.clone(), Vec::new());
                format!("\0\x06blksize\0{BLOCK}\0").into_bytes()
            }
            (TRANSFER, [0, 3, high, low, data @ ..]) => {
                let number = usize::from(u16::from_be_bytes([*high, *low]));
                let file = self.files.entry(self.current.clone()).or_default();
                // Only the next block; one that comes again is answered again.
                if file.len() == (number - 1) * BLOCK {
                    file.extend(data);
                }
                vec![0, 4, *high, *low]
            }
            _ => return,
        };
        let Some(client) = frame[6..12].first_chunk::<6>() else {
            return;
        };
        let here = SocketAddrV4::new(address, TRANSFER);
        port.send(&udp((MAC, *client), here, from, &answer));
    }
}
