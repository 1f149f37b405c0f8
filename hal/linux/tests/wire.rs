//! Two stacks on one wire: they talk, lose each other, and find each other.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod common;

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use common::{Scratch, echo, exchange, run, spawn, stack, tcp_socket};
use embassy_executor::Spawner;
use embassy_net::{Ipv4Address, Stack};
use embassy_time::{Duration, Instant, Timer};
use ichor_hal_linux::Reactor;
use ichor_hal_linux::nic::{AnyNic, Spec};

const SERVER: Ipv4Address = Ipv4Address::new(192, 0, 2, 1);
const CLIENT: Ipv4Address = Ipv4Address::new(192, 0, 2, 2);
const PORT: u16 = 7;

fn open(reactor: &Reactor, spec: &str) -> AnyNic {
    AnyNic::open(&spec.parse::<Spec>().unwrap(), reactor).unwrap()
}

async fn talk(client: Stack<'static>, bytes: usize) {
    let mut socket = tcp_socket(client);
    socket.connect((SERVER, PORT)).await.unwrap();
    exchange(&mut socket, bytes).await;
}

/// Sends `bytes` there and back between stacks on the two NICs.
async fn two_stacks_talk(spawner: Spawner, server: AnyNic, client: AnyNic, bytes: usize) {
    let server = stack(spawner, server, SERVER);
    spawn(spawner, echo(server, PORT));
    let client = stack(spawner, client, CLIENT);
    client.wait_link_up().await;
    talk(client, bytes).await;
}

#[test]
fn a_stream_carries_tcp_both_ways() {
    let scratch = Scratch::new("wire-stream");
    let spec = format!("wire:{}", scratch.0.join("wire").display());
    run(|reactor, spawner| async move {
        let _keep = scratch;
        let (listens, connects) = (open(&reactor, &spec), open(&reactor, &spec));
        two_stacks_talk(spawner, listens, connects, 4 << 20).await;
    });
}

#[test]
fn datagrams_carry_tcp_both_ways() {
    let scratch = Scratch::new("wire-dgram");
    let (a, b) = (scratch.0.join("a"), scratch.0.join("b"));
    let spec = |x: &Path, y: &Path| format!("wire:dgram:{},{}", x.display(), y.display());
    run(|reactor, spawner| async move {
        let server = open(&reactor, &spec(&a, &b));
        let client = open(&reactor, &spec(&b, &a));
        two_stacks_talk(spawner, server, client, 1 << 20).await;
        drop(scratch);
    });
}

#[test]
fn the_next_peer_is_served_after_one_goes_away() {
    let scratch = Scratch::new("wire-next");
    let path = scratch.0.join("wire");
    let spec = format!("wire:{}", path.display());
    run(|reactor, spawner| async move {
        let server = stack(spawner, open(&reactor, &spec), SERVER);
        spawn(spawner, echo(server, PORT));
        // Somebody who speaks something else is shown the door.
        let mut stranger = UnixStream::connect(&path).unwrap();
        server.wait_link_up().await;
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        server.wait_link_down().await;
        // Half a frame, and gone.
        let mut broken = UnixStream::connect(&path).unwrap();
        server.wait_link_up().await;
        broken.write_all(&[0, 0, 0, 60, 1, 2, 3]).unwrap();
        drop(broken);
        server.wait_link_down().await;
        // A real one.
        let client = stack(spawner, open(&reactor, &spec), CLIENT);
        talk(client, 100_000).await;
        drop(scratch);
    });
}

#[test]
fn a_switch_that_restarts_is_found_again() {
    let scratch = Scratch::new("wire-again");
    let path = scratch.0.join("wire");
    let spec = format!("wire:{}", path.display());
    run(|reactor, spawner| async move {
        let switch = UnixListener::bind(&path).unwrap();
        let stack = stack(spawner, open(&reactor, &spec), CLIENT);
        stack.wait_link_up().await;
        drop(switch);
        stack.wait_link_down().await;
        std::fs::remove_file(&path).unwrap();
        Timer::after(Duration::from_millis(120)).await;
        let _switch = UnixListener::bind(&path).unwrap();
        let before = Instant::now();
        stack.wait_link_up().await;
        assert!(before.elapsed() < Duration::from_secs(1));
        drop(scratch);
    });
}

#[test]
fn a_socket_left_behind_is_replaced_and_a_file_is_not() {
    let scratch = Scratch::new("wire-dead");
    let reactor = Reactor::new().unwrap();
    let path = scratch.0.join("wire");
    drop(UnixListener::bind(&path).unwrap());
    drop(open(&reactor, &format!("wire:{}", path.display())));

    std::fs::write(&path, "precious").unwrap();
    let spec = format!("wire:{}", path.display()).parse().unwrap();
    let error = AnyNic::open(&spec, &reactor).err().unwrap().to_string();
    assert!(error.contains("is not a socket"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");

    let spec = format!("wire:dgram:{0}/a,{0}/b", scratch.0.display());
    let first = open(&reactor, &spec);
    let spec = spec.parse().unwrap();
    let error = AnyNic::open(&spec, &reactor).err().unwrap().to_string();
    assert!(error.contains("another process is bound"), "{error}");
    drop(first);
    AnyNic::open(&spec, &reactor).unwrap();
}
