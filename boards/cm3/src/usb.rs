//! The USB bus and the Ethernet adapter on it.

use core::fmt;

use embassy_sync::once_lock::OnceLock;
use embassy_time::{Duration, Timer};
use embassy_usb_host::BusState;
use ichor::net::status::Health;
use ichor_hal_bcm2837::interrupts::Source;
use ichor_hal_bcm2837::mailbox::{Device as Powered, Mailbox, MailboxError};
use ichor_hal_bcm2837::usb::{CHANNEL_BYTES, CHANNELS, Controller, Host, StartError};
use ichor_hal_bcm2837::{Mmio, dma, irq};
use ichor_hal_usb_net::{Buffers, Device, Event, Runner};
use static_cell::{ConstStaticCell, StaticCell};

static HOST: StaticCell<Host<Mmio>> = StaticCell::new();
/// For the interrupt handler.
static RUNNING: OnceLock<&'static Host<Mmio>> = OnceLock::new();
static BUS: BusState = BusState::new();
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());

/// Pause before a controller that did not start is started again.
const RETRY: Duration = Duration::from_secs(5);

/// The NIC, and what makes it work.
pub(crate) struct Usb {
    pub(crate) nic: Device<'static>,
    pub(crate) runner: Runner<'static>,
    /// None if there is no working controller.
    pub(crate) host: Option<&'static Host<Mmio>>,
}

/// Powers the controller up and looks what it is.
pub(crate) fn open(
    registers: Mmio,
    dma: &mut dma::Pool,
    mailbox: &mut Mailbox<Mmio>,
    mac: [u8; 6],
    health: &Health,
) -> Usb {
    let (nic, runner) = ichor_hal_usb_net::new(BUFFERS.take(), Some(mac));
    let host = match controller(registers, dma, mailbox) {
        Ok(host) => {
            let _ = RUNNING.init(host);
            irq::enable(Source::USB, on_interrupt);
            Some(host)
        }
        Err(why) => {
            defmt::error!("{}", defmt::Display2Format(&why));
            health.trouble("usb", format_args!("{why}"));
            None
        }
    };
    Usb { nic, runner, host }
}

/// Serves whatever adapter is plugged in. If the controller fails, it is
/// started again.
#[embassy_executor::task]
pub(crate) async fn run_usb(runner: Runner<'static>, host: &'static Host<Mmio>) -> ! {
    let controller = loop {
        match Controller::start(host).await {
            Ok(controller) => break controller,
            Err(error) => {
                defmt::error!("{}: trying again", defmt::Display2Format(&error));
                Timer::after(RETRY).await;
            }
        }
    };
    let (mut controller, bus) = embassy_usb_host::bus(controller, &BUS);
    let report = |event: Event| defmt::info!("usb: {}", defmt::Display2Format(&event));
    runner.run(&mut controller, &bus, &report).await
}

fn on_interrupt() {
    if let Some(host) = RUNNING.try_get() {
        host.on_interrupt();
    }
}

/// Why there is no controller.
enum NoController {
    Power(MailboxError),
    Off,
    Memory,
    Start(StartError),
}

impl fmt::Display for NoController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Power(error) => write!(f, "USB cannot be powered: {error}"),
            Self::Off => f.write_str("USB stays without power"),
            Self::Memory => f.write_str("no memory for USB transfers"),
            Self::Start(error) => error.fmt(f),
        }
    }
}

fn controller(
    registers: Mmio,
    dma: &mut dma::Pool,
    mailbox: &mut Mailbox<Mmio>,
) -> Result<&'static Host<Mmio>, NoController> {
    let powered = mailbox.power_on(Powered::Usb);
    if !powered.map_err(NoController::Power)? {
        return Err(NoController::Off);
    }
    let mut buffers = heapless::Vec::<_, CHANNELS>::new();
    while let (false, Some(buffer)) = (buffers.is_full(), dma.take(CHANNEL_BYTES)) {
        // It is not full.
        let _ = buffers.push(buffer);
    }
    let buffers = buffers.into_array().map_err(|_| NoController::Memory)?;
    let host = Host::new(registers, buffers).map_err(NoController::Start)?;
    Ok(HOST.init(host))
}
