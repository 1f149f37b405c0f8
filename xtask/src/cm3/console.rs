//! `cargo xtask console`: what a board says on its serial line, for people.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use ichor_lab::defmt::{Decoder, Level, Program, Said};

use super::image;

/// Where to listen, and to which program.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The serial line, a socket of QEMU's `-serial unix:…`, a file, or `-` for standard input.
    #[arg(long, value_name = "PATH", default_value = "/dev/ttyUSB0")]
    pub port: PathBuf,
    /// The program that runs on the board, instead of target/cm3/ichor-cm3.elf.
    #[arg(long, value_name = "FILE")]
    pub elf: Option<PathBuf>,
    /// Speed of a serial line.
    #[arg(long, value_name = "BAUD", default_value_t = 115_200)]
    pub baud: u32,
}

/// After so long without a byte, what came is no part of a frame: a frame is
/// sent without pauses.
const QUIET: Duration = Duration::from_millis(100);
/// So many unreadable pieces without one readable frame are another program's.
const SUSPICIOUS: u32 = 5;

/// Shows what the board says until the line ends.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = program(options.elf.as_deref())?;
    let has_program = program.is_some();
    let port = open(&options.port, options.baud)?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || forward(port, &sender));
    let mut screen = Screen::new(has_program);
    let mut decoder = Decoder::new(program);
    loop {
        let said = match receiver.recv_timeout(QUIET) {
            Ok(Ok(bytes)) => decoder.push(&bytes),
            Ok(Err(error)) => {
                screen.show(&decoder.end())?;
                let port = options.port.display();
                return Err(error).with_context(|| format!("the line {port} broke off"));
            }
            Err(RecvTimeoutError::Timeout) => decoder.idle(),
            Err(RecvTimeoutError::Disconnected) => return screen.show(&decoder.end()),
        };
        screen.show(&said)?;
    }
}

/// Reads until the end, or the first error.
fn forward(mut port: Box<dyn Read + Send>, to: &mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut bytes = [0; 4096];
    loop {
        let read = match port.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => Ok(bytes[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if to.send(read).is_err() || failed {
            return;
        }
    }
}

/// The program to decode with. Unless one was named, text alone is better than nothing.
fn program(elf: Option<&Path>) -> Result<Option<Program>> {
    if let Some(elf) = elf {
        return Program::read(elf).map(Some);
    }
    let usual = image::default_elf();
    if usual.exists() {
        return Program::read(&usual).map(Some);
    }
    eprintln!(
        "xtask: no {}: text is shown, log messages are not; \
         `cargo xtask build --board cm3` makes it, `--elf` names another",
        usual.display()
    );
    Ok(None)
}

fn open(port: &Path, baud: u32) -> Result<Box<dyn Read + Send>> {
    if port == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let cannot = |error: io::Error| {
        let says = match error.kind() {
            io::ErrorKind::NotFound => ": is the adapter plugged in? `--port` names another",
            io::ErrorKind::PermissionDenied => {
                ": your user may not; on most systems the group dialout may"
            }
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot open {}{says}", port.display()))
    };
    let kind = fs::metadata(port).map_err(cannot)?.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_socket() {
            let socket = std::os::unix::net::UnixStream::connect(port).map_err(cannot)?;
            return Ok(Box::new(socket));
        }
    }
    if kind.is_dir() {
        bail!("{} is a folder", port.display());
    }
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // The board must not get hold of this terminal's Ctrl-C.
        options.custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed());
    }
    let file = options.open(port).map_err(cannot)?;
    if file.is_terminal() {
        set_up(&file, baud)
            .with_context(|| format!("cannot set {} to {baud} baud", port.display()))?;
    }
    Ok(Box::new(file))
}

/// Eight bits, no parity, no handshake, nothing translated.
#[cfg(unix)]
fn set_up(line: &File, baud: u32) -> Result<()> {
    use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};
    let mut settings = tcgetattr(line)?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.control_modes &= !(ControlModes::CSTOPB | ControlModes::CRTSCTS);
    settings.set_speed(baud)?;
    tcsetattr(line, OptionalActions::Now, &settings)?;
    Ok(())
}

#[cfg(not(unix))]
fn set_up(_: &File, _: u32) -> Result<()> {
    bail!("serial lines are read on Linux and macOS alone")
}

/// What a person sees.
struct Screen {
    started: Instant,
    colours: bool,
    has_program: bool,
    /// Unreadable pieces, until the first readable frame.
    unreadable: Option<u32>,
}

impl Screen {
    fn new(has_program: bool) -> Self {
        Self {
            started: Instant::now(),
            colours: io::stdout().is_terminal(),
            has_program,
            unreadable: Some(0),
        }
    }

    fn show(&mut self, said: &[Said]) -> Result<()> {
        let mut out = io::stdout().lock();
        for said in said {
            let at = self.started.elapsed();
            writeln!(out, "{}", line(at, said, self.colours)).context("cannot print")?;
            if self.is_suspicious(said) {
                eprintln!(
                    "xtask: nothing fits so far: does the board run the very program \
                     that the ELF file is of, at this speed?"
                );
            }
        }
        Ok(out.flush()?)
    }

    /// Whether it is time to doubt the program; once.
    fn is_suspicious(&mut self, said: &Said) -> bool {
        match (said, &mut self.unreadable) {
            (Said::Log(_), _) => self.unreadable = None,
            (Said::Lost(_), Some(count)) if self.has_program => {
                *count += 1;
                return *count == SUSPICIOUS;
            }
            _ => {}
        }
        false
    }
}

/// Seconds since the console was opened, and what was said.
fn line(at: Duration, said: &Said, colours: bool) -> String {
    let at = at.as_secs_f64();
    let colour = match said {
        Said::Log(log) => match log.level {
            Some(Level::Error) => "31",
            Some(Level::Warn) => "33",
            Some(Level::Debug | Level::Trace) => "2",
            Some(Level::Info) | None => "",
        },
        Said::Text(_) => "",
        Said::Lost(_) => "2",
    };
    if colours && !colour.is_empty() {
        format!("{at:8.3} \x1b[{colour}m{said}\x1b[0m")
    } else {
        format!("{at:8.3} {said}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ichor_lab::defmt::Log;

    fn log(level: Level) -> Said {
        Said::Log(Log {
            level: Some(level),
            time: Some("2.000000".into()),
            message: "card missing".into(),
            place: None,
        })
    }

    #[test]
    fn colours_are_for_terminals() {
        let at = Duration::from_millis(1500);
        let warn = log(Level::Warn);
        assert_eq!(
            line(at, &warn, false),
            "   1.500 2.000000 WARN  card missing"
        );
        assert_eq!(
            line(at, &warn, true),
            "   1.500 \x1b[33m2.000000 WARN  card missing\x1b[0m"
        );
        assert_eq!(line(at, &Said::Text("hi".into()), true), "   1.500 hi");
    }

    #[test]
    fn another_program_is_suspected_once_and_never_after_a_readable_frame() {
        let lost = Said::Lost(9);
        let mut screen = Screen::new(true);
        let doubts: Vec<bool> = (0..7).map(|_| screen.is_suspicious(&lost)).collect();
        assert_eq!(doubts, [false, false, false, false, true, false, false]);
        let mut screen = Screen::new(true);
        assert!(!screen.is_suspicious(&log(Level::Info)));
        assert!(!(0..7).any(|_| screen.is_suspicious(&lost)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_serial_line_is_read_byte_for_byte() {
        use rustix::fs::OFlags;
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        use rustix::termios::tcgetattr;

        // A pseudo-terminal is a serial line whose other end is ours.
        let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&board).unwrap();
        unlockpt(&board).unwrap();
        let path = PathBuf::from(ptsname(&board, Vec::new()).unwrap().into_string().unwrap());
        // Both ends must be open while the settings are made.
        let mut port = open(&path, 230_400).unwrap();
        let line = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, 0.into()).unwrap();
        assert_eq!(tcgetattr(&line).unwrap().output_speed(), 230_400);
        // What a cooked line would swallow or change.
        let bytes = [0x00, 0x03, 0x04, 0x0D, 0x0A, 0x11, 0x13, 0x7F, 0xFF];
        rustix::io::write(&board, &bytes).unwrap();
        let mut read = [0; 9];
        port.read_exact(&mut read).unwrap();
        assert_eq!(read, bytes);
    }

    #[test]
    fn a_missing_adapter_is_told() {
        let error = open(Path::new("/dev/ttyUSB-none"), 115_200).err().unwrap();
        assert!(error.to_string().contains("plugged in"), "{error}");
    }
}
