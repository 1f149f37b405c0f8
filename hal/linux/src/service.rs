//! What a service manager is told: sd_notify(3), without its library.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use ichor_hal::Watchdog;

/// The service manager that started the process, if one did.
///
/// systemd passes the address of a socket in `NOTIFY_SOCKET`, and in
/// `WATCHDOG_USEC` how often it wants a sign of life. Without them every call
/// does nothing.
#[derive(Debug, Default)]
pub struct ServiceManager {
    channel: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    fed: Option<Instant>,
}

impl ServiceManager {
    /// Finds the service manager by the environment. If it cannot be reached,
    /// a log line says so and nothing is told.
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).ok();
        Self::new(
            variable("NOTIFY_SOCKET").as_deref(),
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
        )
    }

    fn new(socket: Option<&str>, usec: Option<&str>, pid: Option<&str>) -> Self {
        let Some(path) = socket else {
            return Self::default();
        };
        let channel = open(path)
            .inspect_err(|error| log::warn!("NOTIFY_SOCKET={path}: {error}"))
            .ok();
        // The variables are inherited: they may be meant for a parent.
        let for_us = pid.is_none_or(|pid| pid == std::process::id().to_string());
        Self {
            channel,
            watchdog: usec
                .filter(|_| for_us)
                .and_then(|usec| usec.parse().ok())
                .filter(|usec| *usec > 0)
                .map(Duration::from_micros),
            fed: None,
        }
    }

    /// After how long without a sign of life the process is restarted.
    pub fn watchdog_timeout(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Says that the process serves now.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Says that the process is about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Sets the line that `systemctl status` shows.
    pub fn status(&self, text: &str) {
        // One line: a second one would be another message.
        self.tell(&format!("STATUS={}", text.replace('\n', " ")));
    }

    fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.channel
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            log::debug!("the service manager was not told {message}: {error}");
        }
    }
}

impl Watchdog for ServiceManager {
    /// Gives a sign of life, four times in the time that is granted.
    fn feed(&mut self) {
        let Some(timeout) = self.watchdog else { return };
        if self.fed.is_none_or(|fed| fed.elapsed() >= timeout / 4) {
            self.fed = Some(Instant::now());
            self.tell("WATCHDOG=1");
        }
    }
}

fn open(path: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match path.strip_prefix('@') {
        Some(name) => abstract_address(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that is busy must not stop the network.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// An address that is a name and no file.
#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &str) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 200];
        let n = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn systemd_hears_of_everything() {
        let name = format!("ichor-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&abstract_address(&name).unwrap()).unwrap();
        let pid = std::process::id().to_string();
        let mut service =
            ServiceManager::new(Some(&format!("@{name}")), Some("30000000"), Some(&pid));
        assert_eq!(service.watchdog_timeout(), Some(Duration::from_secs(30)));
        service.ready();
        service.status("2 machines\nREADY=0");
        for _ in 0..3 {
            service.feed();
        }
        service.stopping();
        for want in [
            "READY=1",
            "STATUS=2 machines READY=0",
            "WATCHDOG=1",
            "STOPPING=1",
        ] {
            assert_eq!(next(&manager), want);
        }
    }

    #[test]
    fn a_socket_may_be_a_file_and_the_watchdog_anothers() {
        let path = std::env::temp_dir().join(format!("ichor-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut service = ServiceManager::new(path.to_str(), Some("1000000"), Some("1"));
        assert_eq!(service.watchdog_timeout(), None);
        service.feed();
        service.ready();
        assert_eq!(next(&manager), "READY=1");
        std::fs::remove_file(path).unwrap();
        // Nobody there any more: nothing happens.
        service.stopping();
        ServiceManager::default().ready();
    }
}
