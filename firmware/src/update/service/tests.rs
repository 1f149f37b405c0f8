//! Updates by head and body, without sockets: who may, what is checked when,
//! and that nothing changes unless all of it is right.

use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::fmt::Write as _;

use hmac::Mac as _;
use ichor_hal::UpdateError;
use ichor_hal::fake::{FakeEntropy, FakeFiles, FakeUpdates};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::http::{Connection, Limits, Progress, Status};
use crate::update::proof::hmac;

const KEY: [u8; 32] = [0x42; 32];
const OLD: &[u8] = b"the old program";
const NEW: &[u8] = b"a new program";

/// The fakes wait for nothing.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

struct Board {
    updates: FakeUpdates,
    files: FakeFiles,
    service: Service<FakeUpdates>,
}

impl Board {
    fn with_key(key: Result<Key, KeyError>) -> Self {
        let files = FakeFiles::new();
        files.put("groups/a.json", "old");
        let updates = FakeUpdates::new(OLD, files.clone());
        let service = Service::new(updates.clone(), key, &mut FakeEntropy(1));
        Self {
            updates,
            files,
            service,
        }
    }

    fn new() -> Self {
        Self::with_key(Ok(Key::new(KEY)))
    }

    fn nonce(&self, seconds: u64) -> String {
        self.service.nonce(at(seconds)).unwrap().to_string()
    }

    fn accept(&self, head: &str, seconds: u64) -> Result<Upload<'_, FakeUpdates>, Denied> {
        let mut conn = Connection::<1024>::new(at(seconds), Limits::DEFAULT);
        conn.recv_buf()[..head.len()].copy_from_slice(head.as_bytes());
        conn.received(head.len(), at(seconds));
        match conn.next_request(at(seconds)) {
            Progress::Request(request) => now(self.service.accept(&request, at(seconds))),
            other => panic!("{head:?}: {other:?}"),
        }
    }

    /// The headline of the refusal.
    fn refusal(&self, head: &str, seconds: u64) -> &'static str {
        match self.accept(head, seconds) {
            Err(Denied::For(refusal)) => refusal.headline,
            Err(Denied::NoKey(_)) => "no key",
            Ok(_) => "accepted",
        }
    }

    fn unchanged(&self) -> bool {
        self.updates.firmware() == OLD && self.files.get("groups/a.json").unwrap() == b"old"
    }
}

fn hex_of(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

/// A PUT that is signed for what it says.
fn signed(key: [u8; 32], path: &str, nonce: &str, body: &[u8]) -> String {
    let (sha256, len) = (hex_of(&Sha256::digest(body)), body.len());
    let text = format!("PUT\n{path}\n{nonce}\n{sha256}\n{len}");
    let mac = hmac(&key).chain_update(text).finalize().into_bytes();
    let mut head = format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n");
    let mac = hex_of(&mac);
    write!(
        head,
        "Ichor-Nonce: {nonce}\r\nIchor-Sha256: {sha256}\r\nIchor-Mac: {mac}\r\n\r\n"
    )
    .unwrap();
    head
}

/// Gives a body to an upload in pieces.
fn send(upload: &mut Upload<'_, FakeUpdates>, mut body: &[u8]) -> Result<(), UpdateError> {
    while !body.is_empty() {
        let room = upload.room();
        let n = room.len().min(body.len()).min(5000);
        assert!(n > 0, "no room for what was announced");
        room[..n].copy_from_slice(&body[..n]);
        body = &body[n..];
        now(upload.took(n))?;
    }
    Ok(())
}

#[test]
fn a_signed_program_takes_the_old_ones_place() {
    let board = Board::new();
    let head = signed(KEY, "/update/firmware", &board.nonce(1), NEW);
    let mut upload = board.accept(&head, 2).unwrap();
    assert!(upload.is_firmware());
    assert_eq!(board.service.state(), State::Busy);
    send(&mut upload, NEW).unwrap();
    assert!(upload.room().is_empty());
    assert!(board.unchanged(), "not before it is finished");
    now(upload.finish()).unwrap();
    assert_eq!(board.updates.firmware(), NEW);
    assert_eq!(board.service.state(), State::Restarting);
    // Nothing more is taken, and the restart waits for the reply.
    let head = signed(KEY, "/update/files/x", &board.nonce(3), NEW);
    assert_eq!(board.refusal(&head, 3), RESTARTING.headline);
    let mut restart = pin!(board.service.restart());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(restart.as_mut().poll(&mut cx).is_pending());
    board.service.ready_to_restart();
    assert!(restart.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn files_of_all_sizes() {
    let board = Board::new();
    for len in [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 100_000] {
        let body: Vec<u8> = (0..len).map(|n| ((n * 7) >> 3) as u8).collect();
        let path = format!("/update/files/assets/a-{len}");
        let head = signed(KEY, &path, &board.nonce(1), &body);
        let mut upload = board.accept(&head, 1).unwrap();
        send(&mut upload, &body).unwrap();
        now(upload.finish()).unwrap();
        assert_eq!(board.files.get(&format!("assets/a-{len}")), Some(body));
        assert_eq!(board.service.state(), State::Ready);
    }
    assert!(board.unchanged());
    assert_eq!(board.updates.aborts(), 0);
}

#[test]
fn who_may_not_and_why() {
    let board = Board::new();
    let path = "/update/firmware";
    let nonce = board.nonce(100);
    let good = signed(KEY, path, &nonce, NEW);
    let other = hex_of(&Sha256::digest(b"other"));
    let sha256 = hex_of(&Sha256::digest(NEW));
    let stale = hex_of(&[0; 24]);
    for (head, seconds, want) in [
        (signed([0x43; 32], path, &nonce, NEW), 100, WRONG_KEY),
        (good.replace(path, "/update/files/a"), 100, WRONG_KEY),
        (
            good.replace("Content-Length: 13", "Content-Length: 14"),
            100,
            WRONG_KEY,
        ),
        (good.replace(&sha256, &other), 100, WRONG_KEY),
        (signed(KEY, path, &stale, NEW), 100, STALE),
        (good.replace("Ichor-Mac", "X"), 100, NOT_SIGNED),
        (
            good.replace("Ichor-Nonce: ", "Ichor-Nonce: 0"),
            100,
            NOT_SIGNED,
        ),
        (good.replace("Content-Length: 13\r\n", ""), 100, NO_LENGTH),
        (
            good.replace("Content-Length: 13", "Transfer-Encoding: chunked"),
            100,
            NO_LENGTH,
        ),
        (good.replace(path, "/update/firmware/"), 100, NO_UPDATES),
        (good.replace(path, "/update/files/"), 100, NO_UPDATES),
        (good.replace(path, "/update/files/a/"), 100, NO_UPDATES),
        (good.replace(path, "/update"), 100, NO_UPDATES),
        (
            signed(KEY, "/update/files/ichor.key", &nonce, NEW),
            100,
            PRIVATE,
        ),
        (
            signed(KEY, "/update/files/Ichor.KEY.", &nonce, NEW),
            100,
            PRIVATE,
        ),
        (good.clone(), 160, STALE),
    ] {
        assert_eq!(board.refusal(&head, seconds), want.headline, "{head}");
        assert_eq!(board.updates.under_way(), None, "{head}");
        assert_eq!(board.service.state(), State::Ready);
    }
    assert_eq!(NO_LENGTH.status, Status::LengthRequired);
    // None of them used the nonce up.
    let mut upload = board.accept(&good, 159).unwrap();
    send(&mut upload, NEW).unwrap();
    now(upload.finish()).unwrap();
    assert_eq!(board.updates.firmware(), NEW);
}

#[test]
fn a_nonce_is_good_for_one_update() {
    let board = Board::new();
    let (older, nonce) = (board.nonce(1), board.nonce(1));
    let head = signed(KEY, "/update/files/a", &nonce, NEW);
    let mut upload = board.accept(&head, 1).unwrap();
    send(&mut upload, NEW).unwrap();
    now(upload.finish()).unwrap();
    assert_eq!(board.refusal(&head, 1), STALE.headline);
    let older = signed(KEY, "/update/files/a", &older, NEW);
    assert_eq!(board.refusal(&older, 1), STALE.headline);
    // Also after one that failed.
    let head = signed(KEY, "/update/files/a", &board.nonce(2), b"");
    now(board.accept(&head, 2).unwrap().abort());
    assert_eq!(board.refusal(&head, 2), STALE.headline);
}

#[test]
fn one_at_a_time_and_the_second_can_try_again() {
    let board = Board::new();
    let first = signed(KEY, "/update/files/a", &board.nonce(1), NEW);
    let second = signed(KEY, "/update/files/b", &board.nonce(1), NEW);
    let upload = board.accept(&first, 1).unwrap();
    assert_eq!(board.refusal(&second, 1), BUSY.headline);
    assert_eq!(board.updates.under_way(), Some(0), "the first goes on");
    drop(upload);
    assert_eq!(board.refusal(&second, 1), "accepted");
}

#[test]
fn what_goes_wrong_changes_nothing() {
    let wrong = b"another program!!".split_at(NEW.len()).0;
    for path in ["/update/firmware", "/update/files/groups/a.json"] {
        let board = Board::new();
        // Another body than was signed.
        let head = signed(KEY, path, &board.nonce(1), NEW);
        let mut upload = board.accept(&head, 1).unwrap();
        send(&mut upload, wrong).unwrap();
        let refusal = now(upload.finish()).unwrap_err();
        assert_eq!(refusal.headline, "the body has another hash");
        assert!(board.unchanged());
        assert_eq!(
            (board.updates.aborts(), board.updates.under_way()),
            (1, None)
        );

        // Less of it.
        let head = signed(KEY, path, &board.nonce(1), NEW);
        let mut upload = board.accept(&head, 1).unwrap();
        send(&mut upload, &NEW[1..]).unwrap();
        assert_eq!(upload.room().len(), 1);
        now(upload.finish()).unwrap_err();

        // The sender is gone.
        let head = signed(KEY, path, &board.nonce(1), NEW);
        let mut upload = board.accept(&head, 1).unwrap();
        send(&mut upload, &NEW[..5]).unwrap();
        now(upload.abort());
        assert!(board.unchanged());
        assert_eq!(
            (board.updates.aborts(), board.updates.under_way()),
            (3, None)
        );

        // The card breaks at every call, and then it is well again.
        for calls in 0..3 {
            board.updates.fail_after(calls, UpdateError::Io);
            let head = signed(KEY, path, &board.nonce(1), NEW);
            match board.accept(&head, 1) {
                Err(denied) => {
                    assert_eq!(calls, 0);
                    assert_eq!(denied, refusal::of(UpdateError::Io).into());
                }
                Ok(mut upload) if calls == 1 => {
                    assert_eq!(send(&mut upload, NEW), Err(UpdateError::Io));
                }
                Ok(mut upload) => {
                    send(&mut upload, NEW).unwrap();
                    let refusal = now(upload.finish()).unwrap_err();
                    assert_eq!(refusal.status, Status::InternalServerError);
                }
            }
            assert!(board.unchanged(), "{calls}");
            assert_eq!(board.updates.under_way(), None, "{calls}");
            assert_eq!(board.service.state(), State::Ready);
        }
    }
}

#[test]
fn without_a_key_everybody_is_told_what_to_do() {
    let board = Board::with_key(Err(KeyError::Missing));
    assert!(board.service.nonce(at(1)).is_none());
    assert_eq!(board.service.state(), State::NoKey(KeyError::Missing));
    let head = signed([0; 32], "/update/firmware", &hex_of(&[0; 24]), NEW);
    assert_eq!(
        board.accept(&head, 1).err(),
        Some(Denied::NoKey(KeyError::Missing))
    );
    board.service.set_key(Ok(Key::new(KEY)));
    let head = signed(KEY, "/update/firmware", &board.nonce(1), NEW);
    assert!(board.accept(&head, 1).is_ok());
}

#[test]
fn every_refusal_of_the_board_says_that_nothing_changed_or_why() {
    for error in [
        UpdateError::Full,
        UpdateError::BadPath,
        UpdateError::BadLength,
        UpdateError::Io,
        UpdateError::Unsupported,
    ] {
        let refusal = refusal::of(error);
        assert!(refusal.status.code() >= 400, "{error}");
        assert!(!refusal.advice.is_empty(), "{error}");
    }
}
