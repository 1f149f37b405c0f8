//! A stack on a NIC, and a reactor for the length of one test.
#![allow(dead_code, reason = "every test uses a part of this")]

use std::cell::Cell;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;

use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_net::tcp::TcpSocket;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};
use embassy_time::{Duration, Timer};
use ichor_hal_linux::Reactor;
use ichor_hal_linux::nic::AnyNic;

/// No test may take longer.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Runs one test's future on a reactor of its own.
pub(crate) fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(Reactor, Spawner) -> F) {
    let reactor = Reactor::new().unwrap();
    let passed = Rc::new(Cell::new(false));
    let done = passed.clone();
    reactor
        .run(|spawner| {
            let test = test(reactor, spawner);
            spawner.spawn(
                boxed(Box::pin(async move {
                    let in_time = select(test, Timer::after(TIME_LIMIT)).await;
                    done.set(matches!(in_time, Either::First(())));
                    reactor.stop();
                }))
                .unwrap(),
            );
        })
        .unwrap();
    assert!(passed.get(), "the test took longer than {TIME_LIMIT:?}");
}

#[embassy_executor::task(pool_size = 32)]
pub(crate) async fn boxed(future: Pin<Box<dyn Future<Output = ()>>>) {
    future.await;
}

#[embassy_executor::task(pool_size = 32)]
async fn drive(mut runner: Runner<'static, AnyNic>) {
    runner.run().await;
}

/// Runs a future beside the test.
pub(crate) fn spawn(spawner: Spawner, future: impl Future<Output = ()> + 'static) {
    spawner.spawn(boxed(Box::pin(future)).unwrap());
}

/// A stack with address `ip`/24 on a NIC.
pub(crate) fn stack(spawner: Spawner, nic: AnyNic, ip: Ipv4Address) -> Stack<'static> {
    let config = Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(ip, 24),
        gateway: None,
        dns_servers: Default::default(),
    });
    let resources = Box::leak(Box::new(StackResources::<8>::new()));
    let (stack, runner) = embassy_net::new(nic, config, resources, 4711);
    spawner.spawn(drive(runner).unwrap());
    stack
}

/// A TCP socket with large buffers.
pub(crate) fn tcp_socket(stack: Stack<'static>) -> TcpSocket<'static> {
    let buffer = || Box::leak(vec![0; 65536].into_boxed_slice());
    let mut socket = TcpSocket::new(stack, buffer(), buffer());
    socket.set_timeout(Some(Duration::from_secs(10)));
    socket
}

/// Sends back, on `port`, what clients send, one after the other.
pub(crate) async fn echo(stack: Stack<'static>, port: u16) {
    let mut socket = tcp_socket(stack);
    let mut buffer = vec![0; 16384];
    loop {
        if socket.accept(port).await.is_ok() {
            while let Ok(n @ 1..) = socket.read(&mut buffer).await {
                let mut rest = &buffer[..n];
                while !rest.is_empty() {
                    match socket.write(rest).await {
                        Ok(n) => rest = &rest[n..],
                        Err(_) => break,
                    }
                }
            }
            socket.close();
            let _ = socket.flush().await;
        }
        socket.abort();
        let _ = socket.flush().await;
    }
}

/// Sends `total` bytes to an echo server and checks what comes back.
pub(crate) async fn exchange(socket: &mut TcpSocket<'static>, total: usize) {
    let (mut reader, mut writer) = socket.split();
    let byte_at = |n: usize| (n / 251 + n) as u8;
    let send = async {
        let mut sent = 0;
        while sent < total {
            let end = total.min(sent + 8192);
            let chunk: Vec<u8> = (sent..end).map(byte_at).collect();
            sent += writer.write(&chunk).await.unwrap();
        }
    };
    let receive = async {
        let (mut received, mut buffer) = (0, vec![0; 16384]);
        while received < total {
            let n = reader.read(&mut buffer).await.unwrap();
            assert_ne!(n, 0, "the other end closed after {received} bytes");
            for byte in &buffer[..n] {
                assert_eq!(*byte, byte_at(received), "byte {received}");
                received += 1;
            }
        }
    };
    embassy_futures::join::join(send, receive).await;
}

/// A folder that goes away with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ichor-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
