//! The tasks that run the stack, and the memory that they run in.

use std::task::Poll;

use embassy_net::tcp::TcpSocket;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Runner, Stack};
use embassy_time::{Duration, Timer};
use ichor::journal::Journal;
use ichor::net::connections::{Connections, LARGEST_SEGMENT, Slot};
use ichor::net::dhcp::Task;
use ichor::net::lane::Lane;
use ichor::net::mux::{Divert, Mux, Port};
use ichor::net::neighbours::Neighbours;
use ichor::net::reload;
use ichor::net::shelf::Shelf;
use ichor::net::site::Site;
use ichor::net::status::{Health, Identity};
use ichor::{dhcp, net, tftp};
use ichor_hal_linux::nic::{AnyNic, LARGE_SEGMENT};
use ichor_hal_linux::{DataFolder, LogFile, UnixClock};
use static_cell::{ConstStaticCell, StaticCell};

use crate::capacity::{
    BoardCatalog, CONNECTIONS, EVENTS, FRAMES, LEASES, MACHINES, PROBES, REPLIES,
    STACK_CONNECTIONS, STACKS, TRANSFERS,
};
use crate::cli::LogFormat;
use crate::output::{self, Printer};

/// Bytes of HTTP requests that wait to be read.
const RECEIVE_BUFFER: usize = 4096;
// What the kernel cuts up is what the stack makes.
const _: () = assert!(LARGE_SEGMENT == LARGEST_SEGMENT);
/// Bytes of TFTP data that may wait for the NIC, per port: a window of the
/// largest size with full blocks.
const TFTP_SEND_BUFFER: usize = 128 * 1024;
const TFTP_RECEIVE_BUFFER: usize = 16 * 1024;
/// Longest datagram: TFTP's largest block fits.
const DATAGRAM: usize = 65_536;

pub(crate) type BoardDivert = Divert<FRAMES, FRAMES>;
pub(crate) type BoardMux = Mux<'static, AnyNic, FRAMES, FRAMES, STACKS>;
type BoardPort = Port<'static, AnyNic, FRAMES, FRAMES, STACKS>;
pub(crate) type BoardDhcp = dhcp::Server<LEASES, REPLIES, PROBES>;
pub(crate) type BoardTftp = tftp::Server<<DataFolder as ichor_hal::Files>::File, TRANSFERS>;
pub(crate) type BoardJournal = Journal<EVENTS, MACHINES>;
pub(crate) type BoardSite = Site<'static, DataFolder, BoardJournal, BoardCatalog>;
pub(crate) type BoardTask = Task<'static, LogFile, UnixClock, BoardJournal, FRAMES, FRAMES>;

pub(crate) static DIVERT: ConstStaticCell<BoardDivert> = ConstStaticCell::new(Divert::new());
pub(crate) static TCP_CONNECTIONS: ConstStaticCell<Connections<[Slot; CONNECTIONS]>> =
    ConstStaticCell::new(Connections::new());
pub(crate) static HEALTH: ConstStaticCell<Health> = ConstStaticCell::new(Health::new(Identity {
    board: "bastion",
    version: env!("CARGO_PKG_VERSION"),
}));
pub(crate) static NEIGHBOURS: ConstStaticCell<Neighbours> = ConstStaticCell::new(Neighbours::new());
pub(crate) static DHCP: ConstStaticCell<BoardDhcp> = ConstStaticCell::new(dhcp::Server::new());
pub(crate) static TFTP: StaticCell<BoardTftp> = StaticCell::new();
pub(crate) static JOURNAL: ConstStaticCell<BoardJournal> = ConstStaticCell::new(Journal::new());
pub(crate) static CATALOGS: ConstStaticCell<Shelf<BoardCatalog>> =
    ConstStaticCell::new(Shelf::new(BoardCatalog::new(), BoardCatalog::new()));
pub(crate) static LANES: ConstStaticCell<[Lane; STACKS]> =
    ConstStaticCell::new([const { Lane::new() }; STACKS]);

#[embassy_executor::task]
pub(crate) async fn reload_catalog(
    files: &'static DataFolder,
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

#[embassy_executor::task(pool_size = STACKS)]
pub(crate) async fn run_stack(mut runner: Runner<'static, BoardPort>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
pub(crate) async fn run_dhcp(mut task: BoardTask, server: &'static mut BoardDhcp) -> ! {
    task.serve(server).await
}

#[embassy_executor::task]
pub(crate) async fn run_tftp(
    stack: Stack<'static>,
    server: &'static mut BoardTftp,
    port: u16,
    transfer_ports: u8,
    files: &'static DataFolder,
    journal: &'static BoardJournal,
) -> ! {
    let mut sockets = Vec::new();
    for n in 0..=transfer_ports {
        let mut socket = UdpSocket::new(
            stack,
            vec![PacketMetadata::EMPTY; 64].leak(),
            vec![0; TFTP_RECEIVE_BUFFER].leak(),
            vec![PacketMetadata::EMPTY; 128].leak(),
            vec![0; TFTP_SEND_BUFFER].leak(),
        );
        let bound = if n == 0 {
            socket.bind(port)
        } else {
            socket.bind(0)
        };
        if bound.is_err() {
            log::error!("tftp: port {port} cannot be bound");
        }
        sockets.push(socket);
    }
    let mut buffer = vec![0; DATAGRAM];
    net::tftp::serve(server, &mut sockets, files, &mut buffer, journal).await
}

/// The sockets of the HTTP connections of one stack. Their memory is in one
/// piece, of which the kernel gives a page when it is first used.
pub(crate) fn http_sockets(stack: Stack<'static>) -> impl Iterator<Item = TcpSocket<'static>> {
    let receive = vec![0; STACK_CONNECTIONS * RECEIVE_BUFFER].leak();
    receive
        .chunks_exact_mut(RECEIVE_BUFFER)
        .map(move |receive| net::http::socket(stack, receive))
}

#[embassy_executor::task(pool_size = CONNECTIONS)]
pub(crate) async fn run_http(
    mut socket: TcpSocket<'static>,
    port: u16,
    site: &'static BoardSite,
    mux: &'static BoardMux,
) -> ! {
    loop {
        let visitor = net::http::accept(&mut socket, port, mux).await;
        // What is needed to serve takes 10 KB: nearly all places are empty
        // nearly always.
        Box::pin(visitor.serve(site)).await;
    }
}

#[embassy_executor::task]
pub(crate) async fn print_journal(
    journal: &'static BoardJournal,
    format: LogFormat,
    printer: Printer,
) {
    let mut seq = 1;
    loop {
        // All that is there by now goes out in one piece.
        let mut lines = String::new();
        let mut lost = 0;
        let mut event = journal.next(seq).await;
        loop {
            lost += event.seq - seq;
            seq = event.seq + 1;
            lines += &output::line(format, &event);
            match embassy_futures::poll_once(journal.next(seq)) {
                Poll::Ready(next) => event = next,
                Poll::Pending => break,
            }
        }
        if lost > 0 {
            log::warn!("{lost} events were not printed: standard output is too slow");
        }
        while let Err(unprinted) = printer.print(lines) {
            lines = unprinted;
            Timer::after(Duration::from_millis(10)).await;
        }
    }
}
