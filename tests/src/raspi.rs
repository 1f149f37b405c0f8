//! A Raspberry Pi 3 in QEMU: the machine type on which the CM3's firmware runs in the lab.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::Console;
use crate::qemu::{MacText, Turn, last_words};
use crate::tools::Tools;

/// What the machine runs.
#[derive(Debug, Clone, Copy)]
pub enum Kernel<'a> {
    /// A raw image, which starts at 0x80000 in EL2 with the address of QEMU's
    /// own device tree in x0.
    Raw(&'a Path),
    /// Linux.
    Linux {
        /// Its `Image`.
        image: &'a Path,
        /// The device tree of a board.
        device_tree: &'a Path,
        /// Its initrd.
        initrd: &'a Path,
        /// Its command line.
        arguments: &'a str,
    },
}

/// What is in the one USB port.
#[derive(Debug, Clone, Copy)]
pub enum Attach<'a> {
    /// Nothing.
    Nothing,
    /// QEMU's own full-speed adapter, on a socket of the lab's switch.
    UsbNet {
        /// The socket.
        wire: &'a Path,
        /// The adapter's address.
        mac: [u8; 6],
        /// In the root port itself. Otherwise QEMU puts a full-speed hub
        /// between.
        port1: bool,
    },
    /// A device of the lab, at the socket where it waits (see
    /// [`crate::usbredir`]): in the root port itself, at high speed.
    Redir(&'a Path),
}

/// What to build a machine from.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Its name in logs.
    pub name: &'a str,
    /// What it runs.
    pub kernel: Kernel<'a>,
    /// The image of its SD card; its size must be a power of two.
    pub card: Option<&'a Path>,
    /// What is in its USB port.
    pub attach: Attach<'a>,
    /// Where its logs go.
    pub folder: &'a Path,
}

/// A machine, on or off; dropping it pulls the plug.
#[derive(Debug)]
pub struct Raspi {
    name: String,
    folder: PathBuf,
    command: Command,
    power_ons: u32,
    run: Option<Run>,
    _turn: Option<Turn>,
}

/// The time between power-on and power-off.
#[derive(Debug)]
struct Run {
    qemu: Child,
    powered_on: Instant,
    serial: Serial,
    console: Console,
    log: PathBuf,
    errors: PathBuf,
}

impl Raspi {
    /// Builds a machine and powers it on. It keeps `turn` as long as it exists.
    ///
    /// # Errors
    /// QEMU is not there or does not start.
    pub fn power_on(tools: &Tools, parts: &Parts<'_>, turn: Option<Turn>) -> Result<Self> {
        let mut command = tools.command("qemu-system-aarch64")?;
        board(&mut command, parts);
        let mut raspi = Self {
            name: parts.name.to_owned(),
            folder: parts.folder.to_owned(),
            command,
            power_ons: 0,
            run: None,
            _turn: turn,
        };
        raspi.power_on_again()?;
        Ok(raspi)
    }

    /// Powers it on after [`Raspi::power_off`]. What is on the card is what
    /// was written until then.
    ///
    /// # Errors
    /// It is on, or QEMU does not start.
    pub fn power_on_again(&mut self) -> Result<()> {
        if self.run.is_some() {
            bail!("{} is on already", self.name);
        }
        self.power_ons += 1;
        let errors = self.file("qemu.log");
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?);
        let powered_on = Instant::now();
        let mut qemu = self
            .command
            .spawn()
            .context("cannot start qemu-system-aarch64")?;
        let output = qemu.stdout.take().context("QEMU has no output")?;
        let log = self.file("console.log");
        let (serial, tee) = Serial::listen(output, powered_on, &self.file("serial"))?;
        let console = Console::record(tee, &log)?;
        self.run = Some(Run {
            qemu,
            powered_on,
            serial,
            console,
            log,
            errors,
        });
        Ok(())
    }

    /// Pulls the plug.
    pub fn power_off(&mut self) {
        if let Some(mut run) = self.run.take() {
            let _ = run.qemu.kill();
            let _ = run.qemu.wait();
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its serial line (the PL011) says, as lines of text.
    ///
    /// # Errors
    /// It is off.
    pub fn console(&self) -> Result<&Console> {
        Ok(&self.run()?.console)
    }

    /// What its serial line says, byte by byte.
    ///
    /// # Errors
    /// It is off.
    pub fn serial(&self) -> Result<&Serial> {
        Ok(&self.run()?.serial)
    }

    /// When it was powered on.
    ///
    /// # Errors
    /// It is off.
    pub fn powered_on(&self) -> Result<Instant> {
        Ok(self.run()?.powered_on)
    }

    /// Why it is not where it should be after `timeout`: the end of its
    /// console, and where the rest is.
    pub fn last_words(&self, timeout: Duration) -> String {
        match &self.run {
            Some(run) => last_words(&run.console, &run.log, &run.errors, timeout),
            None => "it is off".to_owned(),
        }
    }

    fn run(&self) -> Result<&Run> {
        let run = self.run.as_ref();
        run.with_context(|| format!("{} is off", self.name))
    }

    /// A file of its own; those of later power-ons have their number.
    fn file(&self, what: &str) -> PathBuf {
        let number = match self.power_ons {
            1 => String::new(),
            number => format!(".{number}"),
        };
        self.folder.join(format!("{}{number}.{what}", self.name))
    }
}

impl Drop for Raspi {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// The bytes of a serial line, with the times at which they came. Clones
/// listen to the same line.
#[derive(Debug, Clone)]
pub struct Serial {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// How many bytes there were, and when they were there.
    marks: Vec<(usize, Duration)>,
    ended: bool,
}

impl Serial {
    /// Listens to what is read through the reader that comes back, and writes
    /// it to the file `log` as it is.
    fn listen<R: Read>(output: R, start: Instant, log: &Path) -> io::Result<(Self, Tee<R>)> {
        let serial = Self {
            shared: Arc::new(Shared {
                start,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
        };
        let tee = Tee {
            output,
            log: File::create(log)?,
            serial: serial.clone(),
        };
        Ok((serial, tee))
    }

    /// The bytes from number `from` on, as far as they have come.
    pub fn bytes_from(&self, from: usize) -> Vec<u8> {
        let state = self.lock();
        state.bytes.get(from..).unwrap_or_default().to_vec()
    }

    /// Waits up to `timeout` until there are more than `count` bytes, and
    /// tells whether there are. The end of the line ends the wait.
    pub fn wait_beyond(&self, count: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while state.bytes.len() <= count {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// How long after power-on byte number `number` was read.
    pub fn time_of(&self, number: usize) -> Option<Duration> {
        let state = self.lock();
        let at = state.marks.partition_point(|(count, _)| *count <= number);
        state.marks.get(at).map(|(_, at)| *at)
    }

    /// Whether the machine is gone.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads on, and lets a [`Serial`] listen.
struct Tee<R> {
    output: R,
    log: File,
    serial: Serial,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.output.read(buf);
        let count = *result.as_ref().unwrap_or(&0);
        // The log is for people; the test goes on without it.
        let _ = self.log.write_all(&buf[..count]);
        let at = self.serial.shared.start.elapsed();
        let mut state = self.serial.lock();
        state.bytes.extend_from_slice(&buf[..count]);
        if count == 0 {
            state.ended = true;
        } else {
            let total = state.bytes.len();
            state.marks.push((total, at));
        }
        drop(state);
        self.serial.shared.changed.notify_all();
        result
    }
}

/// The whole command line.
fn board(command: &mut Command, parts: &Parts<'_>) {
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-machine", "raspi3b", "-serial", "stdio"]);
    match parts.kernel {
        Kernel::Raw(image) => {
            command.arg("-kernel").arg(image);
        }
        Kernel::Linux {
            image,
            device_tree,
            initrd,
            arguments,
        } => {
            command
                .arg("-kernel")
                .arg(image)
                .arg("-dtb")
                .arg(device_tree)
                .arg("-initrd")
                .arg(initrd)
                .args(["-append", arguments]);
        }
    }
    if let Some(card) = parts.card {
        let drive = format!("if=sd,format=raw,file={}", card.display());
        command.args(["-drive", &drive]);
    }
    match parts.attach {
        Attach::Nothing => {}
        Attach::UsbNet { wire, mac, port1 } => {
            let (wire, mac) = (wire.display(), MacText(mac));
            let port = if port1 { ",port=1" } else { "" };
            command
                .arg("-netdev")
                .arg(format!(
                    "stream,id=wire,server=off,addr.type=unix,addr.path={wire}"
                ))
                .arg("-device")
                .arg(format!("usb-net,netdev=wire,mac={mac}{port}"));
        }
        Attach::Redir(socket) => {
            let socket = socket.display();
            command
                .arg("-chardev")
                .arg(format!("socket,id=redir,path={socket},server=off"))
                // Without the port QEMU puts a full-speed hub between.
                .args(["-device", "usb-redir,chardev=redir,port=1"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_line_keeps_every_byte_and_its_time() {
        let log = std::env::temp_dir().join(format!("ichor-serial-{}", std::process::id()));
        let start = Instant::now();
        let (serial, mut tee) = Serial::listen(&b"\0\x1b[2Jdefmt\xFF"[..], start, &log).unwrap();
        assert!(!serial.wait_beyond(0, Duration::from_millis(1)));
        let mut buf = [0; 4];
        tee.read_exact(&mut buf).unwrap();
        assert!(serial.wait_beyond(3, Duration::ZERO));
        assert!(serial.time_of(3).is_some());
        assert_eq!(serial.time_of(4), None, "it has not come yet");
        io::copy(&mut tee, &mut io::sink()).unwrap();
        assert_eq!(serial.bytes_from(5), b"defmt\xFF");
        assert!(serial.has_ended());
        assert!(!serial.wait_beyond(11, Duration::from_secs(5)), "no wait");
        assert_eq!(std::fs::read(&log).unwrap(), b"\0\x1b[2Jdefmt\xFF");
        std::fs::remove_file(&log).unwrap();
    }
}
