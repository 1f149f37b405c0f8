//! A device at a unix socket that QEMU connects to.

use std::io::{self, Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::Device;
use super::session::Session;

/// Bytes read at once: a full bulk OUT transfer and its header.
const READ_BATCH: usize = 128 * 1024;

/// A device that waits at a socket. QEMU may come, go and come again: each
/// time the device is freshly powered. Dropping it unplugs it for good.
#[derive(Debug)]
pub struct Plug<D> {
    shared: Arc<Shared<D>>,
    path: PathBuf,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<D> {
    state: Mutex<State<D>>,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct State<D> {
    session: Session<D>,
    socket: Option<UnixStream>,
    /// Why the last connection ended, if it was by a fault.
    fault: Option<String>,
}

impl<D: Device + 'static> Plug<D> {
    /// Waits for QEMU at the unix socket `path`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(path: &Path, device: D) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                session: Session::new(device),
                socket: None,
                fault: None,
            }),
            stopping: AtomicBool::new(false),
        });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for socket in listener.incoming() {
                    if shared.stopping.load(Ordering::Relaxed) {
                        break;
                    }
                    // One device, one port: who comes second waits.
                    if let Ok(socket) = socket {
                        shared.serve(socket);
                    }
                }
            }
        });
        Ok(Self {
            shared,
            path: path.to_owned(),
            listener: Some(thread),
        })
    }

    /// Where it waits.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether QEMU is connected.
    pub fn is_connected(&self) -> bool {
        self.shared.lock().socket.is_some()
    }

    /// What was wrong with the last connection, if anything was: it did not
    /// speak the protocol, or turned the device down.
    pub fn fault(&self) -> Option<String> {
        let state = self.shared.lock();
        let rejected = state.session.is_rejected();
        let rejected = rejected.then(|| "QEMU has rejected the device".to_owned());
        state.fault.clone().or(rejected)
    }

    /// Does something with the device, and then tells QEMU what it has to say.
    pub fn with<T>(&self, act: impl FnOnce(&mut D) -> T) -> T {
        let mut state = self.shared.lock();
        let result = act(state.session.device());
        state.exchange(|session, out| session.poll(Instant::now(), out));
        result
    }

    /// Pulls the device from its port, or puts it back.
    pub fn plug(&self, plugged: bool) {
        let mut state = self.shared.lock();
        state.exchange(|session, out| session.plug(Instant::now(), plugged, out));
    }
}

impl<D> Drop for Plug<D> {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some(socket) = &self.shared.lock().socket {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // A connection to ourselves is what ends the wait in accept(). If the
        // path is gone, so is the way to end it.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(thread) = self.listener.take()
        {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

impl<D> Shared<D> {
    /// A test that panicked with the lock has failed already; others still end.
    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Device> Shared<D> {
    /// Serves one connection until it ends.
    fn serve(&self, mut socket: UnixStream) {
        let Ok(writing) = socket.try_clone() else {
            return;
        };
        {
            let mut state = self.lock();
            state.fault = None;
            state.socket = Some(writing);
            state.exchange(|session, out| session.connect(out));
        }
        let mut buf = vec![0; READ_BATCH];
        // An error and the end of the stream mean the same: unplugged.
        while let Ok(n @ 1..) = socket.read(&mut buf) {
            let mut state = self.lock();
            let mut result = Ok(());
            state.exchange(|session, out| {
                result = session.on_bytes(Instant::now(), &buf[..n], out);
            });
            if let Err(error) = result {
                state.fault = Some(error.to_string());
                break;
            }
        }
        let _ = socket.shutdown(Shutdown::Both);
        let mut state = self.lock();
        state.socket = None;
        state.session.disconnect(Instant::now());
    }
}

impl<D> State<D> {
    /// Writes what `act` has the session say. A failed write shows to the
    /// reader as the end of the stream.
    fn exchange(&mut self, act: impl FnOnce(&mut Session<D>, &mut Vec<u8>)) {
        let mut out = Vec::new();
        act(&mut self.session, &mut out);
        if let Some(socket) = &mut self.socket {
            let _ = socket.write_all(&out);
        }
    }
}
