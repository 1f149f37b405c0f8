//! The tasks that run the stack, and the memory that they run in.

use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Runner, Stack, StackResources};
use embassy_time::{Duration, Ticker, Timer};
use ichor::journal::Journal;
use ichor::net::connections::{Connections, Slot};
use ichor::net::dhcp::Task;
use ichor::net::lane::Lane;
use ichor::net::mux::{Divert, Mux, Port};
use ichor::net::neighbours::Neighbours;
use ichor::net::reload;
use ichor::net::shelf::Shelf;
use ichor::net::site::Site;
use ichor::net::status::{Health, Identity};
use ichor::update::Service;
use ichor::{dhcp, net, tftp};
use ichor_hal::Watchdog as _;
use ichor_hal_bcm2837::clock::MonotonicClock;
use ichor_hal_bcm2837::provoke::Failure;
use ichor_hal_bcm2837::watchdog::Watchdog;
use ichor_hal_bcm2837::{console, reset};
use ichor_hal_usb_net::Device;
use static_cell::{ConstStaticCell, StaticCell};

use crate::capacity::{
    BoardCatalog, CONNECTIONS, DATAGRAM, EVENTS, FRAMES, LEASES, MACHINES, PROBES, RECEIVE_BUFFER,
    REPLIES, TFTP_PORTS, TFTP_RECEIVE_BUFFER, TFTP_RECEIVED, TFTP_SEND_BUFFER, TFTP_SENT,
    TRANSFERS,
};
use crate::storage::{BoardCard, BoardFiles, BoardLog, BoardUpdates, BoardVolume};

pub(crate) type BoardDivert = Divert<FRAMES, FRAMES>;
type BoardMux = Mux<'static, Device<'static>, FRAMES, FRAMES, 1>;
type BoardPort = Port<'static, Device<'static>, FRAMES, FRAMES, 1>;
pub(crate) type BoardDhcp = dhcp::Server<LEASES, REPLIES, PROBES>;
pub(crate) type BoardTftp = tftp::Server<<BoardFiles as ichor_hal::Files>::File, TRANSFERS>;
pub(crate) type BoardJournal = Journal<EVENTS, MACHINES>;
pub(crate) type BoardSite = Site<'static, BoardFiles, BoardJournal, BoardCatalog, BoardUpdates>;
pub(crate) type BoardTask = Task<'static, BoardLog, MonotonicClock, BoardJournal, FRAMES, FRAMES>;

pub(crate) static DIVERT: ConstStaticCell<BoardDivert> = ConstStaticCell::new(Divert::new());
/// The way to the one stack, which has all sockets.
pub(crate) static LANE: ConstStaticCell<[Lane; 1]> = ConstStaticCell::new([Lane::new()]);
pub(crate) static MUX: StaticCell<BoardMux> = StaticCell::new();
pub(crate) static TCP_CONNECTIONS: ConstStaticCell<Connections<[Slot; CONNECTIONS]>> =
    ConstStaticCell::new(Connections::new());
pub(crate) static NEIGHBOURS: ConstStaticCell<Neighbours> = ConstStaticCell::new(Neighbours::new());
pub(crate) static HEALTH: ConstStaticCell<Health> = ConstStaticCell::new(Health::new(Identity {
    board: "cm3",
    version: env!("CARGO_PKG_VERSION"),
}));
pub(crate) static DHCP: ConstStaticCell<BoardDhcp> = ConstStaticCell::new(dhcp::Server::new());
pub(crate) static TFTP: StaticCell<BoardTftp> = StaticCell::new();
pub(crate) static JOURNAL: ConstStaticCell<BoardJournal> = ConstStaticCell::new(Journal::new());
pub(crate) static CATALOGS: ConstStaticCell<Shelf<BoardCatalog>> =
    ConstStaticCell::new(Shelf::new(BoardCatalog::new(), BoardCatalog::new()));
pub(crate) static CLOCK: StaticCell<MonotonicClock> = StaticCell::new();
pub(crate) static SERVICE: StaticCell<Service<BoardUpdates>> = StaticCell::new();
pub(crate) static SITE: StaticCell<BoardSite> = StaticCell::new();
pub(crate) static RESOURCES: StaticCell<StackResources<{ CONNECTIONS + TFTP_PORTS as usize + 1 }>> =
    StaticCell::new();

/// Feeds the watchdog while tasks run.
#[embassy_executor::task]
pub(crate) async fn live(mut watchdog: Watchdog, failure: Option<Failure>) {
    let mut ticker = Ticker::every(Duration::from_secs(1));
    loop {
        watchdog.feed();
        ticker.next().await;
        if let Some(failure) = failure {
            failure.provoke();
        }
    }
}

#[embassy_executor::task]
pub(crate) async fn tell_lost_messages() {
    ichor_hal_bcm2837::log::report_lost().await;
}

#[embassy_executor::task]
pub(crate) async fn run_volume(volume: &'static BoardVolume) -> ! {
    volume.run().await
}

/// How often the card is asked how it is, for the status page.
const LOOK: Duration = Duration::from_secs(5);

#[embassy_executor::task]
pub(crate) async fn watch_volume(volume: &'static BoardVolume, health: &'static Health) {
    let mut ill = false;
    loop {
        match volume.status().trouble {
            Some(trouble) => {
                if !ill {
                    defmt::error!("card: {}", defmt::Display2Format(&trouble));
                }
                health.trouble("card", format_args!("{trouble}"));
                ill = true;
            }
            None if ill => {
                defmt::info!("card: it works again");
                health.well("card");
                ill = false;
            }
            None => {}
        }
        Timer::after(LOOK).await;
    }
}

#[embassy_executor::task]
pub(crate) async fn reload_catalog(
    files: &'static BoardFiles,
    catalogs: &'static Shelf<BoardCatalog>,
    health: &'static Health,
    seen: u32,
) -> ! {
    reload::follow(files, catalogs, health, seen).await
}

#[embassy_executor::task]
pub(crate) async fn run_mux(mux: &'static BoardMux) -> ! {
    mux.run().await
}

#[embassy_executor::task]
pub(crate) async fn run_stack(mut runner: Runner<'static, BoardPort>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
pub(crate) async fn run_dhcp(mut task: BoardTask, server: &'static mut BoardDhcp) -> ! {
    task.serve(server).await
}

/// Buffers of one TFTP port.
struct PortBuffers {
    receive: [u8; TFTP_RECEIVE_BUFFER],
    send: [u8; TFTP_SEND_BUFFER],
}

/// What is known of the datagrams in them.
struct PortMetadata {
    received: [PacketMetadata; TFTP_RECEIVED],
    sent: [PacketMetadata; TFTP_SENT],
}

#[embassy_executor::task]
pub(crate) async fn run_tftp(
    stack: Stack<'static>,
    server: &'static mut BoardTftp,
    port: u16,
    transfer_ports: u8,
    files: &'static BoardFiles,
    journal: &'static BoardJournal,
) -> ! {
    static PORTS: ConstStaticCell<[PortBuffers; TFTP_PORTS as usize + 1]> = ConstStaticCell::new(
        [const {
            PortBuffers {
                receive: [0; TFTP_RECEIVE_BUFFER],
                send: [0; TFTP_SEND_BUFFER],
            }
        }; TFTP_PORTS as usize + 1],
    );
    // Apart from the buffers: it is not zero, and would be in the image.
    let mut metadata = [const {
        PortMetadata {
            received: [PacketMetadata::EMPTY; TFTP_RECEIVED],
            sent: [PacketMetadata::EMPTY; TFTP_SENT],
        }
    }; TFTP_PORTS as usize + 1];
    let mut sockets = heapless::Vec::<UdpSocket<'_>, { TFTP_PORTS as usize + 1 }>::new();
    let ports = PORTS.take().iter_mut().zip(&mut metadata);
    for (n, (buffers, metadata)) in ports.enumerate().take(usize::from(transfer_ports) + 1) {
        let mut socket = UdpSocket::new(
            stack,
            &mut metadata.received,
            &mut buffers.receive,
            &mut metadata.sent,
            &mut buffers.send,
        );
        if socket.bind(if n == 0 { port } else { 0 }).is_err() {
            defmt::error!("tftp: port {} cannot be bound", port);
        }
        // There is room for as many as there are buffers.
        let _ = sockets.push(socket);
    }
    let mut buffer = [0; DATAGRAM];
    net::tftp::serve(server, &mut sockets, files, &mut buffer, journal).await
}

#[embassy_executor::task(pool_size = CONNECTIONS)]
pub(crate) async fn run_http(
    stack: Stack<'static>,
    port: u16,
    site: &'static BoardSite,
    mux: &'static BoardMux,
    receive: &'static mut [u8; RECEIVE_BUFFER],
) -> ! {
    net::http::serve(stack, port, site, mux, receive).await
}

/// What waits to be read on each HTTP connection.
pub(crate) static RECEIVE_BUFFERS: ConstStaticCell<[[u8; RECEIVE_BUFFER]; CONNECTIONS]> =
    ConstStaticCell::new([[0; RECEIVE_BUFFER]; CONNECTIONS]);

/// Tells the timeline of every machine.
#[embassy_executor::task]
pub(crate) async fn tell_journal(journal: &'static BoardJournal) -> ! {
    let mut seq = 1;
    loop {
        let event = journal.next(seq).await;
        if event.seq > seq {
            defmt::warn!("{} events were not told", event.seq - seq);
        }
        seq = event.seq + 1;
        defmt::info!("{}", defmt::Display2Format(&event));
    }
}

/// What the last answer needs to leave.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Restarts the board when a new program is in its place.
#[embassy_executor::task]
pub(crate) async fn restart(service: &'static Service<BoardUpdates>, card: &'static BoardCard) {
    service.restart().await;
    Timer::after(LAST_WORDS).await;
    card.retire().await;
    defmt::info!("restarting into the new program");
    console::flush();
    reset();
}
