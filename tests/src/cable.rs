//! A bad cable between two namespaces: what one end sends meets the lab's faults on its way to the other.
//!
//! It needs no `sch_netem`, which not every kernel has: both ends are TAP
//! devices, and a thread for each direction carries the frames.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::faults::{Fault, Held, Rules};
use crate::link::{HOST, Link};
use crate::netns::Netns;
use crate::site::CLIENT;
use crate::switch::PlugId;
use crate::tools::Tools;

/// The server's end, for [`Fault::from`] and [`Fault::to`].
pub const SERVER: &str = "server";
/// The clients' end.
pub const CLIENTS: &str = "clients";

/// Longest frame: the devices have an MTU of 1,500.
const FRAME: usize = 1_600;
/// Frames taken in a row before those that were held back are looked at.
const BURST: usize = 64;
/// The longest sleep: so soon the threads hear that the cable is gone.
const SLEEP: Duration = Duration::from_millis(50);
/// Frames that an end holds until they are carried on, as a switch's port does.
const QUEUE: u32 = 1_000;

/// The cable's two directions. Dropping it unplugs both ends.
#[derive(Debug)]
pub struct Cable {
    lanes: [Arc<Lane>; 2],
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    from: (PlugId, &'static str),
    to: (PlugId, &'static str),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Rules,
    held: Held,
}

impl Cable {
    /// Lays a cable without faults. Both ends are called `eth0` and have the
    /// addresses of [`Link::lay`].
    pub fn lay(tools: &Tools) -> Result<(Link, Self)> {
        let link = Link {
            server: Netns::create(tools, "server")?,
            client: Netns::create(tools, "client")?,
        };
        let plug = |netns: &Netns, address| -> Result<File> {
            let device = netns.inside(|| {
                ichor_hal_linux::open_tap("eth0").context("cannot make a TAP device called eth0")
            })?;
            netns.ip(&format!("link set eth0 txqueuelen {QUEUE} up"))?;
            netns.address(address, 24)?;
            Ok(device)
        };
        let (server, client) = (plug(&link.server, HOST)?, plug(&link.client, CLIENT)?);
        let (a, b) = ((0, SERVER), (1, CLIENTS));
        let lane = |from, to| {
            let state = Mutex::default();
            Arc::new(Lane { from, to, state })
        };
        let mut cable = Self {
            lanes: [lane(a, b), lane(b, a)],
            stopping: Arc::default(),
            threads: Vec::new(),
        };
        let ends = [(server.try_clone()?, client.try_clone()?), (client, server)];
        for (lane, (from, to)) in cable.lanes.iter().zip(ends) {
            let (lane, stopping) = (Arc::clone(lane), Arc::clone(&cable.stopping));
            cable
                .threads
                .push(thread::spawn(move || lane.carry(from, to, &stopping)));
        }
        Ok((link, cable))
    }

    /// From now on the cable has these faults alone, with fresh dice.
    pub fn order(&self, faults: &[Fault]) {
        for lane in &self.lanes {
            let mut state = lane.state();
            state.rules.clear();
            for fault in faults {
                state.rules.push(fault.clone());
            }
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry(&self, from: File, to: File, stopping: &AtomicBool) {
        let mut frame = [0; FRAME];
        while !stopping.load(Ordering::Relaxed) {
            let mut state = self.state();
            let now = Instant::now();
            for (_, frame) in state.held.due(now) {
                send(&to, &frame);
            }
            for _ in 0..BURST {
                match (&from).read(&mut frame) {
                    Ok(len) => self.pass(&mut state, &frame[..len], &to),
                    Err(_) => break,
                }
            }
            let due = state.held.next_due();
            drop(state);
            let wait = due.map_or(SLEEP, |due| {
                due.saturating_duration_since(Instant::now()).min(SLEEP)
            });
            // A device that is down reads as nothing, and the wait ends.
            let timeout = Timespec::try_from(wait).ok();
            let _ = poll(&mut [PollFd::new(&from, PollFlags::IN)], timeout.as_ref());
        }
    }

    fn pass(&self, state: &mut State, frame: &[u8], to: &File) {
        let flow = (self.from.0, self.to.0);
        let verdict = state.rules.judge(self.from, self.to, frame);
        let overtaken = state.held.overtake(flow);
        if verdict.is_clean() {
            send(to, frame);
        } else if !verdict.dropped {
            let frame = verdict.corrupted(frame);
            for _ in 0..=u8::from(verdict.duplicated) {
                if !(verdict.is_late() && state.held.keep(flow, &frame, &verdict)) {
                    send(to, &frame);
                }
            }
        }
        for frame in overtaken {
            send(to, &frame);
        }
    }
}

/// A device that takes no frame loses it, as a cable does.
fn send(mut to: &File, frame: &[u8]) {
    while let Err(error) = to.write(frame) {
        if error.kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}
