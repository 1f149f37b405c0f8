//! The sender's side of updates over HTTP: signs a program or a file and puts it on a running board.
//!
//! Written against the protocol as `ichor::update` describes it, not with its
//! code: that the two understand each other is tested over a real connection.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::checksum::sha256;

/// Where HTTP is served unless the operator says otherwise.
const DEFAULT_PORT: u16 = 8080;
/// Bytes between two looks at the progress.
const PIECE: usize = 16 * 1024;
/// A board that writes to a slow card can be silent for this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// For a board that may be off.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two looks whether the board is back.
const LOOK: Duration = Duration::from_millis(500);
/// No answer of a board is longer.
const LONGEST_ANSWER: usize = 64 * 1024;

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// The board's program.
    Firmware,
    /// A file, by its path below the data folder.
    File(&'a str),
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Firmware => f.write_str("firmware"),
            Self::File(path) => f.write_str(path),
        }
    }
}

/// The secret that a board and its operator share.
#[derive(Clone, Copy)]
pub struct Key([u8; 32]);

impl Key {
    /// A key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key from 64 hexadecimal digits, with white space around them.
    ///
    /// # Errors
    /// If the text is something else.
    pub fn from_hex(text: &str) -> Result<Self> {
        let digits = text.trim();
        let mut bytes = [0; 32];
        ensure!(
            digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "expected 64 hexadecimal digits"
        );
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16)?;
        }
        Ok(Self(bytes))
    }

    fn sign(&self, text: &str) -> Result<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).map_err(anyhow::Error::msg)?;
        mac.update(text.as_bytes());
        let bytes = mac.finalize().into_bytes();
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What a board says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its kind.
    pub board: String,
    /// The version of its program.
    pub version: String,
    /// Changes with every restart.
    pub run: String,
    /// Good for one update; none if the board takes no updates now.
    pub nonce: Option<String>,
    /// Whether it would take an update, for people.
    pub state: String,
}

/// A board that can be reached over HTTP.
#[derive(Debug, Clone)]
pub struct Board {
    /// Host and port.
    authority: String,
}

/// What a board answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Board {
    /// The board at `HOST[:PORT]`.
    #[must_use]
    pub fn at(to: &str) -> Self {
        let bare = to.trim_start_matches("http://").trim_end_matches('/');
        // The colons of a bare IPv6 address are no port.
        let after = bare.rsplit(']').next().unwrap_or(bare);
        let port = after.contains(':');
        Self {
            authority: if port {
                bare.to_owned()
            } else {
                format!("{bare}:{DEFAULT_PORT}")
            },
        }
    }

    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Asks who the board is, and for a nonce.
    ///
    /// # Errors
    /// If there is no board, or none that takes updates.
    pub fn about(&self) -> Result<About> {
        let answer = self.ask("GET", "/update", PATIENCE)?;
        self.check(&answer)?;
        let text = |name| {
            let value = json_string(&answer.body, name).flatten();
            value.with_context(|| format!("{}: /update tells no {name:?}", self.authority))
        };
        Ok(About {
            board: text("board")?,
            version: text("version")?,
            run: text("run")?,
            nonce: json_string(&answer.body, "nonce").flatten(),
            state: text("state")?,
        })
    }

    /// The tag that the board gives a file of `assets/`; none if it has no
    /// such file.
    ///
    /// # Errors
    /// If the board cannot be reached.
    pub fn etag(&self, path: &str) -> Result<Option<String>> {
        let answer = self.ask("HEAD", &format!("/{}", encoded(path)), PATIENCE)?;
        let etag = field(&answer.head, "etag").map(str::to_owned);
        Ok(etag.filter(|_| answer.status == 200))
    }

    /// Puts `content` in the place of what the board has, and returns what it
    /// says to that. `progress` is told how many bytes were sent.
    ///
    /// # Errors
    /// If the board refuses, with its reason, or the connection breaks; then
    /// the board has what it had.
    pub fn put(
        &self,
        key: &Key,
        what: What<'_>,
        content: &[u8],
        progress: &mut dyn FnMut(usize),
    ) -> Result<String> {
        let about = self.about()?;
        let Some(nonce) = about.nonce else {
            bail!("{}: takes no updates: {}", self.authority, about.state);
        };
        let (hash, len) = (sha256(content)?, content.len());
        let path = match what {
            What::Firmware => "/update/firmware".to_owned(),
            What::File(path) => format!("/update/files/{path}"),
        };
        let mac = key.sign(&format!("PUT\n{path}\n{nonce}\n{hash}\n{len}"))?;
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nExpect: 100-continue\r\n\
             Content-Length: {len}\r\nIchor-Nonce: {nonce}\r\nIchor-Sha256: {hash}\r\n\
             Ichor-Mac: {mac}\r\n\r\n",
            encoded(&path),
            self.authority
        );
        let mut line = self.connect(PATIENCE)?;
        line.send(head.as_bytes())?;
        let mut answer = line.receive(true)?;
        if answer.status == 100 {
            let mut sent = 0;
            let mut failed = None;
            for piece in content.chunks(PIECE) {
                // Who stops reading says why first.
                if let Err(error) = line.send(piece) {
                    failed = Some(error);
                    break;
                }
                sent += piece.len();
                progress(sent);
            }
            answer = match (line.receive(true), failed) {
                (Ok(answer), _) => answer,
                (Err(_), Some(error)) | (Err(error), None) => {
                    return Err(error.context(format!("after {sent} of {len} bytes")));
                }
            };
        }
        self.check(&answer)?;
        Ok(answer.body.trim_end().to_owned())
    }

    /// Waits until a board that was `before` has restarted, and asks it who it
    /// is now.
    ///
    /// # Errors
    /// If it is not back in time.
    pub fn wait_for_restart(&self, before: &About, within: Duration) -> Result<About> {
        let deadline = Instant::now() + within;
        loop {
            let error = match self.about() {
                Ok(about) if about.run != before.run => return Ok(about),
                Ok(_) => anyhow::anyhow!("it still answers as before"),
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(error.context(format!(
                    "{} has not restarted within {} s; its console says why",
                    self.authority,
                    within.as_secs()
                )));
            }
            thread::sleep(LOOK);
        }
    }

    /// A request without a body.
    fn ask(&self, method: &str, target: &str, patience: Duration) -> Result<Answer> {
        let mut line = self.connect(patience)?;
        let host = &self.authority;
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        line.send(head.as_bytes())?;
        line.receive(method != "HEAD")
    }

    fn connect(&self, patience: Duration) -> Result<Line> {
        let name = &self.authority;
        let addresses = name.to_socket_addrs();
        let addresses = addresses.with_context(|| format!("{name}: expected HOST or HOST:PORT"))?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(patience))?;
                    stream.set_write_timeout(Some(patience))?;
                    stream.set_nodelay(true)?;
                    return Ok(Line {
                        stream,
                        name: name.clone(),
                        bytes: Vec::new(),
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error).with_context(|| format!("cannot connect to {name}")),
            None => bail!("{name} has no address"),
        }
    }

    fn check(&self, answer: &Answer) -> Result<()> {
        let reason = answer.body.trim_end().replace('\n', ": ");
        let (name, status) = (&self.authority, answer.status);
        ensure!(status == 200, "{name} answers {status}: {reason}");
        Ok(())
    }
}

/// A connection to a board.
struct Line {
    stream: TcpStream,
    name: String,
    /// Read and not yet used.
    bytes: Vec<u8>,
}

impl Line {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.stream.write_all(bytes);
        sent.with_context(|| format!("sending to {}", self.name))
    }

    /// Reads the next answer, `100 Continue` included.
    fn receive(&mut self, body: bool) -> Result<Answer> {
        let head_len = loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read()?;
        };
        let head = String::from_utf8_lossy(&self.bytes[..head_len]).into_owned();
        self.bytes.drain(..head_len);
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let (Some(status), true) = (status, head.starts_with("HTTP/1.")) else {
            bail!("{} does not speak HTTP", self.name);
        };
        let len = match field(&head, "content-length") {
            Some(len) if body => len.parse().context("the answer's length is no number")?,
            _ => 0,
        };
        ensure!(
            len <= LONGEST_ANSWER,
            "an answer of {len} bytes is too long"
        );
        while self.bytes.len() < len {
            self.read()?;
        }
        let body = String::from_utf8_lossy(&self.bytes[..len]).into_owned();
        self.bytes.drain(..len);
        Ok(Answer { status, head, body })
    }

    fn read(&mut self) -> Result<()> {
        ensure!(
            self.bytes.len() <= 2 * LONGEST_ANSWER,
            "{} answers too much",
            self.name
        );
        let mut buffer = [0; 4096];
        let n = match self.stream.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("{} does not answer", self.name)
            }
            Err(error) => {
                return Err(error).with_context(|| format!("hearing from {}", self.name));
            }
        };
        ensure!(n > 0, "{} closed without an answer", self.name);
        self.bytes.extend_from_slice(&buffer[..n]);
        Ok(())
    }
}

/// The value of a field of a response head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// A path with `%` escapes for all that a request line cannot hold.
fn encoded(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

/// A string of a flat JSON object: `Some(None)` where it is `null`.
fn json_string(json: &str, name: &str) -> Option<Option<String>> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    if rest.starts_with("null") {
        return Some(None);
    }
    let mut chars = rest.strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(Some(value)),
            '\\' => match chars.next()? {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    value.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_named_by_host_and_port() {
        for (to, authority) in [
            ("192.0.2.1", "192.0.2.1:8080"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("http://cm3.lan/", "cm3.lan:8080"),
            ("[2001:db8::1]", "[2001:db8::1]:8080"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(Board::at(to).authority(), authority);
        }
    }

    #[test]
    fn answers_are_read() {
        let json = r#"{"board":"cm3","state":"a \"b\" \u0041","nonce":null}"#;
        assert_eq!(json_string(json, "board"), Some(Some("cm3".into())));
        assert_eq!(json_string(json, "state"), Some(Some("a \"b\" A".into())));
        assert_eq!(json_string(json, "nonce"), Some(None));
        assert_eq!(json_string(json, "run"), None);
        assert_eq!(
            field("HTTP/1.1 200 OK\r\nETag: \"a\"\r\n", "etag"),
            Some("\"a\"")
        );
        assert_eq!(encoded("/a b/é%"), "/a%20b/%C3%A9%25");
    }

    #[test]
    fn keys_are_64_digits() {
        assert!(Key::from_hex(&format!("{}\n", "aF".repeat(32))).is_ok());
        for wrong in ["", &"a".repeat(63), &"é".repeat(32), &"+a".repeat(32)] {
            assert!(Key::from_hex(wrong).is_err(), "{wrong}");
        }
    }
}
