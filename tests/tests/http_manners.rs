//! HTTP over the real stack: what clients may do, what they may not, and that
//! those who hang disturb nobody.

mod bench;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bench::{SOON, wait_for_line};
use ichor_lab::checksum::sha256;
use ichor_lab::netns;
use ichor_lab::site::Site;

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8080);
const ROOT: &str = "http://192.0.2.1:8080";
const SECRET: &str = "a secret that no machine may read";

/// How many connections the server has places for.
const PLACES: usize = 256;

/// The file that takes long.
const BIG: usize = 40_000_000;

/// A served site with files small and big, or `None` where none can be made.
fn site(name: &str) -> Result<Option<Site>> {
    if !netns::possible() {
        return Ok(None);
    }
    let mut site = Site::new(name)?;
    let data = site.data();
    for folder in ["assets", "groups", "profiles", "generic"] {
        fs::create_dir_all(data.join(folder))?;
    }
    let big: Vec<u8> = (0..BIG).map(|n| ((n * 31) >> 3) as u8).collect();
    fs::write(data.join("assets/big"), big)?;
    fs::write(data.join("assets/small"), "small file\n")?;
    fs::write(data.join("ichor.toml"), format!("# {SECRET}\n"))?;
    fs::write(data.join("generic/node.yaml"), SECRET)?;
    fs::write(
        data.join("profiles/node.json"),
        format!(r#"{{"id":"node","name":"{SECRET}","boot":{{"kernel":"/assets/small"}}}}"#),
    )?;
    fs::write(
        data.join("groups/default.json"),
        format!(r#"{{"profile":"node","metadata":{{"secret":"{SECRET}"}}}}"#),
    )?;
    site.serve("192.0.2.1/24", &[])?;
    Ok(Some(site))
}

/// A response as it came over a connection.
#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    /// A field's value, or `""`.
    fn field(&self, name: &str) -> &str {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// A connection of a client that does just what it is told.
struct Line {
    stream: TcpStream,
    /// Read and not yet used.
    bytes: Vec<u8>,
}

impl Line {
    /// To be called inside the client's namespace.
    fn open() -> Result<Self> {
        let stream = TcpStream::connect_timeout(&SERVER.into(), SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            bytes: Vec::new(),
        })
    }

    fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Reads the next response; one to a HEAD has no body.
    fn receive(&mut self, body: bool) -> Result<Response> {
        let end = loop {
            let found = self.bytes.windows(4).position(|w| w == b"\r\n\r\n");
            match found {
                Some(at) => break at + 4,
                None => ensure!(self.read()?, "it closed without a response"),
            }
        };
        let head = String::from_utf8(self.bytes.drain(..end).collect())?;
        let status = head.get(9..12).context("a short status line")?.parse()?;
        let mut response = Response {
            status,
            head,
            body: Vec::new(),
        };
        if body && status != 304 {
            let len: usize = response.field("content-length").parse()?;
            while self.bytes.len() < len {
                ensure!(self.read()?, "it closed within a body");
            }
            response.body = self.bytes.drain(..len).collect();
        }
        Ok(response)
    }

    fn get(&mut self, path: &str) -> Result<Response> {
        self.get_with(path, "")
    }

    fn get_with(&mut self, path: &str, fields: &str) -> Result<Response> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))?;
        self.receive(true)
    }

    /// Reads on; false at the end.
    fn read(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        let n = self.stream.read(&mut buffer)?;
        self.bytes.extend(&buffer[..n]);
        Ok(n > 0)
    }

    /// Whether the server has ended the connection by now, in whichever way.
    fn has_ended(&mut self) -> Result<bool> {
        self.stream.set_nonblocking(true)?;
        loop {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Ok(true),
                Err(error) => {
                    let kind = error.downcast_ref().map(std::io::Error::kind);
                    return Ok(kind != Some(ErrorKind::WouldBlock));
                }
            }
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_serves_many_requests() -> Result<()> {
    let Some(site) = site("http-keep-alive")? else {
        return Ok(());
    };
    site.client_side().inside(|| {
        let mut line = Line::open()?;
        for n in 0..50 {
            let response = line.get("/assets/small")?;
            assert_eq!(
                (response.status, &response.body[..]),
                (200, &b"small file\n"[..])
            );
            assert_ne!(response.field("connection"), "close", "request {n}");
        }

        // A HEAD promises what a GET brings, and sends nothing of it.
        line.send("HEAD /assets/big HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let head = line.receive(false)?;
        assert_eq!(
            (head.status, head.field("content-length")),
            (200, "40000000")
        );

        // Three requests in one packet, answered in their order.
        let request = |path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let paths = ["/assets/small", "/assets/absent", "/"].map(request);
        line.send(&paths.concat())?;
        for (status, body) in [
            (200, "small file\n"),
            (404, "no assets/absent"),
            (200, "matchbox\n"),
        ] {
            let response = line.receive(true)?;
            assert_eq!(response.status, status);
            let text = String::from_utf8_lossy(&response.body).into_owned();
            assert!(text.starts_with(body), "{text}");
        }
        // Requests that come byte by byte, and the end when it is asked for.
        for byte in "GET /assets/small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".chars() {
            line.send(&byte.to_string())?;
        }
        assert_eq!(line.receive(true)?.body, b"small file\n");
        assert!(!line.read()?, "closed as asked");
        Ok(())
    })
}

#[test]
#[cfg(target_os = "linux")]
fn conditions_ranges_and_rubbish() -> Result<()> {
    let Some(site) = site("http-conditions")? else {
        return Ok(());
    };
    let data = site.data();
    site.client_side().inside(|| {
        let mut line = Line::open()?;
        let tag = line.get("/assets/small")?.field("etag").to_owned();
        let condition = format!("If-None-Match: {tag}\r\n");
        let same = line.get_with("/assets/small", &condition)?;
        assert_eq!((same.status, same.field("etag")), (304, &tag[..]));
        // Changed on the disk: a new tag, and the whole of it.
        fs::write(data.join("assets/small"), "small fi1e\n")?;
        let changed = line.get_with("/assets/small", &condition)?;
        assert_eq!(
            (changed.status, &changed.body[..]),
            (200, &b"small fi1e\n"[..])
        );
        assert_ne!(changed.field("etag"), tag);

        for (range, status, content_range, body) in [
            ("bytes=0-4", 206, "bytes 0-4/11", "small"),
            ("bytes=6-", 206, "bytes 6-10/11", "fi1e\n"),
            ("bytes=-3", 206, "bytes 8-10/11", "1e\n"),
            ("bytes=11-", 416, "bytes */11", ""),
            ("bytes=5-2", 200, "", "small fi1e\n"),
            ("bytes=0-1,4-5", 200, "", "small fi1e\n"),
        ] {
            let part = line.get_with("/assets/small", &format!("Range: {range}\r\n"))?;
            assert_eq!(
                (part.status, part.field("content-range")),
                (status, content_range)
            );
            assert_eq!(String::from_utf8_lossy(&part.body), body, "{range}");
        }

        for (rubbish, status) in [
            ("what is this\r\n\r\n", 400),
            ("GET /assets/small\r\n\r\n", 400),
            ("GET  /assets/small HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /assets/small HTTP/1.1\r\nHost x\r\n\r\n", 400),
            ("GET /assets/small HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n", 400),
            ("GET /assets/small HTTP/3.0\r\nHost: x\r\n\r\n", 505),
            ("DELETE /assets/small HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ] {
            let mut line = Line::open()?;
            line.send(rubbish)?;
            let answer = line.receive(true)?;
            println!(
                "{rubbish:?}: {}",
                answer.head.lines().next().unwrap_or_default()
            );
            assert_eq!(answer.status, status, "{rubbish:?}: {answer:?}");
        }
        let mut line = Line::open()?;
        line.send(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(3000)))?;
        assert_eq!(line.receive(true)?.status, 414);
        Ok(())
    })
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_not_to_be_served_is_not() -> Result<()> {
    let Some(mut site) = site("http-secrets")? else {
        return Ok(());
    };
    let outside = site.folder().join("outside");
    fs::write(&outside, SECRET)?;
    let assets = site.data().join("assets");
    std::os::unix::fs::symlink(&outside, assets.join("link"))?;
    std::os::unix::fs::symlink("../../outside", assets.join("relative"))?;
    std::os::unix::fs::symlink(site.folder(), assets.join("folder"))?;
    std::os::unix::fs::symlink("small", assets.join("inside"))?;

    site.client_side().inside(|| {
        let mut line = Line::open()?;
        assert_eq!(
            line.get("/assets/inside")?.status,
            200,
            "a link that stays inside"
        );
        for path in [
            "/ichor.toml",
            "/groups/default.json",
            "/profiles/node.json",
            "/generic/node.yaml",
            "/assets/../ichor.toml",
            "/assets/%2e%2e/ichor.toml",
            "/assets/..%2fichor.toml",
            "/assets/.%2E/groups/default.json",
            "/assets/x/../../ichor.toml",
            "/assets//../ichor.toml",
            "/assets/..\\ichor.toml",
            "//ichor.toml",
            "/./ichor.toml",
            "/assets/%00/../ichor.toml",
            "/assets/small%00.txt",
            "/assets/link",
            "/assets/relative",
            "/assets/folder/outside",
            "/assets/folder/state/leases.log",
            "/assets",
            "/assets/",
            "/assets/.",
        ] {
            let mut line = Line::open()?;
            let answer = line.get(path)?;
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            println!("{path}: {} {body}", answer.status);
            assert!(
                matches!(answer.status, 400 | 403 | 404),
                "{path}: {answer:?}"
            );
            assert!(!body.contains(SECRET), "{path}: {body}");
        }
        Ok(())
    })?;
    // The owner is told which link it was, and what to do.
    let line = wait_for_line(site.ichor()?, "assets/link")?;
    println!("{line}");
    assert!(line.contains("follow-symlinks = true"), "{line}");
    Ok(())
}

#[test]
fn an_interrupted_download_goes_on_where_it_was() -> Result<()> {
    let Some(site) = site("http-resume")? else {
        return Ok(());
    };
    let part = site.folder().join("part");
    let curl = |more: &[&str]| -> Result<bool> {
        let mut command = site.client_side().command("curl")?;
        command.args(["--silent", "--fail", "--output"]).arg(&part);
        command.args(more).arg(format!("{ROOT}/assets/big"));
        Ok(command.stdin(Stdio::null()).status()?.success())
    };
    assert!(
        !curl(&["--limit-rate", "10M", "--max-time", "1"])?,
        "cut off"
    );
    let got = fs::metadata(&part)?.len();
    ensure!(
        got > 0 && got < BIG as u64,
        "{got} bytes in the first second"
    );
    assert!(curl(&["--continue-at", "-", "--max-time", "50"])?);
    let (got, want) = (fs::read(&part)?, fs::read(site.data().join("assets/big"))?);
    assert_eq!(sha256(&got[..])?, sha256(&want[..])?);
    Ok(())
}

/// Opens connections that send half a request; those that were accepted.
fn half_requests(count: usize) -> Vec<Line> {
    let lines = (0..count).filter_map(|_| {
        let mut line = Line::open().ok()?;
        line.send("GET /assets/small HTTP/1.1\r\nHo").ok()?;
        Some(line)
    });
    lines.collect()
}

/// Waits until the server has ended all of `lines`.
fn wait_for_ends(lines: &mut [Line], patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    for line in lines.iter_mut() {
        while !line.has_ended()? {
            ensure!(Instant::now() < deadline, "still open after {patience:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// The limit for a head is 10 s, and each byte more does not stretch it.
#[test]
#[cfg(target_os = "linux")]
fn half_requests_keep_their_places_for_seconds_only() -> Result<()> {
    let Some(mut site) = site("http-slow-heads")? else {
        return Ok(());
    };
    site.client_side().inside(|| {
        let started = Instant::now();
        // Nearly all places are taken, some by those that stopped to read.
        let mut stuck = half_requests(PLACES - 20);
        assert_eq!(stuck.len(), PLACES - 20, "there was a place for each");
        let mut readers = Vec::new();
        for _ in 0..10 {
            let mut line = Line::open()?;
            line.send("GET /assets/big HTTP/1.1\r\nHost: x\r\n\r\n")?;
            readers.push(line);
        }
        // Who comes now is served at once.
        let asked = Instant::now();
        let mut other = Line::open()?;
        for _ in 0..10 {
            assert_eq!(other.get("/assets/small")?.status, 200);
        }
        let took = asked.elapsed();
        ensure!(took < Duration::from_secs(2), "ten requests took {took:?}");
        println!("ten requests beside them took {took:?}");

        // A byte now and then buys no time.
        while started.elapsed() < Duration::from_secs(8) {
            std::thread::sleep(Duration::from_secs(1));
            for line in stuck.iter_mut().take(50) {
                line.send("x")?;
            }
        }
        wait_for_ends(&mut stuck, Duration::from_secs(12))?;
        let all = started.elapsed();
        println!("all places were free again after {all:?}");
        ensure!(all < Duration::from_secs(20), "{all:?}");
        // They were told why.
        let told = stuck
            .iter()
            .filter(|line| line.bytes.starts_with(b"HTTP/1.1 408"));
        assert!(
            told.count() > PLACES / 2,
            "{:?}",
            stuck.first().map(|line| &line.bytes)
        );

        // More than there are places for: refused, for seconds only.
        drop((stuck, readers));
        let crowd = half_requests(PLACES + 50);
        println!("{} of {} found a place", crowd.len(), PLACES + 50);
        let flooded = Instant::now();
        let served = loop {
            let served = Line::open().and_then(|mut line| line.get("/assets/small"));
            match served {
                Ok(response) => break response.status,
                Err(error) => ensure!(flooded.elapsed() < Duration::from_secs(15), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        println!("served again after {:?}", flooded.elapsed());
        assert_eq!(served, 200);
        Ok(())
    })?;
    assert!(site.ichor()?.is_running());
    Ok(())
}

/// The limit is a minute for 64 KiB: this takes 70 seconds, asleep.
#[test]
#[cfg(target_os = "linux")]
fn a_reader_that_stops_is_cut_off() -> Result<()> {
    let Some(site) = site("http-stuck-reader")? else {
        return Ok(());
    };
    site.client_side().inside(|| {
        let mut line = Line::open()?;
        line.send("GET /assets/big HTTP/1.1\r\nHost: x\r\n\r\n")?;
        std::thread::sleep(Duration::from_secs(66));
        // What had been sent is still there; then comes the reset.
        let mut got = 0;
        let ended = loop {
            line.bytes.clear();
            match line.read() {
                Ok(true) => got += line.bytes.len(),
                Ok(false) => break "closed",
                Err(_) => break "reset",
            }
        };
        println!("{got} bytes, then {ended}");
        assert_eq!(ended, "reset", "it must not look whole");
        assert!(got < BIG);
        Ok(())
    })
}
