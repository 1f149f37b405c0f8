//! Drives the DHCP, TFTP and HTTP clients that people really use, inside a namespace.

mod load;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

pub use self::load::Load;
use crate::netns::Netns;

/// No client of a test may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both DHCP clients hand what they got to a script, in its environment.
const LEASE_SCRIPT: &str =
    "#!/bin/sh\n{ echo \"event=$1$reason\"; env; echo told=all; } >> \"$LAB_LEASE\"\n";

/// Clients inside a namespace, with a folder for what they fetch.
#[derive(Debug)]
pub struct Clients<'a> {
    netns: &'a Netns,
    folder: PathBuf,
}

/// What a DHCP client told its script, under the names that this client uses.
#[derive(Debug)]
pub struct Lease(BTreeMap<String, String>);

impl Lease {
    /// A variable, or `""`.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// An HTTP response as curl saw it.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body, without any coding.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value, or `""`; `name` in lower case.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

impl<'a> Clients<'a> {
    /// Clients in `netns` that keep their files in `folder`.
    pub fn new(netns: &'a Netns, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            netns,
            folder: folder.to_owned(),
        })
    }

    /// busybox' `udhcpc`: asks for a lease on `eth0` once. Its names are
    /// `ip`, `subnet`, `router`, `dns`, `lease`, `siaddr`, `boot_file` ….
    pub fn udhcpc(&self, more: &[&str]) -> Result<Lease> {
        let (script, lease) = self.lease_files("udhcpc")?;
        let mut command = self.netns.command("busybox")?;
        command
            .args([
                "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "2", "-s",
            ])
            .arg(script)
            .args(more)
            .env("LAB_LEASE", &lease);
        finish(&mut command)?;
        read_lease(&lease, &["bound", "renew"])
    }

    /// ISC `dhclient`: asks for a lease on `eth0` once. Its names are
    /// `new_ip_address`, `new_routers`, `new_dhcp_lease_time`, `new_filename` ….
    pub fn dhclient(&self) -> Result<Lease> {
        let (script, lease) = self.lease_files("dhclient")?;
        let leases = self.folder.join("dhclient.leases");
        let config = self.folder.join("dhclient.conf");
        fs::write(&leases, "")?;
        fs::write(
            &config,
            "timeout 20;\nalso request tftp-server-name, bootfile-name;\n",
        )?;
        let mut command = self.netns.command("dhclient")?;
        command
            .args(["-4", "-1", "-d", "-sf"])
            .arg(script)
            .arg("-lf")
            .arg(leases)
            .arg("-pf")
            .arg(self.folder.join("dhclient.pid"))
            .arg("-cf")
            .arg(config)
            .arg("-e")
            .arg(format!("LAB_LEASE={}", lease.display()))
            .arg("eth0");
        // It stays in the foreground to renew: its lease is all we want.
        let mut process = Bounded::start(&mut command)?;
        let found = process.until(|| read_lease(&lease, &["BOUND", "REBOOT"]).ok());
        found.with_context(|| format!("dhclient got no lease; {}", process.end()))
    }

    /// `curl` with further arguments, for one URL.
    pub fn curl(&self, url: &str, more: &[&str]) -> Result<Response> {
        let (head, body) = (self.folder.join("curl.head"), self.folder.join("curl.body"));
        let _ = fs::remove_file(&body);
        let mut command = self.netns.command("curl")?;
        command
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "50",
                "--path-as-is",
                "--dump-header",
            ])
            .arg(&head)
            .arg("--output")
            .arg(&body)
            .args(more)
            .arg(url);
        finish(&mut command)?;
        // No body leaves no file.
        let body = fs::read(&body).unwrap_or_default();
        parse_head(&fs::read_to_string(&head)?, body)
            .with_context(|| format!("curl saw no response from {url}"))
    }

    /// `curl` for one URL that must be there: the body, and how long the
    /// transfer took from the connection's begin to its last byte.
    pub fn curl_timed(&self, url: &str) -> Result<(Vec<u8>, Duration)> {
        let body = self.fresh("curl.body")?;
        let mut command = self.netns.command("curl")?;
        command
            .args(["--silent", "--show-error", "--fail", "--max-time", "50"])
            .args(["--write-out", "%{time_total}", "--output"])
            .arg(&body)
            .arg(url);
        let printed = finish(&mut command)?;
        let seconds = printed.trim().parse().ok();
        let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let took = seconds.with_context(|| format!("curl printed {printed:?}"))?;
        Ok((fetched(&body, &printed)?, took))
    }

    /// Fetches several URLs with one `curl`; returns how many connections it
    /// opened for each.
    pub fn curl_connections(&self, urls: &[&str]) -> Result<Vec<u32>> {
        let mut command = self.netns.command("curl")?;
        command.args(["--silent", "--show-error", "--fail", "--max-time", "50"]);
        command.args(["--write-out", "%{num_connects}\\n"]);
        for url in urls {
            command.args(["--output", "/dev/null", url]);
        }
        let output = finish(&mut command)?;
        output
            .lines()
            .map(|line| {
                line.parse()
                    .with_context(|| format!("curl printed {line:?}"))
            })
            .collect()
    }

    /// `tftp` of tftp-hpa: `mode` is `octet` or `netascii`.
    pub fn tftp_hpa(&self, server: &str, file: &str, mode: &str) -> Result<Vec<u8>> {
        let to = self.fresh("tftp-hpa")?;
        let mut command = self.netns.command("tftp")?;
        command
            .args(["-m", mode, server, "-c", "get", file])
            .arg(&to);
        let said = finish(&mut command)?;
        // It ends well even if the server said no.
        ensure!(!said.contains("Error code"), "tftp-hpa: {}", said.trim());
        fetched(&to, &said)
    }

    /// `atftp` with options such as `windowsize 16`.
    pub fn atftp(&self, server: &str, file: &str, options: &[&str]) -> Result<Vec<u8>> {
        let to = self.fresh("atftp")?;
        let mut command = self.netns.command("atftp")?;
        for option in options {
            command.args(["--option", option]);
        }
        command
            .args(["--get", "--remote-file", file, "--local-file"])
            .arg(&to)
            .arg(server);
        let said = finish(&mut command)?;
        fetched(&to, &said)
    }

    /// busybox' `tftp` with a block size.
    pub fn busybox_tftp(&self, server: &str, file: &str, blksize: u16) -> Result<Vec<u8>> {
        let to = self.fresh("busybox")?;
        let mut command = self.netns.command("busybox")?;
        command
            .args(["tftp", "-g", "-b", &blksize.to_string(), "-r", file, "-l"])
            .arg(&to)
            .arg(server);
        let said = finish(&mut command)?;
        fetched(&to, &said)
    }

    fn lease_files(&self, client: &str) -> Result<(PathBuf, PathBuf)> {
        let script = self.folder.join(format!("{client}.script"));
        fs::write(&script, LEASE_SCRIPT)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok((script, self.fresh(&format!("{client}.lease"))?))
    }

    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        if path.exists() {
            fs::remove_file(&path)?;
        }
        Ok(path)
    }
}

fn fetched(path: &Path, said: &str) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("nothing fetched: {}", said.trim()))?;
    Ok(bytes)
}

fn read_lease(path: &Path, events: &[&str]) -> Result<Lease> {
    let text = fs::read_to_string(path).context("the client never called its script")?;
    // Each call of the script begins a new part; the last one that tells of a
    // lease counts.
    let part = text
        .split("event=")
        // Or the client is still at it.
        .filter(|part| part.lines().any(|line| line == "told=all"))
        .filter(|part| events.iter().any(|event| part.starts_with(event)))
        .last();
    let part = part.context("the client got no lease")?;
    let variables = part.lines().skip(1).filter_map(|line| line.split_once('='));
    // The clients' own names have no capitals, those of a shell have.
    let variables = variables.filter(|(key, _)| {
        key.starts_with(|c: char| c.is_ascii_lowercase()) && *key == key.to_lowercase()
    });
    Ok(Lease(
        variables
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    ))
}

fn parse_head(text: &str, body: Vec<u8>) -> Option<Response> {
    // A 100 (Continue) may come first.
    let last = text
        .split("\r\n\r\n")
        .filter(|head| !head.trim().is_empty())
        .last()?;
    let mut lines = last.lines();
    let status = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response {
        status,
        headers,
        body,
    })
}

/// Runs a client to its end; what it printed, or an error with it.
fn finish(command: &mut Command) -> Result<String> {
    let (output, success) = finish_any(command)?;
    ensure!(success, "{} failed: {}", told(command), output.trim());
    Ok(output)
}

/// The client's own command line, without the namespace it is run in and what
/// is set for it.
fn told(command: &Command) -> String {
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    let env = words.iter().position(|word| word == "env");
    let own = words.iter().skip(env.map_or(0, |env| env + 1));
    let mut own = own
        .skip_while(|word| word.contains('='))
        .map(|word| &**word);
    let program = Path::new(own.next().unwrap_or_default()).file_name();
    let program = program.unwrap_or_default().to_string_lossy();
    std::iter::once(&*program)
        .chain(own)
        .collect::<Vec<_>>()
        .join(" ")
}

fn finish_any(command: &mut Command) -> Result<(String, bool)> {
    let mut process = Bounded::start(command)?;
    let status = process.until_end()?;
    Ok((process.end(), status))
}

/// A process that cannot outlive its patience.
struct Bounded {
    process: std::process::Child,
    readers: Vec<thread::JoinHandle<String>>,
    deadline: Instant,
}

impl Bounded {
    fn start(command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let process = command.spawn();
        let mut process = process.with_context(|| format!("cannot run {command:?}"))?;
        let mut readers = Vec::new();
        if let Some(stdout) = process.stdout.take() {
            readers.push(read_all(stdout));
        }
        if let Some(stderr) = process.stderr.take() {
            readers.push(read_all(stderr));
        }
        Ok(Self {
            process,
            readers,
            deadline: Instant::now() + PATIENCE,
        })
    }

    /// Waits until `found` finds something, the process ends or patience does.
    fn until<T>(&mut self, found: impl Fn() -> Option<T>) -> Option<T> {
        loop {
            if let Some(it) = found() {
                return Some(it);
            }
            let ended = !matches!(self.process.try_wait(), Ok(None));
            if ended || Instant::now() > self.deadline {
                return found();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end; whether it was a good one.
    fn until_end(&mut self) -> Result<bool> {
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.success());
            }
            if Instant::now() > self.deadline {
                let said = self.end();
                bail!("a client took longer than {PATIENCE:?}: {said}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the process; what it printed.
    fn end(&mut self) -> String {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let texts = self
            .readers
            .drain(..)
            .filter_map(|reader| reader.join().ok());
        texts.collect()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_all(mut output: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still worth showing.
        let _ = output.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curls_header_file_is_read() {
        let text = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\n\r\n";
        let response = parse_head(text, vec![1, 2]).unwrap();
        assert_eq!(response.status, 206);
        assert_eq!(response.header("content-range"), "bytes 0-1/9");
        assert_eq!(response.header("etag"), "");
    }
}
