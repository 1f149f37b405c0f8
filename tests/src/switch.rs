//! A learning Ethernet switch inside the test's own process, with faults to order.
//!
//! QEMU guests (`-netdev stream`) and `ichor serve --nic wire:PATH` plug in
//! over unix sockets, tests over [`Port`]. Nothing here needs root, and no
//! frame can leave the machine. On the sockets each frame follows its length
//! as a big-endian `u32`, which is QEMU's own framing.
//!
//! A peer that stops reading fills its own queue and then loses frames, as on
//! a real switch; nobody else waits for it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::faults::{Fault, Held, Rules, Verdict};
use crate::pcap::Capture;
use crate::queue::{MAX_FRAME, Queue, Taken, split_frame};

/// Shortest frame worth forwarding: two addresses and a type (IEEE 802.3 §3.1.1).
const MIN_FRAME: usize = 14;
/// Bytes read from a peer at once; holds about 80 full frames.
const READ_BATCH: usize = 128 * 1024;
/// How often the capture file is brought up to date.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// The switch. Dropping it unplugs everybody and ends its threads.
#[derive(Debug)]
pub struct Switch {
    shared: Arc<Shared>,
    listeners: Vec<(PathBuf, JoinHandle<()>)>,
    timer: Option<JoinHandle<()>>,
}

/// What one name on the switch has seen, in frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came in from the peer.
    pub received: u64,
    /// Were queued for the peer.
    pub sent: u64,
    /// Were lost because the peer did not read fast enough.
    pub overflowed: u64,
    /// Were touched by a fault on their way to the peer.
    pub faulted: u64,
}

#[derive(Debug)]
struct Shared {
    fabric: Mutex<Fabric>,
    /// Wakes the timer thread when a frame was held back.
    held: Condvar,
    stopping: AtomicBool,
    cables: Mutex<Vec<Cable>>,
}

/// A connected socket and the threads that serve it.
#[derive(Debug)]
struct Cable {
    socket: UnixStream,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

/// Names one plug for as long as it is plugged in.
pub(crate) type PlugId = u64;

#[derive(Debug, Default)]
struct Fabric {
    next_id: PlugId,
    plugs: BTreeMap<PlugId, Plug>,
    stations: HashMap<[u8; 6], PlugId>,
    rules: Rules,
    held: Held,
    capture: Option<Capture>,
    /// Counters of names that were unplugged.
    gone: BTreeMap<Arc<str>, Counters>,
}

#[derive(Debug)]
struct Plug {
    name: Arc<str>,
    queue: Arc<Queue>,
    counters: Counters,
}

impl Switch {
    /// A switch with no ports and no faults.
    pub fn new() -> Self {
        let shared = Arc::new(Shared {
            fabric: Mutex::default(),
            held: Condvar::new(),
            stopping: AtomicBool::new(false),
            cables: Mutex::default(),
        });
        let timer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.keep_time()
        });
        Self {
            shared,
            listeners: Vec::new(),
            timer: Some(timer),
        }
    }

    /// Writes every frame that enters the switch to `path` (pcapng, which
    /// Wireshark and tshark read), with a comment where a fault hit it.
    pub fn capture(&self, path: &Path) -> io::Result<()> {
        self.shared.fabric().capture = Some(Capture::create(path)?);
        Ok(())
    }

    /// Lets peers plug in at the unix socket `path`. Faults, counters and the
    /// capture know them as `name`; a peer that comes back has it again.
    pub fn listen(&mut self, path: &Path, name: &str) -> io::Result<()> {
        let listener = UnixListener::bind(path)?;
        let shared = Arc::clone(&self.shared);
        let name = Arc::from(name);
        let thread = thread::spawn(move || {
            for socket in listener.incoming() {
                if shared.stopping.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(socket) = socket else { continue };
                // A peer that cannot be served sees its socket close.
                let _ = Shared::plug_in(&shared, socket, &name);
            }
        });
        self.listeners.push((path.to_owned(), thread));
        Ok(())
    }

    /// A port for the test itself.
    pub fn port(&self, name: &str) -> Port {
        let queue = Arc::new(Queue::default());
        let id = self
            .shared
            .fabric()
            .attach(Arc::from(name), Arc::clone(&queue));
        Port {
            shared: Arc::clone(&self.shared),
            id,
            queue,
            inbox: Mutex::default(),
        }
    }

    /// Orders a fault; all faults that match a frame apply to it, in the
    /// order in which they were ordered.
    pub fn order(&self, fault: Fault) {
        self.shared.fabric().rules.push(fault);
    }

    /// Orders several faults.
    pub fn order_all(&self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.order(fault));
    }

    /// Ends all faults; frames that are held back still arrive.
    pub fn clear_faults(&self) {
        self.shared.fabric().rules.clear();
    }

    /// What the peers called `name` have seen so far.
    pub fn counters(&self, name: &str) -> Counters {
        let fabric = self.shared.fabric();
        let gone = fabric.gone.get(name).copied().unwrap_or_default();
        fabric
            .plugs
            .values()
            .filter(|plug| *plug.name == *name)
            .fold(gone, |sum, plug| sum.plus(plug.counters))
    }

    /// Whether a peer called `name` is plugged in.
    pub fn has(&self, name: &str) -> bool {
        let fabric = self.shared.fabric();
        fabric.plugs.values().any(|plug| *plug.name == *name)
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for (path, thread) in self.listeners.drain(..) {
            // A connection to ourselves is what ends the wait in accept(). If
            // the path is gone, so is the way to end it.
            if UnixStream::connect(&path).is_ok() {
                let _ = thread.join();
            }
            let _ = std::fs::remove_file(&path);
        }
        let cables = std::mem::take(&mut *lock(&self.shared.cables));
        for cable in cables {
            let _ = cable.socket.shutdown(std::net::Shutdown::Both);
            let _ = cable.reader.join();
            let _ = cable.writer.join();
        }
        // The lock makes sure that the timer is either waiting or will look
        // at `stopping` again.
        drop(self.shared.fabric());
        self.shared.held.notify_all();
        if let Some(timer) = self.timer.take() {
            let _ = timer.join();
        }
    }
}

impl Counters {
    fn plus(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            sent: self.sent + other.sent,
            overflowed: self.overflowed + other.overflowed,
            faulted: self.faulted + other.faulted,
        }
    }
}

impl Shared {
    fn fabric(&self) -> MutexGuard<'_, Fabric> {
        lock(&self.fabric)
    }

    fn plug_in(shared: &Arc<Self>, socket: UnixStream, name: &Arc<str>) -> io::Result<()> {
        let (reading, writing) = (socket.try_clone()?, socket.try_clone()?);
        let queue = Arc::new(Queue::default());
        let id = shared.fabric().attach(Arc::clone(name), Arc::clone(&queue));
        let reader = thread::spawn({
            let shared = Arc::clone(shared);
            move || {
                // An error and the end of the stream mean the same: unplugged.
                let _ = shared.read_frames(id, reading);
                shared.fabric().detach(id);
            }
        });
        let writer = thread::spawn(move || write_frames(&queue, writing));
        lock(&shared.cables).push(Cable {
            socket,
            reader,
            writer,
        });
        Ok(())
    }

    /// Forwards what `socket` sends until it ends or breaks the framing.
    fn read_frames(&self, from: PlugId, mut socket: UnixStream) -> io::Result<()> {
        let mut buf = vec![0; READ_BATCH];
        let mut filled = 0;
        loop {
            let n = socket.read(&mut buf[filled..])?;
            if n == 0 {
                return Ok(());
            }
            filled += n;
            let mut rest = &buf[..filled];
            let mut fabric = self.fabric();
            let mut held = false;
            while let Some((frame, next)) = split_frame(rest)? {
                held |= fabric.forward(from, frame);
                rest = next;
            }
            drop(fabric);
            if held {
                self.held.notify_one();
            }
            let used = filled - rest.len();
            buf.copy_within(used..filled, 0);
            filled -= used;
        }
    }

    fn send(&self, from: PlugId, frame: &[u8]) {
        if self.fabric().forward(from, frame) {
            self.held.notify_one();
        }
    }

    /// Lets frames go whose time has come, and keeps the capture readable.
    fn keep_time(&self) {
        let mut fabric = self.fabric();
        let mut flush_at = Instant::now() + FLUSH_EVERY;
        while !self.stopping.load(Ordering::Relaxed) {
            let now = Instant::now();
            for (to, frame) in fabric.held.due(now) {
                fabric.deliver(to, &frame);
            }
            if now >= flush_at {
                if let Some(capture) = &mut fabric.capture {
                    capture.flush();
                }
                flush_at = now + FLUSH_EVERY;
            }
            let until = fabric.held.next_due().unwrap_or(flush_at).min(flush_at);
            let wait = until.saturating_duration_since(now);
            fabric = self
                .held
                .wait_timeout(fabric, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if let Some(capture) = &mut fabric.capture {
            capture.flush();
        }
    }
}

impl Fabric {
    fn attach(&mut self, name: Arc<str>, queue: Arc<Queue>) -> PlugId {
        let id = self.next_id;
        self.next_id += 1;
        let counters = Counters::default();
        self.plugs.insert(
            id,
            Plug {
                name,
                queue,
                counters,
            },
        );
        id
    }

    fn detach(&mut self, id: PlugId) {
        self.stations.retain(|_, at| *at != id);
        self.rules.forget(id);
        if let Some(plug) = self.plugs.remove(&id) {
            plug.queue.close();
            let sum = self.gone.entry(plug.name).or_default();
            *sum = sum.plus(plug.counters);
        }
    }

    /// Sends a frame on to where its destination was last heard, or to
    /// everybody else. Returns whether a fault holds it back for some time.
    fn forward(&mut self, from: PlugId, frame: &[u8]) -> bool {
        let Some(plug) = self.plugs.get_mut(&from) else {
            return false;
        };
        plug.counters.received += 1;
        let (Some(destination), Some(source)) = (address(frame, 0), address(frame, 6)) else {
            return false;
        };
        if frame.len() < MIN_FRAME {
            return false;
        }
        if is_unicast(source) {
            self.stations.insert(source, from);
        }
        let mut notes = String::new();
        let mut held = false;
        match self.stations.get(&destination) {
            Some(&to) if is_unicast(destination) => {
                if to != from {
                    held = self.pass(from, to, frame, &mut notes);
                }
            }
            _ => {
                let others: Vec<PlugId> = self
                    .plugs
                    .keys()
                    .copied()
                    .filter(|to| *to != from)
                    .collect();
                for to in others {
                    held |= self.pass(from, to, frame, &mut notes);
                }
            }
        }
        if let Some(capture) = &mut self.capture
            && let Some(plug) = self.plugs.get(&from)
        {
            capture.frame(&plug.name, frame, &notes);
        }
        held
    }

    /// Puts one frame through the faults between two plugs.
    fn pass(&mut self, from: PlugId, to: PlugId, frame: &[u8], notes: &mut String) -> bool {
        let verdict = match (self.plugs.get(&from), self.plugs.get(&to)) {
            (Some(a), Some(b)) => self.rules.judge((from, &a.name), (to, &b.name), frame),
            _ => return false,
        };
        let overtaken = self.held.overtake((from, to));
        let held = if verdict.is_clean() {
            self.deliver(to, frame);
            false
        } else {
            self.apply(&verdict, from, to, frame, notes)
        };
        for frame in overtaken {
            self.deliver(to, &frame);
        }
        held
    }

    fn apply(
        &mut self,
        verdict: &Verdict,
        from: PlugId,
        to: PlugId,
        frame: &[u8],
        notes: &mut String,
    ) -> bool {
        if let Some(plug) = self.plugs.get_mut(&to) {
            plug.counters.faulted += 1;
            verdict.note(&plug.name, notes);
        }
        if verdict.dropped {
            return false;
        }
        let frame = verdict.corrupted(frame);
        let copies = if verdict.duplicated { 2 } else { 1 };
        let mut held = false;
        for _ in 0..copies {
            if verdict.is_late() && self.held.keep((from, to), &frame, verdict) {
                held = true;
            } else {
                self.deliver(to, &frame);
            }
        }
        held
    }

    fn deliver(&mut self, to: PlugId, frame: &[u8]) {
        if let Some(plug) = self.plugs.get_mut(&to) {
            if plug.queue.push(frame) {
                plug.counters.sent += 1;
            } else {
                plug.counters.overflowed += 1;
            }
        }
    }
}

fn write_frames(queue: &Queue, mut socket: UnixStream) {
    let mut batch = Vec::new();
    while let Taken::Frames = queue.take(&mut batch, None) {
        if socket.write_all(&batch).is_err() {
            // The reader sees the same end and unplugs the port.
            return;
        }
    }
}

/// A port of the switch in the test's own hands.
#[derive(Debug)]
pub struct Port {
    shared: Arc<Shared>,
    id: PlugId,
    queue: Arc<Queue>,
    inbox: Mutex<Inbox>,
}

/// Frames taken from the queue in one go, handed out one by one.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    read: usize,
}

impl Port {
    /// Sends a frame (without FCS) into the switch.
    pub fn send(&self, frame: &[u8]) {
        assert!(frame.len() <= MAX_FRAME, "frame of {} bytes", frame.len());
        self.shared.send(self.id, frame);
    }

    /// The next frame for this port, or `None` when none came in `timeout`.
    pub fn recv(&self, timeout: Duration) -> Option<Vec<u8>> {
        let mut inbox = lock(&self.inbox);
        if inbox.read == inbox.bytes.len() {
            inbox.read = 0;
            match self
                .queue
                .take(&mut inbox.bytes, Some(Instant::now() + timeout))
            {
                Taken::Frames => {}
                Taken::Nothing | Taken::Closed => {
                    inbox.bytes.clear();
                    return None;
                }
            }
        }
        let left = &inbox.bytes[inbox.read..];
        let (frame, rest) = split_frame(left).ok()??;
        let (frame, rest) = (frame.to_vec(), rest.len());
        inbox.read = inbox.bytes.len() - rest;
        Some(frame)
    }

    /// Waits up to `timeout` for a frame that `wanted` turns into something;
    /// other frames are thrown away.
    pub fn find<T>(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = self.recv(left)?;
            if let Some(found) = wanted(&frame) {
                return Some(found);
            }
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.shared.fabric().detach(self.id);
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

fn is_unicast(address: [u8; 6]) -> bool {
    address[0] & 1 == 0
}

/// A thread that panicked while it held the lock has already failed its test;
/// the others still need to unplug.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
