//! A stack beside the kernel's own on one interface, and the kernel of
//! another machine as its client.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod common;
#[path = "common/lab.rs"]
mod lab;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration as StdDuration;

use common::{echo, run, spawn, stack};
use embassy_net::udp::{PacketMetadata, UdpSocket as StackUdpSocket};
use embassy_net::{Ipv4Address, Stack};
use embassy_time::{Duration, Timer};
use ichor_hal_linux::nic::{Admission, AnyNic, Ports, Spec};
use ichor_hal_linux::{HostAddress, HostShare, Reactor, ShareError};
use lab::{HOST, enter_new_network, ip, lay_cable, plug_in};
use rustix::net::{AddressFamily, SocketType, ipproto};

const OWN: Ipv4Address = Ipv4Address::new(192, 0, 2, 1);
const SHARED: Ipv4Address = Ipv4Address::new(192, 0, 2, 10);

fn open(reactor: &Reactor, spec: &str) -> AnyNic {
    AnyNic::open(&spec.parse::<Spec>().unwrap(), reactor).unwrap()
}

/// Sends `total` bytes to an echo server and checks what comes back.
fn talk(address: &str, total: usize) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(StdDuration::from_secs(10)))
        .unwrap();
    let data: Vec<u8> = (0..total).map(|n| (n / 251 + n) as u8).collect();
    let mut writer = socket.try_clone().unwrap();
    let sent = data.clone();
    let sender = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut received = vec![0; total];
    socket.read_exact(&mut received).unwrap();
    assert!(received == data, "the echo differs");
    sender.join().unwrap();
}

/// Whether something answers an ICMP echo request (RFC 792).
fn ping(address: &str) -> bool {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP));
    let socket = UdpSocket::from(socket.unwrap());
    let timeout = Some(StdDuration::from_secs(5));
    socket.set_read_timeout(timeout).unwrap();
    socket.connect((address, 0)).unwrap();
    // Type 8, identifier 7; the checksum is the complement of both.
    socket.send(&[8, 0, 0xf7, 0xf8, 0, 7, 0, 0]).unwrap();
    let mut reply = [0; 100];
    let n = socket.recv(&mut reply).unwrap_or(0);
    // Behind the IP header, type 0 and our identifier.
    reply[..n].ends_with(&[0, 0, 0xff, 0xf8, 0, 7, 0, 0])
}

/// A server of the machine itself: one connection, echoed.
fn kernel_echo(port: u16) -> JoinHandle<()> {
    let listener = TcpListener::bind((HOST, port)).unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut reader = socket.try_clone().unwrap();
        std::io::copy(&mut reader, &mut socket).unwrap();
    })
}

async fn finished<T>(thread: JoinHandle<T>) -> T {
    while !thread.is_finished() {
        Timer::after(Duration::from_millis(5)).await;
    }
    thread.join().unwrap()
}

async fn udp_echo(stack: Stack<'static>, port: u16) {
    let buffer = || Box::leak(vec![0; 4096].into_boxed_slice());
    let meta = || Box::leak(Box::new([PacketMetadata::EMPTY; 4]));
    let mut socket = StackUdpSocket::new(stack, meta(), buffer(), meta(), buffer());
    socket.bind(port).unwrap();
    let mut packet = [0; 1500];
    loop {
        let (n, from) = socket.recv_from(&mut packet).await.unwrap();
        socket.send_to(&packet[..n], from).await.unwrap();
    }
}

#[test]
fn an_own_address_is_served_beside_the_kernels() {
    let (go, client) = lay_cable(|| {
        plug_in();
        talk("192.0.2.1:7", 8 << 20);
        talk("192.0.2.10:22", 100_000);
        assert!(ping(HOST));
    });
    run(|reactor, spawner| async move {
        let nic = open(&reactor, "packet:srv");
        assert_eq!(nic.network_mtu(), 1500);
        nic.admit(&Admission {
            address: Some(OWN),
            ..Admission::default()
        })
        .unwrap();
        let _ssh = kernel_echo(22);
        let stack = stack(spawner, nic, OWN);
        spawn(spawner, echo(stack, 7));
        go.send(()).unwrap();
        finished(client).await;
    });
}

/// Datagrams in a row, as a TFTP window has them.
const ROW: u8 = 20;

/// The n-th of a row: all of one size, but for the last.
fn in_a_row(n: u8) -> Vec<u8> {
    vec![n; if n + 1 < ROW { 1000 } else { 300 }]
}

/// Answers each datagram with a row of them.
async fn udp_rows(stack: Stack<'static>, port: u16) {
    let buffer = || Box::leak(vec![0; 32 * 1024].into_boxed_slice());
    let meta = || Box::leak(Box::new([PacketMetadata::EMPTY; ROW as usize]));
    let mut socket = StackUdpSocket::new(stack, meta(), buffer(), meta(), buffer());
    socket.bind(port).unwrap();
    loop {
        let (_, from) = socket.recv_from(&mut [0; 100]).await.unwrap();
        for n in 0..ROW {
            socket.send_to(&in_a_row(n), from).await.unwrap();
        }
    }
}

#[test]
fn a_row_of_datagrams_arrives_as_it_was_sent() {
    let (go, client) = lay_cable(|| {
        plug_in();
        let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
        let timeout = Some(StdDuration::from_secs(10));
        socket.set_read_timeout(timeout).unwrap();
        let mut datagram = [0; 2000];
        // Often enough for the reactor to await the next question awake.
        for _ in 0..100 {
            socket.send_to(b"?", ("192.0.2.1", 7)).unwrap();
            for n in 0..ROW {
                let len = socket.recv(&mut datagram).unwrap();
                assert_eq!(datagram[..len], in_a_row(n));
            }
        }
    });
    run(|reactor, spawner| async move {
        let stack = stack(spawner, open(&reactor, "packet:srv"), OWN);
        spawn(spawner, udp_rows(stack, 7));
        go.send(()).unwrap();
        finished(client).await;
    });
}

#[test]
fn a_machine_that_forwards_can_be_kept_from_it() {
    let (go, client) = lay_cable(|| {
        plug_in();
        let mut socket = TcpStream::connect("192.0.2.1:7").unwrap();
        // Longer than it takes the kernel to find nobody at the address.
        std::thread::sleep(StdDuration::from_secs(4));
        socket.write_all(b"still there?").unwrap();
        let mut reply = [0; 12];
        socket.read_exact(&mut reply).unwrap();
    });
    run(|reactor, spawner| async move {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        ip("route add blackhole 192.0.2.1");
        let stack = stack(spawner, open(&reactor, "packet:srv"), OWN);
        spawn(spawner, echo(stack, 7));
        go.send(()).unwrap();
        finished(client).await;
    });
}

#[test]
fn a_small_mtu_and_no_offload_work_too() {
    let (go, client) = lay_cable(|| {
        plug_in();
        ip("link set cli mtu 1000 gso_max_size 1000 gro_max_size 1000");
        talk("192.0.2.1:7", 1 << 20);
    });
    run(|reactor, spawner| async move {
        ip("link set srv mtu 1000");
        let nic = open(&reactor, "packet:srv");
        assert_eq!(nic.network_mtu(), 1000);
        let stack = stack(spawner, nic, OWN);
        spawn(spawner, echo(stack, 7));
        go.send(()).unwrap();
        finished(client).await;
    });
}

#[test]
fn the_machines_address_is_shared_port_by_port() {
    let (go, client) = lay_cable(|| {
        plug_in();
        // Ours.
        talk("192.0.2.10:8080", 4 << 20);
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("192.0.2.10:69").unwrap();
        let timeout = Some(StdDuration::from_secs(5));
        socket.set_read_timeout(timeout).unwrap();
        socket.send(b"read request").unwrap();
        let mut reply = [0; 100];
        let n = socket.recv(&mut reply).unwrap();
        assert_eq!(&reply[..n], b"read request");
        // The machine's: served, refused, unreachable, and alive.
        talk("192.0.2.10:22", 100_000);
        let refused = TcpStream::connect("192.0.2.10:23").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        socket.connect("192.0.2.10:70").unwrap();
        socket.send(b"nobody").unwrap();
        let refused = socket.recv(&mut reply).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(ping(HOST));
        talk("192.0.2.10:8080", 1000);
    });
    run(|reactor, spawner| async move {
        ip("route add default via 192.0.2.254");
        let host = HostAddress::of("srv").unwrap();
        assert_eq!((host.address, host.prefix), (SHARED, 24));
        assert_eq!(host.gateway, Some(Ipv4Address::new(192, 0, 2, 254)));
        let ports = Ports {
            tcp: vec![8080],
            udp: vec![67, 69, 4011],
        };
        let share = HostShare::claim(host, ports.clone()).unwrap();
        // Nobody else gets them now, and the error says so.
        let error = HostShare::claim(host, ports).unwrap_err();
        assert!(matches!(error, ShareError::PortInUse { port: 8080, .. }));
        let nic = open(&reactor, "packet:srv");
        nic.admit(share.admission()).unwrap();
        let _ssh = kernel_echo(22);
        let stack = stack(spawner, nic, SHARED);
        spawn(spawner, echo(stack, 8080));
        spawn(spawner, udp_echo(stack, 69));
        go.send(()).unwrap();
        finished(client).await;
        drop(share);
    });
}

#[test]
fn the_link_follows_the_cable_and_a_new_interface() {
    let (go, client) = lay_cable(plug_in);
    run(|reactor, spawner| async move {
        let stack = stack(spawner, open(&reactor, "packet:srv"), OWN);
        assert!(!stack.is_link_up());
        go.send(()).unwrap();
        stack.wait_link_up().await;
        finished(client).await;
        // The client's namespace went away with its thread, and the cable
        // with it. A new one is laid within this namespace.
        stack.wait_link_down().await;
        Timer::after(Duration::from_millis(50)).await;
        ip("link add srv type veth peer name other");
        ip("link set srv up");
        ip("link set other up");
        stack.wait_link_up().await;
    });
}

#[test]
fn a_tap_device_leads_to_the_stack() {
    enter_new_network();
    run(|reactor, spawner| async move {
        let nic = open(&reactor, "tap:lab0");
        ip(&format!("address add {HOST}/24 dev lab0"));
        let stack = stack(spawner, nic, OWN);
        spawn(spawner, echo(stack, 7));
        let error = AnyNic::open(&"tap:lab0".parse().unwrap(), &reactor).err();
        let error = error.unwrap().to_string();
        assert!(error.contains("another process"), "{error}");
        // Threads made here stay in this namespace.
        let client = std::thread::spawn(|| talk("192.0.2.1:7", 8 << 20));
        finished(client).await;
    });
}

#[test]
fn what_cannot_be_opened_is_told_with_what_to_do() {
    enter_new_network();
    ip("link add short0 mtu 500 type veth peer name short1");
    let reactor = Reactor::new().unwrap();
    for (spec, hint) in [
        (
            "packet:eth7",
            "there is no interface eth7; there are: short0",
        ),
        ("packet:lo", "does not speak Ethernet"),
        ("packet:short0", "ip link set short0 mtu 1500"),
    ] {
        let error = AnyNic::open(&spec.parse().unwrap(), &reactor).err();
        let error = error.unwrap().to_string();
        assert!(error.contains(hint), "{spec}: {error}");
    }
    let error = HostAddress::of("short0").unwrap_err().to_string();
    assert!(error.contains("has no IPv4 address"), "{error}");
}
