//! A board that takes updates, in this process: the real HTTP server on its own TCP/IP stack, over
//! fakes of card and files. A port of the loopback interface leads to it, through a second stack.

use std::cell::RefCell;
use std::future::Future;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};

use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_net::driver::Driver;
use embassy_net::tcp::{TcpReader, TcpSocket, TcpWriter};
use embassy_net::{Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_time::{Duration, Timer};
use ichor::catalog::Catalog;
use ichor::journal::Journal;
use ichor::net::connections::{Connections, Slot, Wire};
use ichor::net::lane::Lane;
use ichor::net::mux::{Divert, Mux};
use ichor::net::neighbours::Neighbours;
use ichor::net::shelf::Shelf;
use ichor::net::site::Site;
use ichor::net::status::{Health, Identity};
use ichor::update::{Key, Service};
use ichor_hal::fake::{FakeEntropy, FakeFiles, FakeUpdates};
use ichor_hal_linux::Reactor;
use ichor_hal_linux::nic::{AnyNic, Spec};

/// The board's key.
pub(crate) const KEY: [u8; 32] = [0x42; 32];

const IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const BRIDGE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PORT: u16 = 8080;
/// HTTP connections that the board has places for.
const PLACES: usize = 8;
/// Connections that can lead to it at once.
const BRIDGES: usize = 16;

type SmallCatalog = Catalog<4096, 8, 8, 8>;

/// What is looked at, or done to, from outside.
pub(crate) struct Inside {
    pub(crate) files: FakeFiles,
    pub(crate) updates: FakeUpdates,
}

type Visit = Box<dyn FnOnce(&Inside) + Send>;

/// A running board. Ends with its value.
pub(crate) struct Board {
    pub(crate) address: SocketAddrV4,
    visits: Option<Sender<Visit>>,
    thread: Option<JoinHandle<()>>,
    scratch: PathBuf,
}

/// How a board is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It takes updates signed with [`KEY`].
    Keyed,
    /// It has no key.
    Keyless,
    /// It takes no updates.
    Fixed,
}

impl Board {
    pub(crate) fn start(kind: Kind) -> Self {
        static BOARDS: AtomicU32 = AtomicU32::new(0);
        let number = BOARDS.fetch_add(1, Ordering::Relaxed);
        let name = format!("ichor-board-{}-{number}", std::process::id());
        let scratch = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&scratch).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (visits, visitors) = mpsc::channel();
        let wires = scratch.clone();
        let thread = thread::spawn(move || run(kind, &listener, visitors, &wires));
        Self {
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            visits: Some(visits),
            thread: Some(thread),
            scratch,
        }
    }

    /// Runs `visit` where the board runs, and returns what it returns.
    pub(crate) fn visit<T: Send + 'static>(
        &self,
        visit: impl FnOnce(&Inside) -> T + Send + 'static,
    ) -> T {
        let (tell, told) = mpsc::channel();
        let visit: Visit = Box::new(move |inside| tell.send(visit(inside)).unwrap());
        self.visits.as_ref().unwrap().send(visit).unwrap();
        told.recv().unwrap()
    }

    /// Waits until the board is as it should be.
    pub(crate) fn wait_until(
        &self,
        what: &str,
        check: impl Fn(&Inside) -> bool + Clone + Send + 'static,
    ) {
        let started = std::time::Instant::now();
        while !self.visit(check.clone()) {
            assert!(started.elapsed().as_secs() < 20, "not in time: {what}");
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.visits = None;
        let joined = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_dir_all(&self.scratch);
        if !thread::panicking() {
            assert!(
                joined.is_some_and(|result| result.is_ok()),
                "the board panicked"
            );
        }
    }
}

/// Runs the board, and runs it again whenever it restarts.
fn run(kind: Kind, listener: &TcpListener, visitors: Receiver<Visit>, wires: &Path) {
    let files = FakeFiles::new();
    files
        .put("assets/old", "old asset\n")
        .put("ichor.key", "secret");
    files
        .put("assets/ichor.key", "secret")
        .put("assets/ichor.toml", "secret");
    let updates = FakeUpdates::new(b"old program", files.clone());
    let inside = Rc::new(Inside { files, updates });
    let visitors = Rc::new(visitors);
    for boot in 1.. {
        let reactor = Reactor::new().unwrap();
        let again = Rc::new(RefCell::new(false));
        let listener = listener.try_clone().unwrap();
        let wire = format!("wire:{}", wires.join(boot.to_string()).display());
        let (inside, visitors, restarts) = (inside.clone(), visitors.clone(), again.clone());
        let run = |spawner: Spawner| {
            let open = || AnyNic::open(&wire.parse::<Spec>().unwrap(), &reactor).unwrap();
            let (board, wire) = board(spawner, open());
            let bridge = stack(spawner, open(), BRIDGE);
            let restart = serve(spawner, board, wire, kind, boot, &inside);
            let listen = listen(reactor, spawner, listener, bridge);
            let visits = visits(visitors, inside);
            spawn(spawner, async move {
                let ended = select(select(restart, listen), visits).await;
                *restarts.borrow_mut() = matches!(ended, Either::First(_));
                reactor.stop();
            });
        };
        reactor.run(run).unwrap();
        if !*again.borrow() {
            return;
        }
    }
}

/// Serves HTTP; the returned future ends when the board restarts.
fn serve(
    spawner: Spawner,
    stack: Stack<'static>,
    wire: &'static dyn Wire,
    kind: Kind,
    boot: u64,
    inside: &Inside,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let identity = Identity {
        board: "test",
        version: if boot == 1 { "1.0" } else { "2.0" },
    };
    let health: &Health = leak(Health::new(identity));
    health.set_address(IP);
    health.trouble(
        "card",
        format_args!("missing: leases are lost at power-off"),
    );
    let key = match kind {
        Kind::Keyed => Ok(Key::new(KEY)),
        _ => Err(ichor::update::KeyError::Missing),
    };
    let service: &Service<FakeUpdates> = leak(Service::new(
        inside.updates.clone(),
        key,
        &mut FakeEntropy(boot),
    ));
    let catalogs: &Shelf<SmallCatalog> = leak(Shelf::new(Catalog::new(), Catalog::new()));
    let site = Site::new(
        leak(inside.files.clone()),
        leak(Journal::<16, 16>::new()),
        catalogs,
    )
    .with_health(health);
    if kind == Kind::Fixed {
        listen_on(spawner, stack, wire, leak(site));
    } else {
        listen_on(spawner, stack, wire, leak(site.with_updates(service)));
    }
    Box::pin(async {
        service.restart().await;
        Timer::after(Duration::from_millis(100)).await;
    })
}

fn listen_on<U: ichor_hal::Updates>(
    spawner: Spawner,
    stack: Stack<'static>,
    wire: &'static dyn Wire,
    site: &'static Site<'static, FakeFiles, Journal<16, 16>, SmallCatalog, U>,
) {
    for _ in 0..PLACES {
        spawn(spawner, async move {
            ichor::net::http::serve(stack, PORT, site, wire, &mut vec![0; 16384]).await
        });
    }
}

/// Lets visitors in until there will be no more.
async fn visits(visitors: Rc<Receiver<Visit>>, inside: Rc<Inside>) {
    loop {
        match visitors.try_recv() {
            Ok(visit) => visit(&inside),
            Err(TryRecvError::Empty) => Timer::after(Duration::from_millis(2)).await,
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

/// Takes connections of the loopback interface and leads them to the board.
async fn listen(reactor: Reactor, spawner: Spawner, listener: TcpListener, stack: Stack<'static>) {
    listener.set_nonblocking(true).unwrap();
    let readable = reactor.register(listener.try_clone().unwrap()).unwrap();
    loop {
        match listener.accept() {
            Ok((stream, _)) => spawn(spawner, bridge(reactor, stream, stack)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => readable.readable().await,
            Err(error) => panic!("accept: {error}"),
        }
    }
}

async fn bridge(reactor: Reactor, stream: TcpStream, stack: Stack<'static>) {
    stream.set_nonblocking(true).unwrap();
    let (mut receive, mut send) = (vec![0; 16384], vec![0; 16384]);
    let mut socket = TcpSocket::new(stack, &mut receive, &mut send);
    if socket.connect((IP, PORT)).await.is_err() {
        return;
    }
    let ended = {
        let (mut reader, mut writer) = socket.split();
        select(
            up(reactor, &stream, &mut writer),
            down(&mut reader, &stream),
        )
        .await
    };
    // One side has ended. The other one sees it and may end in its own time:
    // to close with bytes unread would be a reset.
    let time_limit = Timer::after(Duration::from_secs(5));
    match ended {
        Either::First(()) => {
            socket.close();
            let (mut reader, _writer) = socket.split();
            select(down(&mut reader, &stream), time_limit).await;
        }
        Either::Second(()) => {
            let _ = stream.shutdown(Shutdown::Write);
            let (_reader, mut writer) = socket.split();
            select(up(reactor, &stream, &mut writer), time_limit).await;
        }
    }
    socket.close();
    select(socket.flush(), Timer::after(Duration::from_secs(1))).await;
}

/// Until the client sends no more.
async fn up(reactor: Reactor, mut stream: &TcpStream, writer: &mut TcpWriter<'_>) {
    let readable = reactor.register(stream.try_clone().unwrap()).unwrap();
    let mut buffer = [0; 4096];
    loop {
        let n = match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                readable.readable().await;
                continue;
            }
            Err(_) => return,
        };
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            match writer.write(rest).await {
                Ok(n) => rest = &rest[n..],
                Err(_) => return,
            }
        }
    }
}

/// Until the board sends no more.
async fn down(reader: &mut TcpReader<'_>, mut stream: &TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = reader.read(&mut buffer).await {
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    Timer::after(Duration::from_millis(1)).await;
                }
                Err(_) => return,
            }
        }
    }
}

/// The board's stack behind its mux.
fn board(spawner: Spawner, nic: AnyNic) -> (Stack<'static>, &'static dyn Wire) {
    let neighbours: &Neighbours = leak(Neighbours::new());
    neighbours.set_own(IP, Ipv4Addr::new(255, 255, 255, 0));
    let connections: &Connections<[Slot; PLACES]> = leak(Connections::new());
    let (lanes, divert) = (leak([Lane::new()]), leak(Divert::<8, 8>::new()));
    let mux: &Mux<_, _, _, 1> = leak(Mux::new(nic, lanes, divert, neighbours, connections));
    spawn(spawner, mux.run());
    let [port] = mux.ports();
    (stack(spawner, port, IP), mux)
}

fn stack<D: Driver + 'static>(spawner: Spawner, nic: D, ip: Ipv4Addr) -> Stack<'static> {
    let config = embassy_net::Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(ip, 24),
        gateway: None,
        dns_servers: Default::default(),
    });
    let resources = leak(StackResources::<{ PLACES + BRIDGES }>::new());
    let (stack, mut runner) = embassy_net::new(nic, config, resources, 4711);
    spawn(spawner, async move { runner.run().await });
    stack
}

#[embassy_executor::task(pool_size = 512)]
async fn boxed(future: Pin<Box<dyn Future<Output = ()>>>) {
    future.await;
}

fn spawn<T>(spawner: Spawner, future: impl Future<Output = T> + 'static) {
    let future = Box::pin(async {
        future.await;
    });
    spawner.spawn(boxed(future).unwrap());
}

fn leak<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}
