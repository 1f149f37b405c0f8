//! The card: the data folder, the lease log, and what is said when they are
//! missing.

use embassy_time::{Duration, Timer};
use ichor::net::status::Health;
use ichor_hal_bcm2837::Mmio;
use ichor_hal_bcm2837::gpio::Gpio;
use ichor_hal_bcm2837::mailbox::{Clock, Mailbox};
use ichor_hal_bcm2837::sd::{Sd, route_pins};
use ichor_hal_card::{
    Card, CardFiles, CardLog, CardUpdates, Log, MountError, OpenLogError, Partitions, RamLog,
    Volume,
};
use static_cell::StaticCell;

use crate::capacity::RAM_LOG;

pub(crate) type BoardCard = Card<Sd<Mmio>>;
pub(crate) type BoardVolume = Volume<'static, Sd<Mmio>>;
pub(crate) type BoardFiles = CardFiles<'static, 'static, Sd<Mmio>>;
pub(crate) type BoardUpdates = CardUpdates<'static, 'static, Sd<Mmio>>;
pub(crate) type BoardLog = Log<'static, Sd<Mmio>, RAM_LOG>;

/// The controller's clock, if the firmware does not tell.
const USUAL_EMMC_HZ: u32 = 200_000_000;

static CARD: StaticCell<BoardCard> = StaticCell::new();
static VOLUME: StaticCell<BoardVolume> = StaticCell::new();
static FILES: StaticCell<BoardFiles> = StaticCell::new();

/// What a card holds, or what stands in for it.
pub(crate) struct Storage {
    /// None without a data folder.
    pub(crate) volume: Option<&'static BoardVolume>,
    pub(crate) files: &'static BoardFiles,
    pub(crate) updates: BoardUpdates,
    pub(crate) log: BoardLog,
}

/// Leads the card's pins to its controller.
pub(crate) fn card(
    registers: Mmio,
    gpio: &mut Gpio<Mmio>,
    mailbox: &mut Mailbox<Mmio>,
) -> &'static BoardCard {
    route_pins(gpio);
    let clock = mailbox.clock_rate(Clock::Emmc).ok().filter(|hz| *hz > 0);
    CARD.init(Card::new(Sd::new(
        registers,
        clock.unwrap_or(USUAL_EMMC_HZ),
    )))
}

/// Opens what is on the card. What is missing is reported to console and
/// status page; DHCP works without.
pub(crate) async fn open(
    card: &'static BoardCard,
    memory: &'static mut [u8],
    health: &Health,
) -> Storage {
    let partitions = partitions(card).await;
    let volume = match mount(card, partitions, memory).await {
        Ok(volume) => Some(volume),
        Err(error) => {
            defmt::error!("card: {}", defmt::Display2Format(&error));
            health.trouble("card", format_args!("{error}"));
            None
        }
    };
    let log = match open_log(card, partitions).await {
        Ok(log) => Log::Card(log),
        Err(why) => {
            defmt::warn!(
                "leases are kept in RAM and forgotten at power-off: {}",
                defmt::Display2Format(&why)
            );
            health.trouble(
                "leases",
                format_args!("in RAM, forgotten at power-off: {why}"),
            );
            Log::Ram(RamLog::new())
        }
    };
    let files = volume.map_or(CardFiles::none(), CardFiles::new);
    Storage {
        volume,
        files: FILES.init(files),
        updates: volume.map_or(CardUpdates::none(), CardUpdates::new),
        log,
    }
}

/// Attempts at a card, before the board goes on without one, and the pause
/// between them: one that was cut off by a reset may need a moment.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

async fn partitions(card: &'static BoardCard) -> Found {
    let mut found = card.partitions().await;
    for _ in 1..ATTEMPTS {
        let Err(MountError::Card(error)) = found else {
            break;
        };
        defmt::warn!("card: {}: trying again", defmt::Display2Format(&error));
        Timer::after(PAUSE).await;
        found = card.partitions().await;
    }
    found
}

type Found = Result<Partitions, MountError>;

async fn mount(
    card: &'static BoardCard,
    partitions: Found,
    memory: &'static mut [u8],
) -> Result<&'static BoardVolume, MountError> {
    let partition = partitions?.fat()?;
    Ok(VOLUME.init(Volume::mount(card, partition, memory).await?))
}

/// Why there is no log on the card.
enum NoLog {
    Mount(MountError),
    Open(OpenLogError),
}

impl core::fmt::Display for NoLog {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Mount(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
        }
    }
}

async fn open_log(
    card: &'static BoardCard,
    partitions: Found,
) -> Result<CardLog<'static, Sd<Mmio>>, NoLog> {
    let partition = partitions
        .and_then(|found| found.leases())
        .map_err(NoLog::Mount)?;
    CardLog::open(card, partition).await.map_err(NoLog::Open)
}
