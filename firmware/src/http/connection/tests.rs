//! Whole connections: bytes in pieces, requests in rows, and a clock by hand.

use super::*;
use crate::http::request::{Body, Method};
use crate::http::response::{HEADLINE_LEN, RESPONSE_HEAD_LEN};
use crate::http::{Entity, respond};

const LIMITS: Limits = Limits {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(5),
    progress: Duration::from_secs(60),
    progress_bytes: 1000,
    linger: Duration::from_secs(3),
};

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn accepted() -> Connection {
    Connection::new(at(0), LIMITS)
}

/// Puts bytes in as a socket would, as many as there is room for.
fn feed<const N: usize>(conn: &mut Connection<N>, bytes: &[u8], now: Instant) -> usize {
    let buf = conn.recv_buf();
    let n = bytes.len().min(buf.len());
    buf[..n].copy_from_slice(&bytes[..n]);
    conn.received(n, now);
    n
}

fn text(reply: &Reply) -> String {
    let mut out = [0; RESPONSE_HEAD_LEN];
    let len = reply.write(&mut out).unwrap();
    str::from_utf8(&out[..len]).unwrap().to_owned()
}

/// What a loop sees that sends `bytes` in pieces of `step` and answers
/// everything at once: paths, replies, and how it ends.
fn talk<const N: usize>(mut bytes: &[u8], step: usize) -> Vec<String> {
    let mut conn = Connection::<N>::new(at(0), LIMITS);
    let mut seen = Vec::new();
    loop {
        match conn.next_request(at(0)) {
            Progress::NeedMore if bytes.is_empty() => return seen,
            Progress::NeedMore => {
                assert!(!conn.recv_buf().is_empty(), "no room, but more is needed");
                let n = feed(&mut conn, &bytes[..step.min(bytes.len())], at(0));
                bytes = &bytes[n..];
            }
            Progress::Request(request) => {
                let method = request.method;
                seen.push(format!("{method:?} {}", request.path));
                conn.finished(at(0));
            }
            Progress::Reply(reply) => seen.push(reply.refusal.status.code().to_string()),
            Progress::Close => {
                assert_eq!(conn.recv_buf().len(), N, "must be able to drain");
                seen.push("close".into());
                return seen;
            }
        }
    }
}

#[test]
fn requests_in_a_row_in_pieces_of_any_size() {
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let old = "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    for (bytes, want) in [
        ("".into(), vec![]),
        (get("/a"), vec!["Get /a"]),
        (
            get("/a") + &get("/b") + &get("/c"),
            vec!["Get /a", "Get /b", "Get /c"],
        ),
        (
            get("/a") + "\r\n\n\r\n" + &get("/b") + "\r\n",
            vec!["Get /a", "Get /b"],
        ),
        (
            old.to_owned() + "HEAD /b HTTP/1.0\r\n\r\n" + &get("/c"),
            vec!["Get /old", "Head /b", "close"],
        ),
        (get("/a") + "GET /b HTTP/1.1\r\nHost", vec!["Get /a"]),
        (
            "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned() + &get("/b"),
            vec!["Get /a", "close"],
        ),
        (get("/..") + &get("/b"), vec!["400", "close"]),
        (
            get("/a") + "rubbish\r\n\r\n",
            vec!["Get /a", "400", "close"],
        ),
    ] {
        for step in [1, 2, 3, 7, 64, 5000] {
            assert_eq!(
                talk::<512>(bytes.as_bytes(), step),
                want,
                "{bytes:?} by {step}"
            );
        }
    }
}

/// What a loop sees that reads the bodies of PUTs, from a socket that gives
/// `step` bytes at a time into a buffer of `room`.
fn talk_and_read(mut socket: &[u8], step: usize, room: usize) -> Vec<String> {
    let mut conn = Connection::<128>::new(at(0), LIMITS);
    let mut seen = Vec::new();
    loop {
        let request = match conn.next_request(at(0)) {
            Progress::NeedMore if socket.is_empty() => return seen,
            Progress::NeedMore => {
                let n = feed(&mut conn, &socket[..step.min(socket.len())], at(0));
                socket = &socket[n..];
                continue;
            }
            Progress::Request(request) => request,
            Progress::Reply(reply) => {
                seen.push(reply.refusal.status.code().to_string());
                continue;
            }
            Progress::Close => {
                seen.push("close".into());
                return seen;
            }
        };
        let mut line = format!("{:?} {}", request.method, request.path);
        if request.method == Method::Put {
            let mut body = Vec::new();
            let mut buf = vec![0; room];
            while conn.body_left() > 0 {
                let most = room.min(usize::try_from(conn.body_left()).unwrap());
                let n = match conn.take_body(&mut buf[..most], at(0)) {
                    0 => {
                        let n = most.min(step).min(socket.len());
                        assert!(n > 0, "the body is longer than what came");
                        buf[..n].copy_from_slice(&socket[..n]);
                        socket = &socket[n..];
                        conn.body_received(n, at(0));
                        n
                    }
                    n => n,
                };
                body.extend_from_slice(&buf[..n]);
            }
            line += &format!(" {:?}", str::from_utf8(&body).unwrap());
        }
        line += if conn.framing().keep_alive {
            ""
        } else {
            ", last"
        };
        seen.push(line);
        conn.finished(at(0));
    }
}

#[test]
fn bodies_that_are_read_in_pieces_of_any_size() {
    let put = |fields: &str, body: &str| {
        let n = body.len();
        format!("PUT /p HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {n}\r\n\r\n{body}")
    };
    let get = "GET /g HTTP/1.1\r\nHost: h\r\n\r\n";
    let long = "GET /x HTTP/1.1\r\n\r\n".repeat(20);
    for (bytes, want) in [
        (
            put("", "abc") + get,
            vec!["Put /p \"abc\"".into(), "Get /g".into()],
        ),
        (
            put("", "") + get,
            vec!["Put /p \"\"".into(), "Get /g".into()],
        ),
        (
            put("", &long) + &put("", "d") + get,
            vec![
                format!("Put /p {long:?}"),
                "Put /p \"d\"".into(),
                "Get /g".into(),
            ],
        ),
        (
            put("Connection: close\r\n", "abc") + get,
            vec!["Put /p \"abc\", last".into(), "close".into()],
        ),
        (
            "PUT /p HTTP/1.0\r\nContent-Length: 1\r\n\r\n!".into(),
            vec!["Put /p \"!\", last".into(), "close".into()],
        ),
    ] {
        for step in [1, 2, 7, 64, 5000] {
            for room in [1, 3, 64, 5000] {
                let got = talk_and_read(bytes.as_bytes(), step, room);
                assert_eq!(got, want, "{bytes:?} by {step} into {room}");
            }
        }
    }
}

#[test]
fn a_body_that_was_not_read_whole_closes() {
    let mut conn = accepted();
    let put = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nGET /x HTTP/1.1";
    feed(&mut conn, put, at(0));
    assert!(matches!(conn.next_request(at(0)), Progress::Request(_)));
    assert_eq!(conn.body_left(), 30);
    let mut buf = [0; 14];
    assert_eq!(conn.take_body(&mut buf, at(0)), 14);
    assert_eq!(conn.take_body(&mut buf, at(0)), 1);
    assert_eq!(conn.take_body(&mut buf, at(0)), 0);
    conn.body_received(14, at(0));
    assert_eq!(conn.body_left(), 1);
    assert!(!conn.framing().keep_alive);
    conn.finished(at(0));
    assert_eq!(conn.next_request(at(0)), Progress::Close);
    assert_eq!(conn.body_left(), 0);
    assert_eq!(conn.take_body(&mut buf, at(0)), 0);
}

#[test]
fn a_body_must_come_at_a_minimum_rate() {
    let mut conn = accepted();
    let put = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n";
    feed(&mut conn, put, at(0));
    assert!(matches!(conn.next_request(at(0)), Progress::Request(_)));
    assert_eq!(conn.deadline(), at(60));
    for second in 1..50 {
        conn.body_received(20, at(second));
        assert_eq!(conn.deadline(), at(60));
    }
    conn.body_received(20, at(50));
    assert_eq!(conn.deadline(), at(110));
    // The board wrote for long; that was not the peer's time.
    conn.body_received(4000, at(51));
    conn.answer_begins(at(300));
    assert_eq!(conn.deadline(), at(360));
    conn.body_received(20, at(301));
    assert_eq!(conn.timed_out(at(360)), Timeout::Abort);
    assert_eq!(conn.body_left(), 0, "it will not be read any more");
}

#[test]
fn what_follows_a_body_is_never_taken_for_a_request() {
    let smuggled = "GET /admin HTTP/1.1\r\nHost: h\r\n\r\n";
    let n = smuggled.len();
    for (head, want) in [
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: {n}"),
            "Get /",
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked".into(),
            "Get /",
        ),
        (
            format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {n}"),
            "405",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: {n}\r\nTransfer-Encoding: chunked"
            ),
            "400",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: {n}"),
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity".into(),
            "501",
        ),
    ] {
        let bytes = format!("{head}\r\n\r\n{smuggled}");
        for step in [1, 5000] {
            assert_eq!(
                talk::<512>(bytes.as_bytes(), step),
                [want, "close"],
                "{head}"
            );
        }
    }
}

#[test]
fn heads_that_do_not_fit() {
    let long = "x".repeat(600);
    for (bytes, want) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"), "414"),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"),
            "431",
        ),
        (format!("GET /{} HTTP/1.0\r\n\r\n", &long[..300]), "414"),
        (long.clone(), "414"),
    ] {
        for step in [1, 100, 5000] {
            let seen = talk::<512>(bytes.as_bytes(), step);
            assert_eq!(seen, [want, "close"], "{bytes}");
        }
    }
    // A head that fits to the byte is served.
    let head = "GET /a HTTP/1.0\r\nX: \r\n\r\n";
    let exact = head.replace("X: ", &format!("X: {}", "y".repeat(512 - head.len())));
    assert_eq!(talk::<512>(exact.as_bytes(), 5000), ["Get /a", "close"]);
    // Empty lines alone fill nothing.
    assert_eq!(talk::<512>(&[b'\n'; 10_000], 100), Vec::<String>::new());
}

#[test]
fn the_first_32_bytes_of_an_error_say_what_is_wrong() {
    let long = "x".repeat(HEAD_LEN);
    for (bytes, want) in [
        (
            "POST / HTTP/1.1\r\nHost: h\r\n\r\n",
            "only GET and HEAD here",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "no Host field"),
        ("GET /../x HTTP/1.0\r\n\r\n", "path contains '..'"),
        (
            "GET /%zz HTTP/1.0\r\n\r\n",
            "bad percent-escape in the path",
        ),
        ("GET / HTTP/2.0\r\n\r\n", "only HTTP/1.0 and 1.1 here"),
        ("\x16\x03\x01", "TLS sent to a plain HTTP port"),
        (&long, "request line too long"),
    ] {
        let mut conn = accepted();
        feed(&mut conn, bytes.as_bytes(), at(0));
        let Progress::Reply(reply) = conn.next_request(at(0)) else {
            panic!("{bytes:?} was not refused");
        };
        let text = text(&reply);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Connection: close\r\n"));
        assert!(head.contains("Content-Type: text/plain"));
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len()))
                || head.ends_with(&format!("Content-Length: {}", body.len()))
        );
        let console = &body[..body.len().min(HEADLINE_LEN)];
        assert_eq!(console.lines().next(), Some(want));
    }
}

#[test]
fn a_head_must_come_in_time_however_it_drips() {
    let mut conn = accepted();
    assert_eq!(conn.deadline(), at(10));
    feed(&mut conn, b"\r\n", at(4));
    assert_eq!(conn.deadline(), at(10), "an empty line is no request");
    for (second, byte) in (5..).zip(b"GET / HT") {
        feed(&mut conn, &[*byte], at(second));
        assert_eq!(conn.next_request(at(second)), Progress::NeedMore);
        assert_eq!(conn.deadline(), at(15));
    }
    let Timeout::Reply(reply) = conn.timed_out(at(15)) else {
        panic!("no reply");
    };
    assert!(text(&reply).starts_with("HTTP/1.1 408 "));
    assert_eq!(conn.deadline(), at(18));
    assert_eq!(conn.next_request(at(15)), Progress::Close);
    feed(&mut conn, b"more", at(16));
    assert_eq!(conn.next_request(at(16)), Progress::Close);
    assert_eq!(
        conn.deadline(),
        at(18),
        "bytes after the end change nothing"
    );
    assert_eq!(conn.timed_out(at(18)), Timeout::Abort);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut conn = accepted();
    assert!(conn.is_idle());
    assert_eq!(conn.timed_out(at(10)), Timeout::Close);
    assert_eq!(conn.next_request(at(10)), Progress::Close);

    let mut conn = accepted();
    feed(&mut conn, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", at(1));
    assert!(matches!(conn.next_request(at(1)), Progress::Request(_)));
    assert!(!conn.is_idle());
    conn.finished(at(20));
    assert!(conn.is_idle());
    assert_eq!(conn.deadline(), at(25));
    feed(&mut conn, b"\r\n", at(22));
    assert_eq!(conn.deadline(), at(25), "an empty line is no request");
    feed(&mut conn, b"G", at(24));
    assert_eq!(conn.deadline(), at(34));
    assert!(!conn.is_idle());
}

#[test]
fn a_pipelined_head_gets_its_own_time() {
    let mut conn = accepted();
    feed(&mut conn, b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET", at(1));
    assert!(matches!(conn.next_request(at(1)), Progress::Request(_)));
    conn.finished(at(50));
    assert_eq!(conn.next_request(at(50)), Progress::NeedMore);
    assert_eq!(conn.deadline(), at(60));
}

#[test]
fn a_body_must_be_taken_at_a_minimum_rate() {
    let mut conn = accepted();
    feed(&mut conn, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", at(0));
    assert!(matches!(conn.next_request(at(0)), Progress::Request(_)));
    assert_eq!(conn.deadline(), at(60));
    conn.progress(at(30), 999);
    assert_eq!(conn.deadline(), at(60));
    conn.progress(at(31), 1);
    assert_eq!(conn.deadline(), at(91));
    for second in 32..91 {
        conn.progress(at(second), 1);
        feed(&mut conn, b"x", at(second));
    }
    assert_eq!(
        conn.deadline(),
        at(91),
        "neither drops nor bytes sent here count"
    );
    conn.progress(at(90), usize::MAX);
    assert_eq!(conn.deadline(), at(150));
    assert_eq!(conn.timed_out(at(150)), Timeout::Abort);
    assert_eq!(conn.next_request(at(150)), Progress::Close);
}

#[test]
fn an_answer_that_was_not_finished_closes() {
    let mut conn = accepted();
    let two = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    feed(&mut conn, two, at(0));
    assert!(matches!(conn.next_request(at(0)), Progress::Request(_)));
    conn.progress(at(0), 10);
    assert_eq!(conn.next_request(at(0)), Progress::Close);
    conn.finished(at(0));
    assert_eq!(conn.next_request(at(0)), Progress::Close);
}

#[test]
fn clocks_at_their_end_do_not_overflow() {
    let mut conn = Connection::<64>::new(Instant::MAX, Limits::DEFAULT);
    feed(&mut conn, b"GET /", Instant::MAX);
    assert_eq!(conn.next_request(Instant::MAX), Progress::NeedMore);
    assert!(matches!(conn.timed_out(Instant::MAX), Timeout::Reply(_)));
    assert_eq!(conn.deadline(), Instant::MAX);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % n
    }
}

const SEEDS: &[&str] = &[
    "GET /assets/vmlinuz HTTP/1.1\r\nHost: h\r\nRange: bytes=10-19\r\n\r\n",
    "GET /a%20b/../%2e?mac=52%3a54&x=+&&=y HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    "HEAD http://h:80/x?y HTTP/1.0\r\nConnection: keep-alive, x\r\n\r\n",
    "GET /f HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"a,b\", W/\"0000000000000abc\"\r\n\
     If-Match: *\r\nIf-Range: \"0000000000000abc\"\r\nRange: bytes=-5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "PUT /update/files/a HTTP/1.1\r\nHost: h\r\nContent-Length: 19\r\n\
     Ichor-Nonce: 000102030405060708090a0b0c0d0e0f1011121314151617\r\n\
     Expect: 100-continue\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
];
const TOKENS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\0",
    "%",
    "%00",
    "%2e%2e",
    "/",
    "..",
    "\\",
    "\"",
    ",",
    "*",
    "-",
    "99999999999999999999",
    "HTTP/1.1",
    "Content-Length: 1\r\n",
    "Host: \r\n",
    "Range: bytes=",
    "é",
    "\u{7f}",
    "://",
    "?",
    "#",
    ":",
];

/// Every answer to mutated input keeps the promises that the socket loop and
/// `Files` build on.
#[test]
fn mutated_requests_keep_the_promises() {
    let mut random = Random(1);
    let (mut served, mut refused, mut bodies) = (0, 0, 0);
    for round in 0..100_000 {
        let mut bytes = Vec::new();
        for _ in 0..=random.below(2) {
            bytes.extend_from_slice(SEEDS[random.below(SEEDS.len())].as_bytes());
        }
        for _ in 0..random.below(4) {
            let i = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[i] = random.below(256) as u8,
                1 if bytes.len() > 1 => drop(bytes.remove(i)),
                2 => {
                    let token = TOKENS[random.below(TOKENS.len())];
                    bytes.splice(i..i, token.bytes());
                }
                _ => bytes.truncate(i + 2),
            }
        }
        let mut rest = bytes.as_slice();
        let mut conn = Connection::<256>::new(at(round), LIMITS);
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 1000, "does not end: {bytes:?}");
            match conn.next_request(at(round)) {
                Progress::NeedMore if rest.is_empty() => break,
                Progress::NeedMore => {
                    let piece = 1 + random.below(rest.len());
                    let n = feed(&mut conn, &rest[..piece], at(round));
                    assert!(n > 0, "no room, but more is needed: {bytes:?}");
                    rest = &rest[n..];
                }
                Progress::Request(request) => {
                    served += 1;
                    check_request(&request);
                    let (body, persistent) = (request.body, request.framing.keep_alive);
                    assert_eq!(conn.body_left(), body.len());
                    assert_eq!(conn.framing().keep_alive, persistent);
                    if matches!(body, Body::Sized(1..1000)) && random.below(2) == 0 {
                        let mut buf = [0; 16];
                        loop {
                            let before = conn.body_left();
                            let mut n = conn.take_body(&mut buf, at(round)) as u64;
                            if n == 0 {
                                n = before.min(rest.len() as u64).min(16);
                                rest = &rest[n as usize..];
                                conn.body_received(n as usize, at(round));
                            }
                            assert_eq!(conn.body_left(), before - n);
                            if n == 0 {
                                break;
                            }
                        }
                        bodies += u32::from(conn.body_left() == 0);
                    }
                    conn.finished(at(round));
                }
                Progress::Reply(reply) => {
                    refused += 1;
                    assert!(!reply.framing.keep_alive);
                    assert!(text(&reply).is_ascii());
                    assert_eq!(conn.next_request(at(round)), Progress::Close);
                    break;
                }
                Progress::Close => break,
            }
        }
    }
    // The mutations reach both sides.
    assert!(served > 30_000 && refused > 30_000, "{served} {refused}");
    assert!(bodies > 3_000, "{bodies}");
}

fn check_request(request: &Request<'_>) {
    let relative = request.path.strip_prefix('/').unwrap();
    let relative = relative.strip_suffix('/').unwrap_or(relative);
    if !relative.is_empty() {
        for segment in relative.split('/') {
            assert!(!matches!(segment, "" | "." | ".."), "{request:?}");
        }
    }
    assert!(
        !request
            .path
            .contains(|c: char| c.is_ascii_control() || c == '\\')
    );
    for parameter in request.query() {
        let _ = parameter.value.decode(&mut [0; 16]);
    }
    for len in [0, 1, 15, 1000, u64::MAX] {
        let entity = Entity {
            len,
            etag: Some(crate::http::ETag::new(0xabc)),
            content_type: "application/efi",
        };
        let body = respond(request, entity)
            .write_head(&mut [0; RESPONSE_HEAD_LEN])
            .unwrap();
        assert!(body.first.checked_add(body.len).unwrap() <= len);
        assert!(request.method != Method::Head || body.len == 0);
    }
}
