//! The server as a process: its start, its memory at rest, and the size of its program.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ichor_lab::link::Offloads;
use ichor_lab::servers::Server;
use ichor_lab::usage::{Memory, proportional_memory};

use super::row::{Bar, Bench, MIB, Needs, Of, Rig, Row, Sample, Unit};
use super::summary::median;
use super::wire::{SMALL, Wire};
use crate::build::bastion_for_arm64;
use crate::cross::{Compiler, Target};

const NEEDS: Needs = Needs::of_wire(&["nginx"]);

pub(super) static ROWS: &[Row] = &[
    Row {
        name: "start-http",
        about: "from the start of the process to the first answer by HTTP",
        unit: Unit::MILLISECONDS,
        per: "start",
        contenders: &["ichor", "nginx"],
        bars: &[],
        needs: NEEDS,
        set_up: |bench| Start::set_up(bench, "http"),
    },
    Row {
        name: "start-tftp",
        about: "from the start of the process to the first answer by TFTP",
        unit: Unit::MILLISECONDS,
        per: "start",
        contenders: &["ichor", "dnsmasq"],
        bars: &[],
        needs: Needs {
            programs: &["dnsmasq"],
            ..NEEDS
        },
        set_up: |bench| Start::set_up(bench, "tftp"),
    },
    Row {
        name: "idle",
        about: "memory in RAM a second after the start, with nothing to do",
        unit: Unit::MIB,
        per: "second",
        contenders: &["ichor", "nginx", "dnsmasq"],
        bars: &[Bar::at_most(Of::Value, 16.0)],
        needs: Needs {
            programs: &["nginx", "dnsmasq"],
            ..NEEDS
        },
        set_up: Idle::set_up,
    },
    Row {
        name: "size",
        about: "the static arm64 program without symbols",
        unit: Unit::MIB,
        per: "program",
        contenders: &["ichor"],
        bars: &[Bar::at_most(Of::Value, 4.0)],
        needs: Needs {
            root: false,
            sets: &[],
            programs: &[],
            // It is built first, with all optimisation.
            slow: true,
            once: true,
        },
        set_up: Size::set_up,
    },
];

/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one question waits for its answer: on this cable it takes a fraction of it.
const ANSWER: Duration = Duration::from_millis(5);
/// Starts in one sample.
const STARTS: usize = 3;

/// Servers that are started and asked until they answer.
struct Start {
    wire: Wire,
    scheme: &'static str,
}

impl Start {
    fn set_up(bench: &Bench, scheme: &'static str) -> Result<Box<dyn Rig>> {
        let wire = Wire::lay(bench, Offloads::Off, scheme)?;
        Ok(Box::new(Self { wire, scheme }))
    }

    /// Seconds to the first answer.
    fn start(&self, contender: &str) -> Result<f64> {
        let address = Server::named(contender)?.address();
        let started = Instant::now();
        let mut running = self.wire.launch(contender)?;
        let (port, ask): (u16, fn(SocketAddr) -> bool) = match self.scheme {
            "http" => (8080, answers_http),
            _ => (69, answers_tftp),
        };
        let answered = self.wire.as_client(|| {
            while started.elapsed() < PATIENCE {
                if ask((address, port).into()) {
                    return Ok(Some(started.elapsed()));
                }
            }
            Ok(None)
        })?;
        match answered {
            Some(after) if running.is_running() => Ok(after.as_secs_f64()),
            _ => bail!(
                "{contender} did not answer within {PATIENCE:?}:\n{}",
                running.last_words()
            ),
        }
    }
}

impl Rig for Start {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let seconds = (0..STARTS)
            .map(|_| self.start(contender))
            .collect::<Result<Vec<f64>>>()?;
        Ok(Sample::of(median(&seconds) * 1000.0))
    }
}

/// Whether one request gets a status of 200.
fn answers_http(server: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&server, ANSWER)?;
        // Who took the connection will answer, or close it.
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let request =
            format!("GET /assets/{SMALL} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(&status == b"HTTP/1.1 200")
    };
    ask().unwrap_or_else(|_| {
        // A refusal comes at once: leave the processor to who is to start.
        thread::sleep(Duration::from_micros(500));
        false
    })
}

/// Whether one request gets the first block.
fn answers_tftp(server: SocketAddr) -> bool {
    const DATA: [u8; 2] = [0, 3];
    let ask = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(ANSWER))?;
        let request = format!("\0\x01assets/{SMALL}\0octet\0");
        socket.send_to(request.as_bytes(), server)?;
        let mut answer = [0; 600];
        let (len, _) = socket.recv_from(&mut answer)?;
        Ok(answer[..len].starts_with(&DATA))
    };
    ask().unwrap_or(false)
}

/// Servers that were started and have nothing to do.
struct Idle {
    http: Wire,
    tftp: Wire,
}

impl Idle {
    fn set_up(bench: &Bench) -> Result<Box<dyn Rig>> {
        Ok(Box::new(Self {
            http: Wire::lay(bench, Offloads::Off, "http")?,
            tftp: Wire::lay(bench, Offloads::Off, "tftp")?,
        }))
    }
}

impl Rig for Idle {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let wire = match contender {
            "dnsmasq" => &self.tftp,
            _ => &self.http,
        };
        let running = wire.start(contender)?;
        thread::sleep(Duration::from_secs(1));
        let memory = Memory::of(running.pid())?;
        let proportional = proportional_memory(running.pid())?;
        Ok(Sample {
            value: memory.resident as f64 / MIB,
            figures: vec![("own share (PSS)", proportional as f64 / MIB)],
            ..Sample::default()
        })
    }
}

/// The program as the bastion runs it.
struct Size {
    bytes: u64,
}

impl Size {
    fn set_up(bench: &Bench) -> Result<Box<dyn Rig>> {
        let program = bastion_for_arm64("release")?;
        let stripped = bench.folder.join("ichor-arm64-stripped");
        Compiler::for_target(Target::Linux)?.strip(&program, &stripped)?;
        let cannot = || format!("cannot read {}", stripped.display());
        let bytes = fs::metadata(&stripped).with_context(cannot)?.len();
        Ok(Box::new(Self { bytes }))
    }
}

impl Rig for Size {
    fn take(&mut self, _contender: &str, _run: u32) -> Result<Sample> {
        Ok(Sample::of(self.bytes as f64 / MIB))
    }
}
