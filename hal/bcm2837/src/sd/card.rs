//! The card: what it is, how it is addressed, and what is done when it fails.

use embassy_time::{Duration, Instant, Timer};
use ichor_hal_card::{BLOCK, BlockError, Blocks};

use super::host::{Answer, Fault, Host};
use crate::Bus;

/// Clock while a card is being identified (at most, by both specifications).
const IDENTIFY_HZ: u32 = 400_000;
/// Clock of every card, and of those that know high speed.
const DEFAULT_HZ: u32 = 25_000_000;
const HIGH_SPEED_HZ: u32 = 50_000_000;
/// How long a card may take to power up (SD §4.2.3).
const POWER_UP: Duration = Duration::from_millis(1000);
/// Attempts at a transfer, before it fails.
const ATTEMPTS: u32 = 4;
/// Blocks in one transfer: the controller counts in 16 bits.
const MAX_BLOCKS: usize = 0xFFFF;
/// Voltages 2.7–3.6 V, and "high capacity": blocks instead of bytes.
const VOLTAGES: u32 = 0x00FF_8000;
const HIGH_CAPACITY: u32 = 1 << 30;
const READY: u32 = 1 << 31;
/// Error bits of a card's status (SD §4.10.1).
const STATUS_ERRORS: u32 = 0xFDF9_0008;
/// eMMC: a switch was refused.
const SWITCH_ERROR: u32 = 1 << 7;
/// The address that an eMMC is given.
const MMC_ADDRESS: u32 = 1;
/// EXT_CSD of an eMMC (JESD84-B50 §7.4).
const EXT_CSD_BUS_WIDTH: u32 = 183;
const EXT_CSD_HS_TIMING: u32 = 185;
const EXT_CSD_SECTORS: usize = 212;

/// What a card turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SD up to 2 GB, addressed by bytes.
    Sdsc,
    /// SD from 2 GB on, addressed by blocks: SDHC and SDXC.
    Sdhc,
    /// eMMC, as on the CM3.
    Emmc,
}

/// A card that answered.
#[derive(Debug, Clone, Copy)]
struct Identity {
    kind: Kind,
    /// Whether addresses count bytes.
    by_bytes: bool,
    blocks: u32,
    /// Relative address, in the upper half as commands want it.
    address: u32,
    /// The number that no other card has.
    cid: [u32; 4],
}

/// An SD card or eMMC on the Arasan controller.
///
/// The card is identified by the first access, and again after it failed: it
/// may be put in later. Another one than the first is refused, since what is
/// in RAM would be of the other.
#[derive(Debug)]
pub struct Sd<B> {
    host: Host<B>,
    card: Option<Identity>,
    /// The first card's number and size.
    first: Option<([u32; 4], u32)>,
    /// Halved when the line makes errors.
    fastest: u32,
}

impl<B: Bus> Sd<B> {
    /// A card on the controller at 0x3F30_0000, whose clock (mailbox: clock 1,
    /// EMMC) runs at `base_hz`. The pins must be [led](super::route_pins)
    /// there.
    pub const fn new(bus: B, base_hz: u32) -> Self {
        Self {
            host: Host::new(bus, base_hz),
            card: None,
            first: None,
            fastest: HIGH_SPEED_HZ,
        }
    }

    /// What kind of card it is, once there was one.
    pub fn kind(&self) -> Option<Kind> {
        self.card.map(|card| card.kind)
    }

    async fn ready(&mut self) -> Result<Identity, BlockError> {
        if let Some(card) = self.card {
            return Ok(card);
        }
        let card = self.identify().await.map_err(|fault| match fault {
            Fault::NoAnswer => BlockError::Absent,
            Fault::Timeout => BlockError::Timeout,
            Fault::Line => BlockError::Io,
        })?;
        let number = (card.cid, card.blocks);
        if *self.first.get_or_insert(number) != number {
            return Err(BlockError::Exchanged);
        }
        self.card = Some(card);
        Ok(card)
    }

    async fn identify(&mut self) -> Result<Identity, Fault> {
        self.host.reset().await?;
        self.host.clock(IDENTIFY_HZ).await?;
        self.host.command(0, 0, Answer::None).await?;
        // Version 2 cards echo the voltage and the pattern.
        let is_v2 = match self.host.command(8, 0x1AA, Answer::Short).await {
            Ok(echo) if echo & 0xFFF == 0x1AA => true,
            Ok(_) => return Err(Fault::Line),
            Err(_) => false,
        };
        match self.power_up_sd(is_v2).await {
            Ok(ocr) => self.identify_sd(is_v2, ocr).await,
            Err(Fault::NoAnswer) => {
                self.host.command(0, 0, Answer::None).await?;
                let ocr = self.power_up_mmc().await?;
                self.identify_mmc(ocr).await
            }
            Err(fault) => Err(fault),
        }
    }

    async fn power_up_sd(&mut self, is_v2: bool) -> Result<u32, Fault> {
        let argument = VOLTAGES | if is_v2 { HIGH_CAPACITY } else { 0 };
        let end = Instant::now() + POWER_UP;
        loop {
            self.host.command(55, 0, Answer::Short).await?;
            let ocr = self.host.command(41, argument, Answer::Unchecked).await?;
            if ocr & READY != 0 {
                return Ok(ocr);
            }
            pause(end).await?;
        }
    }

    async fn power_up_mmc(&mut self) -> Result<u32, Fault> {
        let end = Instant::now() + POWER_UP;
        loop {
            let argument = VOLTAGES | HIGH_CAPACITY;
            let ocr = self.host.command(1, argument, Answer::Unchecked).await?;
            if ocr & READY != 0 {
                return Ok(ocr);
            }
            pause(end).await?;
        }
    }

    async fn identify_sd(&mut self, is_v2: bool, ocr: u32) -> Result<Identity, Fault> {
        let cid = self.host.long(2, 0).await?;
        let address = self.host.command(3, 0, Answer::Short).await? & 0xFFFF_0000;
        let csd = self.host.long(9, address).await?;
        self.host.clock(DEFAULT_HZ.min(self.fastest)).await?;
        self.host.command(7, address, Answer::Busy).await?;
        self.host.command(55, address, Answer::Short).await?;
        self.host.command(6, 2, Answer::Short).await?;
        self.host.use_four_bits();
        let by_bytes = !is_v2 || ocr & HIGH_CAPACITY == 0;
        if by_bytes {
            self.host.command(16, BLOCK as u32, Answer::Short).await?;
        }
        // Cards that know CMD8 know CMD6. Function 1 of group 1 is high speed;
        // bits 379:376 of the answer are what was chosen.
        if is_v2 && self.fastest > DEFAULT_HZ {
            let mut status = [0; 64];
            let switched = self.host.read(6, 0x80FF_FFF1, 64, &mut status).await;
            if switched.is_ok() && status[16] & 0xF == 1 {
                self.host.clock(HIGH_SPEED_HZ).await?;
            }
        }
        let blocks = if csd_bits(csd, 126, 2) == 0 {
            sdsc_blocks(csd)
        } else {
            (csd_bits(csd, 48, 22) + 1).saturating_mul(1024)
        };
        Ok(Identity {
            kind: if by_bytes { Kind::Sdsc } else { Kind::Sdhc },
            by_bytes,
            blocks,
            address,
            cid,
        })
    }

    async fn identify_mmc(&mut self, ocr: u32) -> Result<Identity, Fault> {
        let cid = self.host.long(2, 0).await?;
        let address = MMC_ADDRESS << 16;
        self.host.command(3, address, Answer::Short).await?;
        let csd = self.host.long(9, address).await?;
        self.host.clock(DEFAULT_HZ.min(self.fastest)).await?;
        self.host.command(7, address, Answer::Busy).await?;
        let mut ext_csd = [0; BLOCK];
        self.host.read(8, 0, BLOCK, &mut ext_csd).await?;
        self.switch(address, EXT_CSD_BUS_WIDTH, 1).await?;
        self.host.use_four_bits();
        if self.fastest > DEFAULT_HZ && self.switch(address, EXT_CSD_HS_TIMING, 1).await.is_ok() {
            self.host.clock(HIGH_SPEED_HZ).await?;
        }
        let sectors: [u8; 4] = core::array::from_fn(|at| ext_csd[EXT_CSD_SECTORS + at]);
        let by_bytes = ocr & HIGH_CAPACITY == 0;
        Ok(Identity {
            kind: Kind::Emmc,
            by_bytes,
            blocks: match u32::from_le_bytes(sectors) {
                0 => sdsc_blocks(csd),
                sectors => sectors,
            },
            address,
            cid,
        })
    }

    /// Writes a byte of an eMMC's EXT_CSD.
    async fn switch(&mut self, address: u32, index: u32, value: u32) -> Result<(), Fault> {
        let argument = 3 << 24 | index << 16 | value << 8;
        self.host.command(6, argument, Answer::Busy).await?;
        let status = self.host.command(13, address, Answer::Short).await?;
        if status & SWITCH_ERROR == 0 {
            Ok(())
        } else {
            Err(Fault::Line)
        }
    }

    /// Waits until the card has stored what it was sent (state "transfer",
    /// ready for data).
    async fn settle(&mut self, card: Identity) -> Result<(), Fault> {
        let end = Instant::now() + POWER_UP;
        loop {
            let status = self.host.command(13, card.address, Answer::Short).await?;
            if status & STATUS_ERRORS != 0 {
                return Err(Fault::Line);
            }
            if status & (0xF << 9 | 1 << 8) == 4 << 9 | 1 << 8 {
                return Ok(());
            }
            pause(end).await?;
        }
    }

    /// What becomes of a failed attempt: identify the card anew, slower if it
    /// was the line.
    fn failed(&mut self, fault: Fault) -> BlockError {
        self.card = None;
        match fault {
            // The next attempt finds out whether it is there at all.
            Fault::NoAnswer => BlockError::Absent,
            Fault::Timeout => BlockError::Timeout,
            Fault::Line => {
                self.fastest = (self.fastest / 2).max(DEFAULT_HZ / 4);
                BlockError::Io
            }
        }
    }

    fn place(card: Identity, first: u32, len: usize) -> Result<u32, BlockError> {
        let end = u64::from(first) + (len / BLOCK) as u64;
        if end > u64::from(card.blocks) {
            return Err(BlockError::OutOfRange);
        }
        if card.by_bytes {
            return first
                .checked_mul(BLOCK as u32)
                .ok_or(BlockError::OutOfRange);
        }
        Ok(first)
    }

    async fn read_once(&mut self, first: u32, buf: &mut [u8]) -> Result<(), BlockError> {
        let card = self.ready().await?;
        let place = Self::place(card, first, buf.len())?;
        let index = if buf.len() == BLOCK { 17 } else { 18 };
        let read = self.host.read(index, place, BLOCK, buf).await;
        read.map_err(|fault| self.failed(fault))
    }

    async fn write_once(&mut self, first: u32, bytes: &[u8]) -> Result<(), BlockError> {
        let card = self.ready().await?;
        let place = Self::place(card, first, bytes.len())?;
        let index = if bytes.len() == BLOCK { 24 } else { 25 };
        let mut written = self.host.write(index, place, bytes).await;
        if written.is_ok() {
            written = self.settle(card).await;
        }
        written.map_err(|fault| self.failed(fault))
    }
}

impl<B: Bus> Blocks for Sd<B> {
    fn count(&self) -> u32 {
        self.first.map_or(0, |(_, blocks)| blocks)
    }

    async fn read(&mut self, mut first: u32, buf: &mut [u8]) -> Result<(), BlockError> {
        for part in buf.chunks_mut(MAX_BLOCKS * BLOCK) {
            let mut attempt = 1;
            while let Err(error) = self.read_once(first, part).await {
                if is_final(error) || attempt == ATTEMPTS {
                    return Err(error);
                }
                attempt += 1;
            }
            first += (part.len() / BLOCK) as u32;
        }
        Ok(())
    }

    async fn write(&mut self, mut first: u32, bytes: &[u8]) -> Result<(), BlockError> {
        for part in bytes.chunks(MAX_BLOCKS * BLOCK) {
            let mut attempt = 1;
            while let Err(error) = self.write_once(first, part).await {
                if is_final(error) || attempt == ATTEMPTS {
                    return Err(error);
                }
                attempt += 1;
            }
            first += (part.len() / BLOCK) as u32;
        }
        Ok(())
    }
}

/// Whether trying again is of no use. A card that does not answer once may
/// have missed a command, so that is not final: identifying it is.
const fn is_final(error: BlockError) -> bool {
    matches!(error, BlockError::OutOfRange | BlockError::Exchanged)
}

/// Lets a millisecond pass; fails when the time is over.
async fn pause(end: Instant) -> Result<(), Fault> {
    if Instant::now() > end {
        return Err(Fault::Timeout);
    }
    Timer::after_millis(1).await;
    Ok(())
}

/// Bits of a CSD. The controller leaves out the lowest eight, its CRC.
fn csd_bits(csd: [u32; 4], start: usize, len: usize) -> u32 {
    let start = start - 8;
    let word = |at: usize| u64::from(csd.get(at).copied().unwrap_or(0));
    let bits = (word(start / 32) | word(start / 32 + 1) << 32) >> (start % 32);
    (bits & ((1 << len) - 1)) as u32
}

/// Blocks by a CSD of version 1 (SD §5.3.2).
fn sdsc_blocks(csd: [u32; 4]) -> u32 {
    let size = csd_bits(csd, 62, 12) + 1;
    let factor = csd_bits(csd, 47, 3) + 2;
    let block = csd_bits(csd, 80, 4);
    // In bytes, 2^32 at most; a block of theirs is 512 to 2048 bytes.
    let bytes = u64::from(size) << (factor + block);
    (bytes / BLOCK as u64) as u32
}
