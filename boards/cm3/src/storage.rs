//! The card: the data folder, the lease log, and what is said when they are
//! missing.

use ichor::net::status::Health;
use ichor_hal_bcm2837::Mmio;
use ichor_hal_bcm2837::gpio::{Function, Gpio, Pull};
use ichor_hal_bcm2837::mailbox::{Clock, Mailbox};
use ichor_hal_bcm2837::sd::Sd;
use ichor_hal_card::{Card, CardFiles, CardLog, CardUpdates, Log, Partitions, RamLog, Volume};
use static_cell::StaticCell;

use crate::capacity::RAM_LOG;

pub(crate) type BoardCard = Card<Sd<Mmio>>;
pub(crate) type BoardVolume = Volume<'static, Sd<Mmio>>;
pub(crate) type BoardFiles = CardFiles<'static, 'static, Sd<Mmio>>;
pub(crate) type BoardUpdates = CardUpdates<'static, 'static, Sd<Mmio>>;
pub(crate) type BoardLog = Log<'static, Sd<Mmio>, RAM_LOG>;

/// The pins of the primary SD interface: clock, command, four of data. The
/// CM3's eMMC is wired to them, the CM3L's slot too.
const PINS: core::ops::RangeInclusive<u8> = 48..=53;
const CLOCK_PIN: u8 = 48;
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
    for pin in PINS {
        gpio.set_function(pin, Function::Alt3);
        let pull = if pin == CLOCK_PIN {
            Pull::Off
        } else {
            Pull::Up
        };
        gpio.set_pull(pin, pull);
    }
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
    let partitions = card.partitions().await;
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

type Found = Result<Partitions, ichor_hal_card::MountError>;

async fn mount(
    card: &'static BoardCard,
    partitions: Found,
    memory: &'static mut [u8],
) -> Result<&'static BoardVolume, ichor_hal_card::MountError> {
    let partition = partitions?.fat()?;
    Ok(VOLUME.init(Volume::mount(card, partition, memory).await?))
}

/// Why there is no log on the card.
enum NoLog {
    Mount(ichor_hal_card::MountError),
    Open(ichor_hal_card::OpenLogError),
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
