//! The board: what start-up leaves, and the tasks that use it.

use embassy_executor::{SpawnToken, Spawner};
use embassy_time::{Duration, Ticker};
use ichor_hal::{Entropy as _, Watchdog as _};
use ichor_hal_bcm2837::provoke::Failure;
use ichor_hal_bcm2837::watchdog::Watchdog;
use ichor_hal_bcm2837::{Board, Identity, console, entry, executor, log};

entry!(main);

fn main(mut board: Board) -> ! {
    introduce(&board.identity, board.was_reset);
    defmt::info!("{} MiB of RAM are free", board.memory.len() >> 20);
    let _seed = board.rng.seed();
    if board.rng.has_failed() {
        defmt::error!("the random number generator is silent: what it seeds can be guessed");
    }
    let Board {
        watchdog,
        arguments,
        ..
    } = board;
    executor::run(|spawner| {
        spawn(
            spawner,
            live(watchdog, arguments.and_then(Failure::asked_for)),
        );
        spawn(spawner, tell_lost_messages());
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
        "ichor {} on {}, revision {=u32:x}, serial {=u64:x}, MAC {=[u8; 6]:02x}",
        env!("CARGO_PKG_VERSION"),
        model,
        identity.revision.unwrap_or_default(),
        identity.serial.unwrap_or_default(),
        identity.mac.unwrap_or_default(),
    );
    if was_reset {
        defmt::warn!("it was reset: by its watchdog, after a failure, or on request");
    }
}

fn spawn<S>(spawner: Spawner, task: Result<SpawnToken<S>, embassy_executor::SpawnError>) {
    match task {
        Ok(task) => spawner.spawn(task),
        Err(error) => defmt::error!("no room for a task: {}", error),
    }
}

/// Feeds the watchdog while tasks run.
#[embassy_executor::task]
async fn live(mut watchdog: Watchdog, failure: Option<Failure>) {
    let mut ticker = Ticker::every(Duration::from_secs(1));
    loop {
        watchdog.feed();
        defmt::info!("tick");
        ticker.next().await;
        if let Some(failure) = failure {
            failure.provoke();
        }
    }
}

#[embassy_executor::task]
async fn tell_lost_messages() {
    log::report_lost().await;
}
