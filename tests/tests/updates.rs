//! Updates over the real HTTP server and TCP/IP stack: by the client that operators use, and by
//! clients that do everything wrong.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod board;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use board::{Board, KEY, Kind};
use hmac::{Hmac, Mac as _};
use ichor_lab::checksum::sha256;
use ichor_lab::push::{self, Key, What};
use sha2::Sha256;

const OLD: &[u8] = b"old program";

fn client(board: &Board) -> push::Board {
    push::Board::at(&board.address.to_string())
}

fn put(board: &Board, what: What<'_>, content: &[u8]) -> anyhow::Result<String> {
    client(board).put(&Key::new(KEY), what, content, &mut |_| {})
}

/// Bytes that repeat nowhere near.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|n| ((n * 31) >> 3) as u8).collect()
}

/// A connection that sends what it is told.
struct Line(TcpStream);

impl Line {
    fn open(board: &Board) -> Self {
        let stream = TcpStream::connect(board.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Reads one answer: status, whether the connection stays, and the body.
    fn receive(&mut self) -> (u16, bool, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "closed within a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let len = head.split("Content-Length: ").nth(1);
        let len = len.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).unwrap();
        let keep = head.contains("Connection: keep-alive");
        (
            head[9..12].parse().unwrap(),
            keep,
            String::from_utf8(body).unwrap(),
        )
    }

    fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).unwrap_or(0) == 0
    }

    fn get(&mut self, path: &str) -> (u16, String) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let (status, _, body) = self.receive();
        (status, body)
    }
}

/// The head of a PUT that is signed for its body.
fn signed(board: &Board, path: &str, body: &[u8]) -> String {
    let nonce = client(board).about().unwrap().nonce.unwrap();
    signed_with(&nonce, path, body)
}

fn signed_with(nonce: &str, path: &str, body: &[u8]) -> String {
    let (hash, len) = (sha256(body).unwrap(), body.len());
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
    mac.update(format!("PUT\n{path}\n{nonce}\n{hash}\n{len}").as_bytes());
    let mac = mac.finalize().into_bytes();
    let mac: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\nIchor-Nonce: {nonce}\r\n\
         Ichor-Sha256: {hash}\r\nIchor-Mac: {mac}\r\n\r\n"
    )
}

#[test]
fn a_new_program_is_pushed_and_the_board_comes_back_with_it() {
    let board = Board::start(Kind::Keyed);
    let client = client(&board);
    let before = client.about().unwrap();
    assert_eq!(
        (before.board.as_str(), before.version.as_str()),
        ("test", "1.0")
    );
    assert_eq!(before.state, "ready");

    let image = content(1 << 20);
    let mut steps = Vec::new();
    let answer = client.put(&Key::new(KEY), What::Firmware, &image, &mut |sent| {
        steps.push(sent);
    });
    assert!(answer.unwrap().starts_with("replaced, restarting\n"));
    assert_eq!((steps.len(), steps.last()), (64, Some(&image.len())));
    assert!(board.visit(move |inside| inside.updates.firmware() == image));

    let now = client
        .wait_for_restart(&before, Duration::from_secs(20))
        .unwrap();
    assert_eq!(now.version, "2.0");
    assert_ne!(now.run, before.run);
}

#[test]
fn files_are_pushed_and_served_at_once() {
    let board = Board::start(Kind::Keyed);
    let kernel = content(300_000);
    put(&board, What::File("assets/new é/vmlinuz"), &kernel).unwrap();
    put(&board, What::File("assets/old"), b"new asset\n").unwrap();
    put(&board, What::File("assets/empty"), b"").unwrap();
    let sum = sha256(&kernel[..]).unwrap();
    let got = board.visit(|inside| inside.files.get("assets/new é/vmlinuz").unwrap());
    assert_eq!(sha256(&got[..]).unwrap(), sum);
    let mut line = Line::open(&board);
    assert_eq!(line.get("/assets/old"), (200, "new asset\n".into()));
    assert_eq!(line.get("/assets/empty"), (200, String::new()));
    assert!(client(&board).etag("assets/old").unwrap().is_some());
    assert!(client(&board).etag("assets/none").unwrap().is_none());
    let run = client(&board).about().unwrap().run;
    assert_eq!(
        client(&board).about().unwrap().run,
        run,
        "files need no restart"
    );
}

#[test]
fn who_may_not_is_told_why_and_changes_nothing() {
    let board = Board::start(Kind::Keyed);
    let (path, body) = ("/update/firmware", &b"new program"[..]);
    let wrong = client(&board).put(&Key::new([1; 32]), What::Firmware, body, &mut |_| {
        panic!("the body was wanted");
    });
    let wrong = format!("{:#}", wrong.unwrap_err());
    assert!(wrong.contains("403: the signature is wrong: "), "{wrong}");
    for name in ["ichor.key", "x/ICHOR.key"] {
        let error = put(&board, What::File(name), body).unwrap_err().to_string();
        assert!(error.contains("403: the key cannot be replaced"), "{error}");
    }

    let good = signed(&board, path, body);
    for (head, status, headline) in [
        (
            good.replace("Ichor-Mac", "X"),
            403,
            "the update is not signed",
        ),
        (
            good.replace("Content-Length: 11", "Content-Length: 12"),
            403,
            "the signature is wrong",
        ),
        (
            good.replace("Content-Length: 11", "Transfer-Encoding: chunked"),
            411,
            "Content-Length is missing",
        ),
        (
            good.replace("Content-Length: 11\r\n", ""),
            411,
            "Content-Length is missing",
        ),
        (
            good.replace("Host: x", "Host: x\r\nExpect: tea"),
            417,
            "unknown Expect field",
        ),
        (
            good.replace(path, "/update/other"),
            404,
            "this board takes no updates",
        ),
        (
            good.replace(path, "/assets/old"),
            405,
            "only GET and HEAD here",
        ),
    ] {
        // With the body behind it, which nobody reads.
        let mut line = Line::open(&board);
        line.send(head.as_bytes());
        line.send(body);
        let (got, keep, text) = line.receive();
        assert_eq!(
            (got, text.lines().next()),
            (status, Some(headline)),
            "{head}"
        );
        assert!(headline.len() <= 32);
        // Without a length there is no body, and what follows is a request.
        if head.contains("Content-Length") || head.contains("chunked") {
            assert!(!keep && line.is_closed(), "{head}");
        }
    }
    assert!(board.visit(|inside| inside.updates.firmware() == OLD));
    assert_eq!(board.visit(|inside| inside.updates.under_way()), None);
    // Not even the nonce was used up.
    let mut line = Line::open(&board);
    line.send(good.as_bytes());
    line.send(body);
    assert_eq!(line.receive().0, 200);
}

#[test]
fn a_nonce_is_good_once() {
    let board = Board::start(Kind::Keyed);
    let head = signed(&board, "/update/files/assets/a", b"abc");
    let mut line = Line::open(&board);
    line.send(format!("{head}abc").as_bytes());
    let (status, keep, text) = line.receive();
    assert_eq!(
        (status, keep, text.lines().next()),
        (200, true, Some("replaced"))
    );
    // The connection is good for more, but the signature is not.
    assert_eq!(line.get("/assets/a"), (200, "abc".into()));
    line.send(format!("{head}abc").as_bytes());
    let (status, keep, text) = line.receive();
    assert_eq!((status, keep), (403, false));
    assert!(
        text.starts_with("nonce unknown, used or too old\n"),
        "{text}"
    );
    assert!(line.is_closed());
}

#[test]
fn another_body_than_was_signed_is_thrown_away() {
    let board = Board::start(Kind::Keyed);
    let head = signed(&board, "/update/firmware", b"new program");
    let mut line = Line::open(&board);
    // Pipelined behind it: a request that must be seen as one.
    line.send(format!("{head}bad program").as_bytes());
    line.send(b"GET /assets/old HTTP/1.1\r\nHost: x\r\n\r\n");
    let (status, keep, text) = line.receive();
    assert_eq!((status, keep), (400, true));
    assert!(text.starts_with("the body has another hash\n"), "{text}");
    assert_eq!(line.receive().2, "old asset\n");
    assert!(board.visit(|inside| inside.updates.firmware() == OLD));
    assert_eq!(board.visit(|inside| inside.updates.aborts()), 1);
}

#[test]
fn a_connection_cut_in_mid_body_leaves_the_old_content() {
    let board = Board::start(Kind::Keyed);
    let image = content(100_000);
    for (before, cut) in [0, 1, 16_384, 50_000, 99_999].into_iter().enumerate() {
        let mut line = Line::open(&board);
        line.send(signed(&board, "/update/files/assets/old", &image).as_bytes());
        line.send(&image[..cut]);
        line.0.shutdown(Shutdown::Both).unwrap();
        drop(line);
        board.wait_until("the update was given up", move |inside| {
            inside.updates.aborts() > before
        });
        assert_eq!(
            board.visit(|inside| inside.updates.under_way()),
            None,
            "{cut}"
        );
        let mut line = Line::open(&board);
        assert_eq!(
            line.get("/assets/old"),
            (200, "old asset\n".into()),
            "{cut}"
        );
        drop(line);
        // And the place is free for the next one.
        put(&board, What::File("assets/next"), &image).unwrap();
    }
    assert_eq!(board.visit(|inside| inside.updates.aborts()), 5);
}

#[test]
fn one_update_at_a_time() {
    let board = Board::start(Kind::Keyed);
    let image = content(50_000);
    let mut first = Line::open(&board);
    first.send(signed(&board, "/update/files/assets/first", &image).as_bytes());
    first.send(&image[..20_000]);
    board.wait_until("the first update has begun", |inside| {
        inside.updates.under_way() == Some(16_384)
    });
    assert_eq!(
        client(&board).about().unwrap().state,
        "an update is under way"
    );
    let error = put(&board, What::File("assets/second"), b"2")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("503: another update is under way"),
        "{error}"
    );
    first.send(&image[20_000..]);
    assert_eq!(first.receive().0, 200);
    put(&board, What::File("assets/second"), b"2").unwrap();
    assert!(board.visit(move |inside| inside.files.get("assets/first") == Some(image)));
}

#[test]
fn a_card_that_breaks_is_told_of() {
    use ichor_hal::UpdateError;
    let board = Board::start(Kind::Keyed);
    for (calls, error, want) in [
        (0, UpdateError::Full, "507: no room for it"),
        (1, UpdateError::Io, "500: cannot write to the card"),
        (8, UpdateError::Io, "500: cannot write to the card"),
    ] {
        board.visit(move |inside| inside.updates.fail_after(calls, error));
        let got = put(&board, What::Firmware, &content(100_000)).unwrap_err();
        let got = format!("{got:#}");
        assert!(got.contains(want), "{got}");
        assert!(board.visit(|inside| inside.updates.firmware() == OLD));
        assert_eq!(board.visit(|inside| inside.updates.under_way()), None);
    }
    put(&board, What::File("assets/after"), b"well again").unwrap();
}

#[test]
fn a_board_without_a_key_says_what_to_do() {
    let board = Board::start(Kind::Keyless);
    let about = client(&board).about().unwrap();
    assert_eq!(about.nonce, None);
    assert!(
        about
            .state
            .starts_with("There is no ichor.key in the data folder")
    );
    let error = put(&board, What::Firmware, b"x").unwrap_err().to_string();
    assert!(
        error.contains("takes no updates: There is no ichor.key"),
        "{error}"
    );
    let mut line = Line::open(&board);
    line.send(signed_with(&"00".repeat(24), "/update/firmware", b"").as_bytes());
    let (status, _, text) = line.receive();
    assert_eq!(status, 403);
    assert!(
        text.starts_with("this board has no key\nThere is no ichor.key"),
        "{text}"
    );
}

#[test]
fn a_board_without_updates_says_so() {
    let board = Board::start(Kind::Fixed);
    let mut line = Line::open(&board);
    let (status, text) = line.get("/update");
    assert_eq!(status, 404);
    assert!(text.starts_with("this board takes no updates\n"), "{text}");
    line.send(b"PUT /update/firmware HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    let (status, keep, text) = line.receive();
    assert_eq!((status, keep), (404, true));
    assert!(text.starts_with("this board takes no updates\n"), "{text}");
    assert_eq!(line.get("/").1, "matchbox\n");
    let (status, text) = line.get("/status");
    assert_eq!(status, 200);
    assert!(!text.contains("updates:"), "{text}");
}

#[test]
fn the_status_is_shown_and_secrets_are_not() {
    let board = Board::start(Kind::Keyed);
    let mut line = Line::open(&board);
    let (status, text) = line.get("/status");
    assert_eq!(status, 200);
    for want in [
        "ichor 1.0 on test, up 0",
        "address: 192.0.2.1\n",
        "updates: ready\n",
        "troubles: 1\n  card: missing: leases are lost at power-off\n",
    ] {
        assert!(text.contains(want), "{want:?} in {text}");
    }
    let (status, json) = line.get("/status?format=json");
    assert_eq!(status, 200);
    assert!(
        json.starts_with(r#"{"board":"test","version":"1.0","uptime_seconds":"#),
        "{json}"
    );
    assert!(
        json.contains(r#""troubles":[{"part":"card","text":"missing: "#),
        "{json}"
    );
    for path in [
        "/ichor.key",
        "/ichor.toml",
        "/ICHOR.KEY",
        "/assets/ichor.key",
        "/assets/Ichor.key.",
        "/assets/%69chor.key",
        "/assets/ichor.toml",
        "/assets//ichor.key",
        "/update/files/ichor.key",
    ] {
        let (status, text) = line.get(path);
        assert_eq!(status, 404, "{path}");
        assert!(!text.contains("secret"), "{path}");
    }
}
