//! The mailbox to the VideoCore, by which its firmware is asked for properties:
//! who this board is, how fast its clocks run, what has power.
//!
//! A message is a list of words in memory that both sides see: its size, a
//! code, tags with room for their answers, an end (the firmware's wiki,
//! "Mailbox property interface").

use crate::dma::Buffer;
use crate::{Bus, counter};

const READ: usize = 0x00;
const STATUS: usize = 0x18;
const WRITE: usize = 0x20;

const STATUS_FULL: u32 = 1 << 31;
const STATUS_EMPTY: u32 = 1 << 30;
/// Properties, ARM to VideoCore.
const CHANNEL: u32 = 8;

const REQUEST: u32 = 0;
const ANSWERED: u32 = 0x8000_0000;
/// Set in a tag's length when it holds an answer.
const TAG_ANSWERED: u32 = 1 << 31;

/// Words of a message around the one tag's values: size, code, tag, room,
/// length, end.
const FRAME_WORDS: usize = 6;
/// Words that the longest request or answer used here has.
const VALUES: usize = 2;
/// Bytes that a [`Mailbox`] needs of its buffer.
pub const MESSAGE_LEN: usize = (FRAME_WORDS + VALUES) * 4;

/// How long the firmware may take to answer. Powering a device is the slowest:
/// it waits for the supply to settle.
const ANSWER_US: u64 = 1_000_000;

/// Why a property is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
#[non_exhaustive]
pub enum MailboxError {
    /// The firmware did not answer for a second.
    Timeout,
    /// The firmware refuses the message.
    Refused,
    /// The firmware does not know the property.
    Unknown,
    /// The firmware switched the device neither on nor off, since it has none
    /// such.
    NoDevice,
}

impl core::fmt::Display for MailboxError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the VideoCore's firmware does not answer",
            Self::Refused => "the VideoCore's firmware refuses the message",
            Self::Unknown => "the VideoCore's firmware does not know this property",
            Self::NoDevice => "the VideoCore's firmware knows no such device",
        })
    }
}

impl core::error::Error for MailboxError {}

/// A device whose power the firmware switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Device {
    /// The SD card's controller.
    SdCard = 0,
    /// The USB host controller.
    Usb = 3,
}

/// A clock whose rate the firmware knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Clock {
    /// The Arasan SD controller's.
    Emmc = 1,
    /// The PL011's.
    Uart = 2,
    /// The cores'.
    Arm = 3,
    /// The VideoCore's, and with it the mini UART's and SDHOST's.
    Core = 4,
}

/// The property channel.
#[derive(Debug)]
pub struct Mailbox<B> {
    bus: B,
    message: Buffer,
}

impl<B: Bus> Mailbox<B> {
    /// The channel, by the block at 0x3F00_B880. `message` has at least
    /// [`MESSAGE_LEN`] bytes, and its bus address is a multiple of 16.
    ///
    /// # Panics
    /// If the buffer is not like that.
    pub fn new(bus: B, message: Buffer) -> Self {
        assert!(message.len() >= MESSAGE_LEN);
        assert!(message.bus_address(0).is_multiple_of(16));
        Self { bus, message }
    }

    /// When the firmware was built, in seconds since the Unix epoch. QEMU says
    /// a small number.
    pub fn firmware_revision(&mut self) -> Result<u32, MailboxError> {
        self.property(0x0000_0001, [0; 0])
            .map(|[revision]| revision)
    }

    /// The revision code, which tells model, memory and maker.
    pub fn board_revision(&mut self) -> Result<u32, MailboxError> {
        self.property(0x0001_0002, [0; 0])
            .map(|[revision]| revision)
    }

    /// The MAC address meant for the board's Ethernet.
    pub fn mac_address(&mut self) -> Result<[u8; 6], MailboxError> {
        let [low, high] = self.property(0x0001_0003, [0; 0])?;
        let [a, b, c, d] = low.to_le_bytes();
        let [e, f, ..] = high.to_le_bytes();
        Ok([a, b, c, d, e, f])
    }

    /// The board's serial number.
    pub fn board_serial(&mut self) -> Result<u64, MailboxError> {
        let [low, high] = self.property(0x0001_0004, [0; 0])?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// Address and length in bytes of the SDRAM that is the ARM's.
    pub fn arm_memory(&mut self) -> Result<(u32, u32), MailboxError> {
        self.property(0x0001_0005, [0; 0])
            .map(|[base, len]| (base, len))
    }

    /// The rate of a clock in Hz.
    pub fn clock_rate(&mut self, clock: Clock) -> Result<u32, MailboxError> {
        self.property(0x0003_0002, [clock as u32]).map(|[_, hz]| hz)
    }

    /// Switches a device on, waits until its power is stable, and returns
    /// whether it is on.
    pub fn power_on(&mut self, device: Device) -> Result<bool, MailboxError> {
        const ON_AND_WAIT: u32 = 0b11;
        const ON: u32 = 1 << 0;
        const NO_DEVICE: u32 = 1 << 1;
        let [_, state] = self.property(0x0002_8001, [device as u32, ON_AND_WAIT])?;
        if state & NO_DEVICE != 0 {
            return Err(MailboxError::NoDevice);
        }
        Ok(state & ON != 0)
    }

    /// Sends one tag and returns the values of its answer.
    fn property<const ASKED: usize, const ANSWER: usize>(
        &mut self,
        tag: u32,
        asked: [u32; ASKED],
    ) -> Result<[u32; ANSWER], MailboxError> {
        const { assert!(ASKED <= VALUES && ANSWER <= VALUES) };
        let room = ASKED.max(ANSWER);
        let size = (FRAME_WORDS + room) * 4;
        let head = [size as u32, REQUEST, tag, room as u32 * 4, ASKED as u32 * 4];
        let values = asked.into_iter().chain(core::iter::repeat(0)).take(room);
        let end = core::iter::once(0);
        for (index, word) in head.into_iter().chain(values).chain(end).enumerate() {
            self.message.write(index * 4, &word.to_le_bytes());
        }
        self.send()?;
        match self.word(1) {
            ANSWERED => {}
            _ => return Err(MailboxError::Refused),
        }
        let answered = self.word(4);
        // In bytes: a MAC address has six.
        let words = (answered & !TAG_ANSWERED).div_ceil(4) as usize;
        if answered & TAG_ANSWERED == 0 || words < ANSWER {
            return Err(MailboxError::Unknown);
        }
        Ok(core::array::from_fn(|index| self.word(5 + index)))
    }

    /// Has the firmware work on the message.
    fn send(&mut self) -> Result<(), MailboxError> {
        let bus = &self.bus;
        let note = self.message.bus_address(0) | CHANNEL;
        // Old answers, to a message that timed out, are not ours.
        while bus.read(STATUS) & STATUS_EMPTY == 0 {
            bus.read(READ);
        }
        let room = || bus.read(STATUS) & STATUS_FULL == 0;
        if !counter::wait_until(ANSWER_US, room) {
            return Err(MailboxError::Timeout);
        }
        bus.barrier();
        bus.write(WRITE, note);
        let answered = || bus.read(STATUS) & STATUS_EMPTY == 0 && bus.read(READ) == note;
        if !counter::wait_until(ANSWER_US, answered) {
            return Err(MailboxError::Timeout);
        }
        bus.barrier();
        Ok(())
    }

    fn word(&self, index: usize) -> u32 {
        let mut word = [0; 4];
        self.message.read(index * 4, &mut word);
        u32::from_le_bytes(word)
    }
}
