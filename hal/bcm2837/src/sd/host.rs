//! The controller: commands, and blocks of data, with an end to every wait.

use embassy_futures::yield_now;
use embassy_time::{Duration, Instant, block_for};

use crate::Bus;

/// Registers (BCM2835 ARM Peripherals §5.1).
pub(super) mod reg {
    pub(in crate::sd) const BLKSIZECNT: usize = 0x04;
    pub(in crate::sd) const ARG1: usize = 0x08;
    pub(in crate::sd) const CMDTM: usize = 0x0C;
    pub(in crate::sd) const RESP0: usize = 0x10;
    pub(in crate::sd) const DATA: usize = 0x20;
    pub(in crate::sd) const STATUS: usize = 0x24;
    pub(in crate::sd) const CONTROL0: usize = 0x28;
    pub(in crate::sd) const CONTROL1: usize = 0x2C;
    pub(in crate::sd) const INTERRUPT: usize = 0x30;
    pub(in crate::sd) const IRPT_MASK: usize = 0x34;
    pub(in crate::sd) const IRPT_EN: usize = 0x38;
}

/// STATUS.
pub(super) const CMD_INHIBIT: u32 = 1 << 0;
pub(super) const DAT_INHIBIT: u32 = 1 << 1;
/// INTERRUPT.
pub(super) const CMD_DONE: u32 = 1 << 0;
pub(super) const DATA_DONE: u32 = 1 << 1;
pub(super) const WRITE_READY: u32 = 1 << 4;
pub(super) const READ_READY: u32 = 1 << 5;
pub(super) const ERROR: u32 = 1 << 15;
pub(super) const COMMAND_TIMEOUT: u32 = 1 << 16;
pub(super) const DATA_TIMEOUT: u32 = 1 << 20;
const ERRORS: u32 = 0xFFFF << 16;
/// CONTROL0.
pub(super) const FOUR_BITS: u32 = 1 << 1;
/// Bus power on, 3.3 V: a field of the standard that Broadcom does not name.
const POWER: u32 = 0xF << 8;
/// CONTROL1.
const CLOCK_INTERNAL: u32 = 1 << 0;
pub(super) const CLOCK_STABLE: u32 = 1 << 1;
pub(super) const CLOCK_ON: u32 = 1 << 2;
/// The longest data timeout, 2^27 clocks: it must be longer than the waits here.
const DATA_TIMEOUT_LONGEST: u32 = 0xE << 16;
pub(super) const RESET_ALL: u32 = 1 << 24;
pub(super) const RESET_COMMAND: u32 = 1 << 25;
pub(super) const RESET_DATA: u32 = 1 << 26;
/// CMDTM.
pub(super) const COUNT_BLOCKS: u32 = 1 << 1;
pub(super) const AUTO_STOP: u32 = 1 << 2;
pub(super) const FROM_CARD: u32 = 1 << 4;
pub(super) const MANY_BLOCKS: u32 = 1 << 5;
pub(super) const IS_DATA: u32 = 1 << 21;
const ABORT: u32 = 3 << 22;
const CHECK_CRC: u32 = 1 << 19;
const CHECK_INDEX: u32 = 1 << 20;

/// How long a command and its answer may take.
const COMMAND: Duration = Duration::from_millis(100);
/// How long a card may be busy: the specification grants 250 ms a block for
/// writing (500 ms for SDXC), real cards that clean up take longer.
const BUSY: Duration = Duration::from_millis(2000);
/// How long the next block may take.
const DATA: Duration = Duration::from_millis(1000);
/// Polls before others have their turn: most waits end sooner.
const SPINS: u32 = 16;

/// What the card answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    None,
    /// 48 bits.
    Short,
    /// 48 bits, and the card may be busy after.
    Busy,
    /// 48 bits without CRC and index: OCR.
    Unchecked,
    /// 136 bits: CID and CSD.
    Long,
}

impl Answer {
    const fn bits(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Short => 2 << 16 | CHECK_CRC | CHECK_INDEX,
            Self::Busy => 3 << 16 | CHECK_CRC | CHECK_INDEX,
            Self::Unchecked => 2 << 16,
            Self::Long => 1 << 16 | CHECK_CRC,
        }
    }
}

/// Why a command or transfer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody answered the command.
    NoAnswer,
    /// An answer, block or end did not come in time.
    Timeout,
    /// A CRC or framing error, or an error that the card reports.
    Line,
}

/// The Arasan controller.
#[derive(Debug)]
pub(super) struct Host<B> {
    bus: B,
    base_hz: u32,
    /// How long the controller needs between writes to two registers: two
    /// clocks of the card, or it loses the second one.
    gap: Duration,
}

impl<B: Bus> Host<B> {
    pub(super) const fn new(bus: B, base_hz: u32) -> Self {
        Self {
            bus,
            base_hz,
            gap: Duration::from_micros(10),
        }
    }

    /// Resets the controller: one data line, no clock.
    pub(super) async fn reset(&mut self) -> Result<(), Fault> {
        self.bus.barrier();
        self.set(reg::CONTROL1, RESET_ALL);
        self.wait_clear(reg::CONTROL1, RESET_ALL).await?;
        self.set(reg::CONTROL0, POWER);
        // All of them are looked at, none of them interrupts.
        self.set(reg::IRPT_EN, 0);
        self.set(reg::IRPT_MASK, ERRORS | 0x33);
        Ok(())
    }

    /// Sets the card's clock to at most `hz`.
    pub(super) async fn clock(&mut self, hz: u32) -> Result<(), Fault> {
        self.wait_clear(reg::STATUS, CMD_INHIBIT | DAT_INHIBIT)
            .await?;
        // Half the divisor, in ten bits (SD Host Controller §2.2.14).
        let half = self.base_hz.div_ceil(hz).div_ceil(2).min(0x3FF);
        let half = if self.base_hz <= hz { 0 } else { half };
        let divisor = (half & 0xFF) << 8 | (half >> 8) << 6;
        let control = DATA_TIMEOUT_LONGEST | divisor | CLOCK_INTERNAL;
        self.set(reg::CONTROL1, control);
        let end = Instant::now() + COMMAND;
        while self.bus.read(reg::CONTROL1) & CLOCK_STABLE == 0 {
            wait_until(end).await?;
        }
        self.set(reg::CONTROL1, control | CLOCK_ON);
        let real = self.base_hz / (2 * half).max(1);
        self.gap = Duration::from_micros(u64::from(2_000_000_u32.div_ceil(real.max(1))));
        // The card needs 74 clocks before its first command.
        block_for(self.gap * 40);
        Ok(())
    }

    /// Uses four data lines.
    pub(super) fn use_four_bits(&mut self) {
        let control = self.bus.read(reg::CONTROL0);
        self.set(reg::CONTROL0, control | FOUR_BITS);
    }

    /// Sends a command without data, and returns its short answer.
    pub(super) async fn command(
        &mut self,
        index: u32,
        argument: u32,
        answer: Answer,
    ) -> Result<u32, Fault> {
        self.send(index, argument, answer.bits()).await?;
        if answer == Answer::Busy {
            let done = self.wait_for(DATA_DONE, BUSY).await;
            self.or_reset(done).await?;
        }
        Ok(self.bus.read(reg::RESP0))
    }

    /// Sends a command with a long answer: bits 127 to 8, the lowest first.
    pub(super) async fn long(&mut self, index: u32, argument: u32) -> Result<[u32; 4], Fault> {
        self.send(index, argument, Answer::Long.bits()).await?;
        Ok([0, 4, 8, 12].map(|offset| self.bus.read(reg::RESP0 + offset)))
    }

    /// Reads blocks of `size` bytes. Several are ended by CMD12, which the
    /// controller sends by itself.
    pub(super) async fn read(
        &mut self,
        index: u32,
        argument: u32,
        size: usize,
        buf: &mut [u8],
    ) -> Result<(), Fault> {
        let mode = self.set_up_data(size, buf.len());
        self.send(index, argument, Answer::Short.bits() | mode | FROM_CARD)
            .await?;
        let mut result = Ok(());
        for block in buf.chunks_exact_mut(size) {
            result = self.wait_for(READ_READY, DATA).await;
            if result.is_err() {
                break;
            }
            for word in block.as_chunks_mut::<4>().0 {
                *word = self.bus.read(reg::DATA).to_le_bytes();
            }
            // A fast card always has the next block: without this nobody else
            // would run until the last one.
            yield_now().await;
        }
        if result.is_ok() {
            result = self.wait_for(DATA_DONE, DATA).await;
        }
        self.bus.barrier();
        self.end_data(result, mode).await
    }

    /// Writes blocks of 512 bytes.
    pub(super) async fn write(
        &mut self,
        index: u32,
        argument: u32,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let mode = self.set_up_data(512, bytes.len());
        self.send(index, argument, Answer::Short.bits() | mode)
            .await?;
        let mut result = Ok(());
        for block in bytes.chunks_exact(512) {
            result = self.wait_for(WRITE_READY, BUSY).await;
            if result.is_err() {
                break;
            }
            for word in block.as_chunks::<4>().0 {
                // The one register that may be written without a pause.
                self.bus.write(reg::DATA, u32::from_le_bytes(*word));
            }
            yield_now().await;
        }
        if result.is_ok() {
            // Comes when the card is no longer busy.
            result = self.wait_for(DATA_DONE, BUSY).await;
        }
        self.end_data(result, mode).await
    }

    fn set_up_data(&self, size: usize, len: usize) -> u32 {
        let count = len / size;
        self.set(reg::BLKSIZECNT, (count as u32) << 16 | size as u32);
        match count {
            1 => IS_DATA,
            _ => IS_DATA | MANY_BLOCKS | COUNT_BLOCKS | AUTO_STOP,
        }
    }

    /// After an error: the controller forgets the transfer, and the card is
    /// told to.
    async fn end_data(&mut self, result: Result<(), Fault>, mode: u32) -> Result<(), Fault> {
        if result.is_err() {
            self.reset_lines().await?;
            if mode & MANY_BLOCKS != 0 {
                // It may have stopped already and not answer.
                let _ = self.send(12, 0, Answer::Busy.bits() | ABORT).await;
                self.reset_lines().await?;
            }
        }
        result
    }

    async fn send(&mut self, index: u32, argument: u32, mode: u32) -> Result<(), Fault> {
        self.bus.barrier();
        let uses_data = mode & IS_DATA != 0 || mode & (3 << 16) == 3 << 16;
        let inhibit = if uses_data && mode & ABORT != ABORT {
            CMD_INHIBIT | DAT_INHIBIT
        } else {
            CMD_INHIBIT
        };
        let free = self.wait_clear(reg::STATUS, inhibit).await;
        self.or_reset(free).await?;
        let old = self.bus.read(reg::INTERRUPT);
        self.set(reg::INTERRUPT, old);
        self.set(reg::ARG1, argument);
        self.set(reg::CMDTM, index << 24 | mode);
        let done = self.wait_for(CMD_DONE, COMMAND).await;
        self.or_reset(done).await
    }

    /// Waits for a bit of INTERRUPT, and acknowledges it.
    async fn wait_for(&mut self, wanted: u32, at_most: Duration) -> Result<(), Fault> {
        let end = Instant::now() + at_most;
        loop {
            for _ in 0..SPINS {
                let pending = self.bus.read(reg::INTERRUPT);
                if pending & (ERROR | ERRORS) != 0 {
                    self.set(reg::INTERRUPT, pending);
                    return Err(match pending {
                        _ if pending & COMMAND_TIMEOUT != 0 => Fault::NoAnswer,
                        _ if pending & DATA_TIMEOUT != 0 => Fault::Timeout,
                        _ => Fault::Line,
                    });
                }
                if pending & wanted != 0 {
                    self.set(reg::INTERRUPT, wanted);
                    return Ok(());
                }
            }
            wait_until(end).await?;
        }
    }

    async fn wait_clear(&self, register: usize, bits: u32) -> Result<(), Fault> {
        let end = Instant::now() + BUSY;
        while self.bus.read(register) & bits != 0 {
            wait_until(end).await?;
        }
        Ok(())
    }

    async fn or_reset<T>(&mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        if result.is_err() {
            self.reset_lines().await?;
        }
        result
    }

    async fn reset_lines(&mut self) -> Result<(), Fault> {
        let control = self.bus.read(reg::CONTROL1);
        self.set(reg::CONTROL1, control | RESET_COMMAND | RESET_DATA);
        self.wait_clear(reg::CONTROL1, RESET_COMMAND | RESET_DATA)
            .await
    }

    fn set(&self, register: usize, value: u32) {
        self.bus.write(register, value);
        block_for(self.gap);
    }
}

/// Lets others work; fails when the time is over.
async fn wait_until(end: Instant) -> Result<(), Fault> {
    if Instant::now() > end {
        return Err(Fault::Timeout);
    }
    yield_now().await;
    Ok(())
}
