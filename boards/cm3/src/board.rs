//! From start-up to a running server.

use core::net::Ipv4Addr;

use embassy_executor::{SpawnError, SpawnToken, Spawner};
use embassy_net::{Ipv4Cidr, StackResources, StaticConfigV4};
use embassy_time::Instant;
use ichor::config::Config;
use ichor::dhcp::Mode;
use ichor::net::dhcp::{Own, Task};
use ichor::net::mux::Mux;
use ichor::net::reload;
use ichor::net::site::Site;
use ichor::net::status::Health;
use ichor::update::{Key, Service};
use ichor::{MacAddr, tftp};
use ichor_hal::{Entropy as _, Files as _};
use ichor_hal_bcm2837::clock::MonotonicClock;
use ichor_hal_bcm2837::provoke::Failure;
use ichor_hal_bcm2837::rng::Rng;
use ichor_hal_bcm2837::{Board, Identity, Mmio, console, entry, executor};
use ichor_hal_usb_net::Device;

use crate::capacity::TFTP_PORTS;
use crate::settings::{self, Origin};
use crate::storage::{self, BoardCard};
use crate::tasks::{
    CATALOGS, CLOCK, DHCP, DIVERT, HEALTH, JOURNAL, LANE, MUX, NEIGHBOURS, RECEIVE_BUFFERS,
    RESOURCES, SERVICE, SITE, TCP_CONNECTIONS, TFTP, live, reload_catalog, restart, run_dhcp,
    run_http, run_mux, run_stack, run_tftp, run_volume, tell_journal, tell_lost_messages,
    watch_volume,
};
use crate::usb::{self, run_usb};

entry!(main);

fn main(mut board: Board) -> ! {
    introduce(&board.identity, board.was_reset);
    let health: &'static Health = HEALTH.take();
    let mut seed = board.rng.seed();
    if board.rng.has_failed() {
        defmt::error!("the random number generator is silent: what it seeds can be guessed");
        health.trouble("rng", format_args!("silent: what it seeds can be guessed"));
        seed ^= board.identity.serial.unwrap_or_default();
    }
    let mac = board.identity.mac.unwrap_or_else(|| own_mac(seed));
    let usb = usb::open(board.usb, &mut board.dma, &mut board.mailbox, mac, health);
    let card = storage::card(board.arasan, &mut board.gpio, &mut board.mailbox);
    let failure = board.arguments.and_then(Failure::asked_for);
    let parts = Parts {
        mac: MacAddr(mac),
        nic: usb.nic,
        card,
        memory: board.memory,
        arguments: board.arguments,
        rng: board.rng,
        health,
    };
    let (watchdog, runner, host) = (board.watchdog, usb.runner, usb.host);
    executor::run(|spawner| {
        start(spawner, live(watchdog, failure));
        start(spawner, tell_lost_messages());
        if let Some(host) = host {
            start(spawner, run_usb(runner, host));
        }
        start(spawner, serve(spawner, parts));
    })
}

/// Says who the board is: a line for a plain terminal, and the same in the log.
fn introduce(identity: &Identity, was_reset: bool) {
    let model = identity.model.unwrap_or("a Raspberry Pi");
    console::print(format_args!(
        "ichor {} on {model}; the log is in defmt: cargo xtask console",
        env!("CARGO_PKG_VERSION"),
    ));
    defmt::info!(
        "ichor {} on {}, revision {=u32:x}, serial {=u64:x}, MAC {}",
        env!("CARGO_PKG_VERSION"),
        model,
        identity.revision.unwrap_or_default(),
        identity.serial.unwrap_or_default(),
        MacAddr(identity.mac.unwrap_or_default()),
    );
    if was_reset {
        defmt::warn!("it was reset: by its watchdog, after a failure, or on request");
    }
}

/// An address for a board that has none: administered locally, for one station.
fn own_mac(seed: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = seed.to_le_bytes();
    [(a & !1) | 2, b, c, d, e, f]
}

fn start<S>(spawner: Spawner, task: Result<SpawnToken<S>, SpawnError>) {
    match task {
        Ok(task) => spawner.spawn(task),
        Err(error) => defmt::error!("no room for a task: {}", error),
    }
}

/// What the server is made of.
struct Parts {
    mac: MacAddr,
    nic: Device<'static>,
    card: &'static BoardCard,
    memory: &'static mut [u8],
    arguments: Option<&'static str>,
    rng: Rng<Mmio>,
    health: &'static Health,
}

/// Brings up the stack and its servers, in order.
#[embassy_executor::task]
async fn serve(spawner: Spawner, parts: Parts) {
    let Parts {
        mac,
        nic,
        card,
        memory,
        arguments,
        mut rng,
        health,
    } = parts;
    let storage = storage::open(card, memory, health).await;
    if let Some(volume) = storage.volume {
        start(spawner, run_volume(volume));
        start(spawner, watch_volume(volume, health));
    }
    let (files, mut log) = (storage.files, storage.log);
    let (config, origin) = settings::load(files, arguments, &mut |wrong| {
        defmt::error!("{}", defmt::Display2Format(&wrong));
        health.trouble("settings", format_args!("{wrong}"));
    })
    .await;

    // The stack.
    let (ip, prefix) = own_address(&config);
    let own = Own {
        mac,
        ip,
        netmask: Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, prefix).netmask(),
        gateway: config.gateway,
    };
    let journal = &*JOURNAL.take();
    let divert = &*DIVERT.take();
    let neighbours = &*NEIGHBOURS.take();
    let catalogs = &*CATALOGS.take();
    health.set_address(ip);
    neighbours.set_own(ip, own.netmask);
    let mux = &*MUX.init(Mux::new(
        nic,
        LANE.take(),
        divert,
        neighbours,
        TCP_CONNECTIONS.take(),
    ));
    start(spawner, run_mux(mux));
    let [port] = mux.ports();
    let (stack, runner) = embassy_net::new(
        port,
        embassy_net::Config::ipv4_static(StaticConfigV4 {
            address: Ipv4Cidr::new(ip, prefix),
            gateway: config.gateway,
            dns_servers: Default::default(),
        }),
        RESOURCES.init(StackResources::new()),
        rng.seed(),
    );
    start(spawner, run_stack(runner));

    // Leases come before anything that is promised.
    let server = DHCP.take();
    if let Err(error) = server.configure(config.dhcp.clone(), rng.seed()) {
        defmt::error!("dhcp: {}", defmt::Display2Format(&error));
        health.trouble("dhcp", format_args!("{error}"));
    }
    let latest = match server.replay(&mut log).await {
        Ok(replayed) => replayed.latest,
        Err(error) => {
            // Without them addresses would be given twice.
            defmt::error!("dhcp: reading the lease log: {}: no DHCP", error);
            health.trouble("leases", format_args!("unreadable, so no DHCP: {error}"));
            return;
        }
    };
    let task = Task {
        divert,
        neighbours,
        log,
        clock: CLOCK.init(MonotonicClock::from(latest)),
        journal,
        health,
        own,
    };

    stack.wait_link_up().await;
    defmt::info!("link up, {} ms after start-up", Instant::now().as_millis());
    while let Some(other) = task.find_conflict().await {
        defmt::error!(
            "{} is used by {} on this LAN: give the board a free address",
            ip,
            other
        );
        health.trouble(
            "address",
            format_args!("{ip} is used by {other} on this LAN"),
        );
        embassy_time::Timer::after_secs(10).await;
    }
    health.well("address");
    neighbours.defend();
    if config.dhcp.mode != Mode::Off {
        task.ask_for_other_servers(rng.seed() as u32);
    }
    start(spawner, run_dhcp(task, server));
    start(spawner, tell_journal(journal));

    // Who boots what.
    let seen = files.changed(0).await;
    reload::load(files, catalogs, health).await;
    start(spawner, reload_catalog(files, catalogs, health, seen));

    // TFTP and HTTP.
    if let Some(port) = config.tftp_port {
        let mut settings = config.tftp(TFTP_PORTS);
        settings.max_blksize = settings.max_blksize.min(tftp::Config::blksize_for_mtu(MTU));
        let server = TFTP.init_with(|| tftp::Server::new(settings));
        start(
            spawner,
            run_tftp(stack, server, port, settings.ports, files, journal),
        );
    }
    let key = Key::load(files).await;
    let service = &*SERVICE.init_with(|| Service::new(storage.updates, key, &mut rng));
    start(spawner, restart(service, card));
    let site = Site::new(files, journal, catalogs);
    let site = &*SITE.init(site.with_health(health).with_updates(service));
    for (n, receive) in RECEIVE_BUFFERS.take().iter_mut().enumerate() {
        let port = config.http_ports[n % config.http_ports.len()];
        start(spawner, run_http(stack, port, site, mux, receive));
    }
    match origin {
        Origin::Owner => {}
        Origin::Rescue => {
            let why = "no settings: put an ichor.toml on the card";
            defmt::warn!("{}; serving {} meanwhile", why, ip);
            health.trouble("settings", format_args!("{why}"));
        }
    }
    defmt::info!("serving on {} ({})", ip, mac);
}

/// Ethernet's, in bytes.
const MTU: u16 = 1500;

fn own_address(config: &Config) -> (Ipv4Addr, u8) {
    let prefix = config.dhcp.subnets.first().map_or(0, |link| link.prefix);
    (config.dhcp.server, prefix)
}
