//! The board: what start-up leaves, and the tasks that use it.

use embassy_executor::Spawner;
use embassy_time::{Duration, Ticker};
use ichor_hal_bcm2837::{Board, console, entry, executor};

entry!(main);

fn main(board: Board) -> ! {
    console::print(format_args!(
        "ichor {} on {}",
        env!("CARGO_PKG_VERSION"),
        board.identity.model.unwrap_or("a Raspberry Pi")
    ));
    defmt::info!(
        "revision {}, serial {}, MAC {}, {} MiB free",
        board.identity.revision,
        board.identity.serial,
        board.identity.mac,
        board.memory.len() >> 20
    );
    executor::run(|spawner| start(spawner))
}

fn start(spawner: Spawner) {
    match tick() {
        Ok(task) => spawner.spawn(task),
        Err(error) => defmt::error!("no room for a task: {}", error),
    }
}

#[embassy_executor::task]
async fn tick() {
    let mut ticker = Ticker::every(Duration::from_secs(1));
    loop {
        defmt::info!("tick");
        ticker.next().await;
    }
}
