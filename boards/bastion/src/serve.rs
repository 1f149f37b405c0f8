//! `ichor serve`: opens what needs privileges, gives them up, runs the stack.

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::rc::Rc;

use embassy_executor::Spawner;
use embassy_net::driver::{Driver as _, HardwareAddress};
use embassy_net::{Ipv4Cidr, StackResources, StaticConfigV4};
use embassy_time::Duration;
use ichor::config::{self, Address, Config, ConfigError, Settings};
use ichor::dhcp::{self, Mode};
use ichor::net::dhcp::{Own, Task};
use ichor::net::mux::Mux;
use ichor::net::neighbours::Neighbours;
use ichor::net::reload;
use ichor::net::shelf::Shelf;
use ichor::net::site::Site;
use ichor::net::status::Health;
use ichor::{MacAddr, tftp};
use ichor_hal::{Entropy as _, Files as _, Watchdog as _};
use ichor_hal_linux::nic::{Admission, AnyNic, OpenError, Ports, Spec};
use ichor_hal_linux::{
    DataFolder, HostAddress, HostShare, LogFile, OpenLogError, OsEntropy, Reactor, ServiceManager,
    ShareError, Signal, Signals, Symlinks, UnixClock, User, drop_privileges,
};

use crate::board::Board;
use crate::capacity::{BoardCatalog, STACK_CONNECTIONS, STACKS, TFTP_PORTS};
use crate::cli::Serve;
use crate::failure::{Failure, Kind};
use crate::output::Printer;
use crate::tasks::{
    BoardDivert, BoardJournal, BoardMux, BoardSite, CATALOGS, DHCP, DIVERT, HEALTH, JOURNAL, LANES,
    NEIGHBOURS, TCP_CONNECTIONS, TFTP, http_sockets, print_journal, reload_catalog, run_dhcp,
    run_http, run_mux, run_stack, run_tftp,
};

/// Where leases are kept unless the owner says otherwise.
const STATE_FOLDER: &str = "/var/lib/ichor";
/// Serves until a signal says to stop, or something makes it impossible.
pub(crate) fn run(request: Serve) -> Result<(), Failure> {
    let (mut config, board) = configure(&request)?;
    let reactor = Reactor::new().map_err(io_failure("starting the event loop"))?;
    let signals = Signals::new(&reactor).map_err(io_failure("waiting for signals"))?;
    let spec = board.nic.clone().ok_or_else(|| {
        Failure::new(
            Kind::Config,
            "nic: say where frames come from, for instance --nic packet:eth0",
        )
    })?;
    // Settings come first, as far as they are known: with a wrong one there is
    // no use in trying again, as there is with an interface not there yet.
    if config.address != Address::Host {
        config.check().map_err(config_failure)?;
    }
    let nic = AnyNic::open(&spec, &reactor).map_err(nic_failure)?;
    let share = open_address(&mut config, &spec, &nic)?;
    config.check().map_err(config_failure)?;

    let symlinks = if board.follow_symlinks {
        Symlinks::Follow
    } else {
        Symlinks::StayInside
    };
    let files = DataFolder::open(&request.data, symlinks, &reactor).map_err(io_failure(
        format!("opening the data folder {}", request.data.display()),
    ))?;
    let state = board.state.clone().unwrap_or_else(|| STATE_FOLDER.into());
    let log = open_log(&state, board.sync)?;
    give_up_privileges(&board, &state)?;
    let entropy = OsEntropy::new().map_err(io_failure("opening the source of randomness"))?;

    let parts = Parts {
        request,
        config,
        nic,
        files,
        log,
        entropy,
        signals,
        reactor,
    };
    let result = Rc::new(RefCell::new(Ok(())));
    let outcome = result.clone();
    reactor
        .run(move |spawner| {
            if let Ok(task) = supervise(spawner, parts, outcome) {
                spawner.spawn(task);
            }
        })
        .map_err(io_failure("waiting for events"))?;
    drop(share);
    result.replace(Ok(()))
}

/// Everything that was opened.
struct Parts {
    request: Serve,
    config: Config,
    nic: AnyNic,
    files: DataFolder,
    log: LogFile,
    entropy: OsEntropy,
    signals: Signals,
    reactor: Reactor,
}

/// Reads `ichor.toml`, then the flags.
fn configure(request: &Serve) -> Result<(Config, Board), Failure> {
    let (mut config, mut board) = (Config::new(), Board::default());
    let path = request.data.join(config::FILE_NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let mut settings = Settings::new(&mut config, &mut board, Board::KEYS);
            let name = path.display().to_string();
            settings
                .read(&text)
                .map_err(|error| Failure::new(Kind::Config, error.in_file(&name)))?;
        }
        Err(_) if !request.data.is_dir() => {
            let message = format!(
                "{}: no such folder: --data names the matchbox folder",
                request.data.display()
            );
            return Err(Failure::new(Kind::Config, message));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Failure::new(
                Kind::Config,
                format!("{}: {error}", path.display()),
            ));
        }
    }
    let mut settings = Settings::new(&mut config, &mut board, Board::KEYS);
    for (key, value) in &request.settings {
        settings
            .set(key, value)
            .map_err(|reason| Failure::new(Kind::Config, format!("--{key}: {reason}")))?;
    }
    Ok((config, board))
}

/// Settles which address is ours, and tells the NIC.
fn open_address(
    config: &mut Config,
    spec: &Spec,
    nic: &AnyNic,
) -> Result<Option<HostShare>, Failure> {
    let admit = |admission: &Admission| {
        nic.admit(admission)
            .map_err(io_failure("choosing the frames for the stack"))
    };
    match config.address {
        // The check of the settings does not let it pass.
        Address::Unset => Ok(None),
        Address::Own(address, prefix) => {
            let broadcast = (prefix < 31).then(|| address | !netmask(prefix));
            admit(&Admission {
                address: Some(address),
                broadcast,
                shared: None,
            })?;
            Ok(None)
        }
        Address::Host => {
            let Spec::Packet { interface } = spec else {
                return Err(Failure::new(
                    Kind::Config,
                    "address: host shares the address of an interface: use it with \
                     --nic packet:IFACE",
                ));
            };
            let host = HostAddress::of(interface).map_err(share_failure)?;
            config.set_host(host.address, host.prefix);
            if config.gateway.is_none() {
                config.gateway = host.gateway;
            }
            // Transfers must not need ports that the kernel might be using.
            config.tftp_single_port = true;
            let mut udp: Vec<u16> = config.tftp_port.into_iter().collect();
            if config.dhcp.mode != Mode::Off {
                udp.extend([dhcp::wire::SERVER_PORT, dhcp::wire::BOOT_SERVER_PORT]);
            }
            let ports = Ports {
                tcp: config.http_ports.to_vec(),
                udp,
            };
            let share = HostShare::claim(host, ports).map_err(share_failure)?;
            admit(share.admission())?;
            Ok(Some(share))
        }
    }
}

fn open_log(state: &Path, sync: bool) -> Result<LogFile, Failure> {
    std::fs::create_dir_all(state).map_err(|error| {
        let folder = state.display();
        let message =
            format!("cannot make the state folder {folder}: {error}; --state names another one");
        Failure::new(Kind::State, message)
    })?;
    LogFile::open(state, sync).map_err(|error: OpenLogError| Failure::new(Kind::State, error))
}

fn give_up_privileges(board: &Board, state: &Path) -> Result<(), Failure> {
    let user = User::find(board.user.as_deref());
    let dropped = user.and_then(|user| drop_privileges(&user, state));
    dropped.map_err(|error| Failure::new(Kind::Permission, error))
}

/// Starts everything in order, waits for a signal, ends.
#[embassy_executor::task]
async fn supervise(spawner: Spawner, parts: Parts, outcome: Rc<RefCell<Result<(), Failure>>>) {
    let reactor = parts.reactor;
    let result = serve_until_signalled(spawner, parts).await;
    *outcome.borrow_mut() = result;
    reactor.stop();
}

async fn serve_until_signalled(spawner: Spawner, parts: Parts) -> Result<(), Failure> {
    let Parts {
        request,
        config,
        nic,
        files,
        mut log,
        mut entropy,
        mut signals,
        ..
    } = parts;
    let full = |_| Failure::new(Kind::Other, "a task could not be started");
    let HardwareAddress::Ethernet(mac) = nic.hardware_address() else {
        return Err(Failure::new(Kind::Nic, "the NIC does not speak Ethernet"));
    };
    let (ip, prefix) = own_address(&config);
    let own = Own {
        mac: MacAddr(mac),
        ip,
        netmask: netmask(prefix),
        gateway: config.gateway,
    };
    let files: &'static DataFolder = Box::leak(Box::new(files));
    let journal: &'static BoardJournal = JOURNAL.take();
    let divert: &'static BoardDivert = DIVERT.take();
    let neighbours: &'static Neighbours = NEIGHBOURS.take();
    let health: &'static Health = HEALTH.take();
    let catalogs: &'static Shelf<BoardCatalog> = CATALOGS.take();

    // The stack.
    health.set_address(ip);
    neighbours.set_own(ip, own.netmask);
    let network_mtu = nic.network_mtu();
    let static_config = StaticConfigV4 {
        address: Ipv4Cidr::new(ip, prefix),
        gateway: config.gateway,
        dns_servers: Default::default(),
    };
    let mux: &'static BoardMux = Box::leak(Box::new(Mux::new(
        nic,
        LANES.take(),
        divert,
        neighbours,
        TCP_CONNECTIONS.take(),
    )));
    spawner.spawn(run_mux(mux).map_err(full)?);
    let mut stacks = Vec::with_capacity(STACKS);
    for port in mux.ports() {
        let resources = StackResources::<STACK_CONNECTIONS>::new();
        let config = embassy_net::Config::ipv4_static(static_config.clone());
        let (stack, runner) =
            embassy_net::new(port, config, Box::leak(Box::new(resources)), entropy.seed());
        spawner.spawn(run_stack(runner).map_err(full)?);
        stacks.push(stack);
    }

    // DHCP: leases first, then the question whether the address is ours.
    let server = DHCP.take();
    let mode = config.dhcp.mode;
    server
        .configure(config.dhcp.clone(), entropy.seed())
        .map_err(|error| Failure::new(Kind::Config, error))?;
    let replayed = server
        .replay(&mut log)
        .await
        .map_err(|error| Failure::new(Kind::State, format!("reading the lease log: {error}")))?;
    let clock: &'static UnixClock = Box::leak(Box::new(UnixClock::at_least(replayed.latest)));
    if clock.behind() > 0 {
        log::warn!(
            "the clock is {} s behind the last lease: leases end later than they should",
            clock.behind()
        );
    }
    let task = Task {
        divert,
        neighbours,
        log,
        clock,
        journal,
        health,
        own,
    };
    if config.address != Address::Host
        && let Some(other) = task.find_conflict().await
    {
        let message = format!(
            "{ip} is used by {other} on this LAN: give the stack a free address with --address"
        );
        return Err(Failure::new(Kind::AddressTaken, message));
    }
    // On a shared address that is the kernel's task.
    if config.address != Address::Host {
        neighbours.defend();
    }
    if mode != Mode::Off {
        task.ask_for_other_servers(entropy.seed() as u32);
    }
    spawner.spawn(run_dhcp(task, server).map_err(full)?);

    // Who boots what.
    let seen = files.changed(0).await;
    reload::load(files, catalogs, health).await;
    spawner.spawn(reload_catalog(files, catalogs, health, seen).map_err(full)?);

    // TFTP and HTTP.
    if let Some(port) = config.tftp_port {
        let mut settings = config.tftp(TFTP_PORTS);
        let fits = tftp::Config::blksize_for_mtu(u16::try_from(network_mtu).unwrap_or(u16::MAX));
        settings.max_blksize = settings.max_blksize.min(fits);
        let server = TFTP.init_with(|| tftp::Server::new(settings));
        let ports = settings.ports;
        spawner.spawn(run_tftp(stacks[0], server, port, ports, files, journal).map_err(full)?);
    }
    let site = Site::new(files, journal, catalogs).with_health(health);
    let site: &'static BoardSite = Box::leak(Box::new(site));
    for stack in &stacks[1..] {
        for (port, socket) in config.http_ports.iter().cycle().zip(http_sockets(*stack)) {
            spawner.spawn(run_http(socket, *port, site, mux).map_err(full)?);
        }
    }

    let mut manager = ServiceManager::from_env();
    let printer = Printer::start().map_err(io_failure("starting the thread that prints"))?;
    spawner.spawn(print_journal(journal, request.log, printer).map_err(full)?);
    let summary = describe(&config, own);
    log::info!("{summary}");
    manager.status(&summary);
    manager.ready();
    loop {
        let pause = manager
            .watchdog_timeout()
            .map_or(Duration::from_secs(60), |timeout| {
                Duration::from_micros(timeout.as_micros() as u64 / 3)
            });
        match embassy_time::with_timeout(pause, signals.next()).await {
            // The folder is watched; this is for file systems that tell nothing.
            Ok(Signal::Hangup) => reload::load(files, catalogs, health).await,
            Ok(_) => {
                log::info!("told to stop: ending");
                manager.stopping();
                return Ok(());
            }
            Err(_) => manager.feed(),
        }
    }
}

fn own_address(config: &Config) -> (Ipv4Addr, u8) {
    let prefix = config.dhcp.subnets.first().map_or(0, |link| link.prefix);
    (config.dhcp.server, prefix)
}

/// One line on what is served where.
fn describe(config: &Config, own: Own) -> String {
    use std::fmt::Write as _;
    let mut text = format!("serving on {} ({}): ", own.ip, own.mac);
    let _ = match config.dhcp.mode {
        Mode::Off => write!(text, "no DHCP"),
        Mode::Proxy => write!(text, "boot files by proxyDHCP"),
        Mode::Server => {
            let pool = config.dhcp.subnets.first().and_then(|link| link.pool);
            match pool {
                Some(pool) => write!(text, "DHCP {pool}"),
                None => write!(text, "DHCP for reservations only"),
            }
        }
    };
    if let Some(port) = config.tftp_port {
        let _ = write!(text, ", TFTP port {port}");
    }
    for (n, port) in config.http_ports.iter().enumerate() {
        let _ = write!(
            text,
            "{}{port}",
            if n == 0 { ", HTTP port " } else { " and " }
        );
    }
    text
}

fn netmask(prefix: u8) -> Ipv4Addr {
    Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, prefix).netmask()
}

fn io_failure(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let doing = doing.into();
    move |error| {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Other,
        };
        Failure::new(kind, format!("{doing}: {error}"))
    }
}

fn nic_failure(error: OpenError) -> Failure {
    let kind = match error {
        OpenError::NoPermission { .. } => Kind::Permission,
        _ => Kind::Nic,
    };
    Failure::new(kind, error)
}

fn share_failure(error: ShareError) -> Failure {
    let kind = match error {
        ShareError::NoPermission { .. } => Kind::Permission,
        ShareError::NoAddress { .. } => Kind::Nic,
        _ => Kind::Config,
    };
    Failure::new(kind, error)
}

fn config_failure(error: ConfigError) -> Failure {
    Failure::new(Kind::Config, error)
}
