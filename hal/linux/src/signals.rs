//! SIGTERM, SIGINT and SIGHUP as something a task can wait for.

use std::io;
use std::os::unix::net::UnixStream;

use embassy_futures::select::{Either3, select3};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{Reactor, Source};

/// What somebody asks of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGINT, Ctrl-C: the same.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Hangup,
}

/// Delivers signals to one task. From here on they no longer end the process.
pub struct Signals {
    terminate: Source,
    interrupt: Source,
    hangup: Source,
}

impl Signals {
    /// Takes over the three signals.
    pub fn new(reactor: &Reactor) -> io::Result<Self> {
        Ok(Self {
            terminate: pipe_of(SIGTERM, reactor)?,
            interrupt: pipe_of(SIGINT, reactor)?,
            hangup: pipe_of(SIGHUP, reactor)?,
        })
    }

    /// The next signal. One that comes several times before it is asked for
    /// counts once.
    pub async fn next(&mut self) -> Signal {
        let first = select3(
            arrived(&self.terminate),
            arrived(&self.interrupt),
            arrived(&self.hangup),
        );
        match first.await {
            Either3::First(()) => Signal::Terminate,
            Either3::Second(()) => Signal::Interrupt,
            Either3::Third(()) => Signal::Hangup,
        }
    }
}

/// The handler writes a byte into a socket pair, which the reactor watches.
fn pipe_of(signal: i32, reactor: &Reactor) -> io::Result<Source> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, write)?;
    reactor.register(read)
}

async fn arrived(pipe: &Source) {
    let mut bytes = [0; 64];
    while !matches!(rustix::io::read(pipe, &mut bytes), Ok(1..)) {
        pipe.readable().await;
    }
}
