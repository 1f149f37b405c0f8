//! Start-up in order: tables, interrupts, mailbox, console, the board.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::ops::Range;

use super::layout::{self, Stack};
use super::memory;
use super::mmu::{self, Memory, Table, Tables};
use crate::console::{self, Kind};
use crate::fdt::{self, Fdt};
use crate::gpio::Gpio;
use crate::interrupts::Interrupts;
use crate::mailbox::{self, Clock, Mailbox};
use crate::power::Power;
use crate::rng::Rng;
use crate::watchdog::Watchdog;
use crate::{Mmio, counter, cpu, dma, irq, peripherals as at};

global_asm!(
    include_str!("entry.s"),
    mair = const mmu::MAIR,
    tcr = const mmu::TCR,
    tables = sym TABLES,
    map_image = sym map_image,
    start = sym start,
);

/// A root, two tables of level 2, and one of level 3 for each 2 MiB that the
/// image touches: it may have 16 MiB, and the device tree needs no page.
const TABLES_MAX: usize = 16;

#[repr(transparent)]
struct Room(UnsafeCell<[Table; TABLES_MAX]>);

// SAFETY: start-up alone reaches it, on the one core that runs.
unsafe impl Sync for Room {}

// Apart from what is zeroed when they are in use.
#[unsafe(link_section = ".tables")]
static TABLES: Room = Room(UnsafeCell::new([const { Table::EMPTY }; TABLES_MAX]));

/// The tables of the running system.
///
/// # Safety
/// Nobody else holds them.
unsafe fn tables() -> &'static mut [Table] {
    // SAFETY: the caller's promise.
    unsafe { &mut *TABLES.0.get() }
}

/// Describes the image and the peripherals; returns how many tables that took,
/// or 0 if there are too few.
///
/// It runs with the MMU off: no atomics, no unaligned access, nothing that is
/// zeroed later.
extern "C" fn map_image() -> usize {
    // SAFETY: nothing else runs yet.
    let mut tables = Tables::new(unsafe { tables() });
    let code = layout::code();
    let constants = layout::constants();
    let data = layout::data();
    let dma = layout::dma();
    let mapped = tables
        .map(code.start, code.end, Memory::Code)
        .and_then(|()| tables.map(constants.start, constants.end, Memory::Constants))
        .and_then(|()| tables.map(data.start, data.end, Memory::Data))
        .and_then(|()| tables.map(dma.start, dma.end, Memory::Dma))
        .and_then(|()| tables.map(at::ALL.start, at::ALL.end, Memory::Device));
    let mut stacks = Stack::ALL.into_iter().map(Stack::range);
    let stacked = stacks.try_for_each(|stack| tables.map(stack.start, stack.end, Memory::Data));
    if mapped.is_err() || stacked.is_err() {
        return 0;
    }
    tables.used()
}

/// Who this board is, as far as its firmware says.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// The device tree's name for it.
    pub model: Option<&'static str>,
    /// The revision code, which tells model, memory and maker.
    pub revision: Option<u32>,
    /// The serial number.
    pub serial: Option<u64>,
    /// The MAC address meant for its Ethernet.
    pub mac: Option<[u8; 6]>,
    /// Whether this is QEMU and no board.
    pub emulated: bool,
}

/// Everything that start-up leaves to the board: each device once.
#[derive(Debug)]
pub struct Board {
    /// Who the board is.
    pub identity: Identity,
    /// Whether a watchdog, a panic or a fault reset it last.
    pub was_reset: bool,
    /// What the boot loader was told to hand on (`cmdline.txt`).
    pub arguments: Option<&'static str>,
    /// The property channel to the VideoCore's firmware.
    pub mailbox: Mailbox<Mmio>,
    /// The pins. Those of the console are wired.
    pub gpio: Gpio<Mmio>,
    /// Memory shared with devices that no buffer has yet.
    pub dma: dma::Pool,
    /// The RAM that nothing else uses, cached, with whatever was in it. Empty
    /// if the firmware does not tell how much there is.
    pub memory: &'static mut [u8],
    /// The DWC2 USB controller. The mailbox switches its power.
    pub usb: Mmio,
    /// The Arasan SD controller.
    pub arasan: Mmio,
    /// The SDHOST controller.
    pub sdhost: Mmio,
    /// Random numbers.
    pub rng: Rng<Mmio>,
    /// Resets a board that hangs. It starts when it is first fed.
    pub watchdog: Watchdog,
}

unsafe extern "Rust" {
    /// What `entry!` makes of the board's `main`.
    fn __ichor_board_main(board: Board) -> !;
}

/// Names the board's `main`, of type `fn(Board) -> !`. It runs with MMU, caches
/// and interrupts on, the console open and time running.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the name is this crate's own.
        #[unsafe(no_mangle)]
        fn __ichor_board_main(board: $crate::Board) -> ! {
            let main: fn($crate::Board) -> ! = $main;
            main(board)
        }
    };
}

/// A register block.
///
/// # Safety
/// As [`Mmio::new`]: its one owner, or nobody else uses it any more.
unsafe fn block(base: usize) -> Mmio {
    // SAFETY: the caller's promise; all peripherals are mapped.
    unsafe { Mmio::new(base) }
}

/// Resets the board; it starts as after power-on. Nothing is flushed.
pub fn reset() -> ! {
    cpu::mask_interrupts();
    // SAFETY: whoever owns the power manager will not run again.
    Power::new(unsafe { block(at::POWER) }).reset();
    loop {
        cpu::wait_for_interrupt();
    }
}

/// Called with MMU and caches on, `.bss` zeroed and interrupts masked.
/// `device_tree` is what the boot loader said; `used` what `map_image` returned.
extern "C" fn start(device_tree: usize, used: usize) -> ! {
    counter::init();
    cpu::unmask_system_errors();
    // SAFETY: start-up is the first owner of every block, and hands each on once.
    let peripherals = unsafe { block(at::INTERRUPTS) };
    // SAFETY: as above.
    let local = unsafe { block(at::LOCAL) };
    irq::init(Interrupts::new(peripherals, local));

    // SAFETY: `map_image` has returned.
    let mut tables = Tables::resume(unsafe { tables() }, used);
    let (tree, kept) = find_device_tree(&mut tables, device_tree);
    let shared = layout::dma();
    // SAFETY: the linker script set it apart, and `map_image` mapped it.
    let mut dma = unsafe { dma::Pool::new(shared.start, shared.end) };
    let message = dma
        .take(mailbox::MESSAGE_LEN)
        .expect("the pool is larger than a message");
    // SAFETY: as above.
    let mut mailbox = Mailbox::new(unsafe { block(at::MAILBOX) }, message);
    // SAFETY: as above.
    let mut gpio = Gpio::new(unsafe { block(at::GPIO) });

    open_console(tree, &mut mailbox, &mut gpio);
    let memory = memory::largest_free(sdram(tree, &mut mailbox), layout::all(), kept);
    // SAFETY: as above.
    let power = Power::new(unsafe { block(at::POWER) });
    // SAFETY: as above.
    let rng = Rng::new(unsafe { block(at::RNG) });
    // SAFETY: as above.
    let usb = unsafe { block(at::USB) };
    // SAFETY: as above.
    let arasan = unsafe { block(at::ARASAN) };
    // SAFETY: as above.
    let sdhost = unsafe { block(at::SDHOST) };
    let identity = identify(tree, &mut mailbox);
    let board = Board {
        identity,
        was_reset: power.has_reset(),
        watchdog: Watchdog::new(power, identity.emulated),
        arguments: tree.and_then(|tree| tree.boot_arguments()),
        // SAFETY: it is the ARM's, and neither the image nor the device tree
        // lies in it.
        memory: unsafe { claim(&mut tables, memory) },
        mailbox,
        gpio,
        dma,
        usb,
        arasan,
        sdhost,
        rng,
    };
    // SAFETY: `entry!` defines it with this very type.
    unsafe { __ichor_board_main(board) }
}

/// Maps the device tree and reads it; what is no device tree is ignored. The
/// range is what was mapped for it.
fn find_device_tree(
    tables: &mut Tables<'_>,
    address: usize,
) -> (Option<Fdt<'static>>, Range<usize>) {
    let Some(range) = memory::device_tree(address, layout::all()) else {
        return (None, 0..0);
    };
    if tables
        .map(range.start, range.end, Memory::Constants)
        .is_err()
    {
        return (None, range);
    }
    cpu::tables_changed();
    let start = core::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: the range is mapped, holds the longest blob, and is never written.
    let bytes = unsafe { core::slice::from_raw_parts(start, fdt::LEN_MAX) };
    (Fdt::new(bytes), range)
}

fn open_console(tree: Option<Fdt<'_>>, mailbox: &mut Mailbox<Mmio>, gpio: &mut Gpio<Mmio>) {
    let node = tree.as_ref().and_then(Fdt::console);
    let is_mini = node.is_some_and(|path| path.ends_with("@7e215040"));
    let (kind, clock, usual) = if is_mini {
        (Kind::Mini, Clock::Core, USUAL_CORE_HZ)
    } else {
        (Kind::Pl011, Clock::Uart, console::USUAL_UART_HZ)
    };
    let clock = mailbox.clock_rate(clock).ok().filter(|hz| *hz > 0);
    console::init(kind, gpio, clock.unwrap_or(usual));
}

/// The VideoCore's clock as `enable_uart=1` in config.txt holds it.
const USUAL_CORE_HZ: u32 = 250_000_000;

fn identify(tree: Option<Fdt<'static>>, mailbox: &mut Mailbox<Mmio>) -> Identity {
    Identity {
        model: tree.and_then(|tree| tree.model()),
        revision: mailbox.board_revision().ok(),
        serial: mailbox.board_serial().ok(),
        mac: mailbox.mac_address().ok(),
        emulated: mailbox
            .firmware_revision()
            .is_ok_and(|built| built < FIRST_FIRMWARE),
    }
}

/// Before the first Pi was sold: no real firmware was built then.
const FIRST_FIRMWARE: u32 = 1_300_000_000;

/// The SDRAM that is the ARM's; empty if nobody knows.
fn sdram(tree: Option<Fdt<'_>>, mailbox: &mut Mailbox<Mmio>) -> Range<usize> {
    let told = mailbox.arm_memory().ok();
    let told = told.map(|(base, len)| (u64::from(base), u64::from(len)));
    match told.or_else(|| tree.and_then(|tree| tree.memory())) {
        Some((base, len)) => base as usize..base.saturating_add(len) as usize,
        None => 0..0,
    }
}

/// Maps free memory and hands it out.
///
/// # Safety
/// It is SDRAM that nobody else uses.
unsafe fn claim(tables: &mut Tables<'_>, range: Range<usize>) -> &'static mut [u8] {
    if tables.map(range.start, range.end, Memory::Data).is_err() {
        return &mut [];
    }
    cpu::tables_changed();
    let start = core::ptr::with_exposed_provenance_mut::<u8>(range.start);
    if range.is_empty() {
        return &mut [];
    }
    // SAFETY: the range is mapped, and the caller's promise makes it ours.
    unsafe { core::slice::from_raw_parts_mut(start, range.len()) }
}
