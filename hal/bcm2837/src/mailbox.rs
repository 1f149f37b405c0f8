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
/// Notes that a mailbox holds.
const DEPTH: usize = 8;
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
        for _ in 0..DEPTH {
            if bus.read(STATUS) & STATUS_EMPTY == 0 {
                bus.read(READ);
            }
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

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const MESSAGE_BUS: u32 = 0xC060_0000;

    /// A firmware that reads the message where the ARM says it lies.
    struct Firmware {
        message: Cell<*mut u8>,
        known: Vec<(u32, Vec<u32>, u32)>,
        answer: Cell<Option<u32>>,
        stale: Cell<u32>,
        asked: RefCell<Vec<u32>>,
        mute: bool,
    }

    impl Firmware {
        /// One that answers tags with words; the last number is the length in
        /// bytes that it says the answer has.
        fn new(known: &[(u32, &[u32], u32)]) -> Self {
            Self {
                message: Cell::new(core::ptr::null_mut()),
                known: known
                    .iter()
                    .map(|(tag, words, len)| (*tag, words.to_vec(), *len))
                    .collect(),
                answer: Cell::new(None),
                stale: Cell::new(0),
                asked: RefCell::default(),
                mute: false,
            }
        }

        fn mailbox(self: &std::rc::Rc<Self>) -> Mailbox<std::rc::Rc<Self>> {
            let bytes = Box::leak(Box::new([0xEE; MESSAGE_LEN]));
            self.message.set(bytes.as_mut_ptr());
            Mailbox::new(self.clone(), Buffer::fake(bytes, MESSAGE_BUS))
        }

        fn place(&self, index: usize) -> *mut u32 {
            assert!(index < MESSAGE_LEN / 4);
            self.message.get().cast::<u32>().wrapping_add(index)
        }

        fn word(&self, index: usize) -> u32 {
            // SAFETY: the message is leaked, and `place` keeps inside.
            unsafe { self.place(index).read_unaligned() }
        }

        fn set(&self, index: usize, value: u32) {
            // SAFETY: as above.
            unsafe { self.place(index).write_unaligned(value) }
        }

        fn work(&self) {
            let size = self.word(0) as usize;
            assert_eq!(self.word(1), REQUEST);
            let (tag, room, len) = (self.word(2), self.word(3), self.word(4));
            assert_eq!(size, 24 + room as usize);
            assert!(len <= room && room % 4 == 0);
            assert_eq!(self.word(size / 4 - 1), 0, "the list of tags ends");
            let asked = (0..len as usize / 4).map(|index| self.word(5 + index));
            self.asked.borrow_mut().extend(asked);
            self.set(1, ANSWERED);
            if let Some((_, words, len)) = self.known.iter().find(|known| known.0 == tag) {
                assert!(words.len() * 4 <= room as usize, "the answer has room");
                for (index, word) in words.iter().enumerate() {
                    self.set(5 + index, *word);
                }
                self.set(4, TAG_ANSWERED | len);
            }
        }
    }

    impl Bus for std::rc::Rc<Firmware> {
        fn read(&self, offset: usize) -> u32 {
            match offset {
                STATUS if self.stale.get() > 0 || self.answer.get().is_some() => 0,
                STATUS => STATUS_EMPTY,
                READ if self.stale.get() > 0 => {
                    self.stale.set(self.stale.get() - 1);
                    0xDEAD_BEE8
                }
                READ => self.answer.take().expect("there is an answer to read"),
                _ => panic!("no register at {offset:#x}"),
            }
        }

        fn write(&self, offset: usize, value: u32) {
            assert_eq!(offset, WRITE);
            assert_eq!(value, MESSAGE_BUS | CHANNEL);
            if !self.mute {
                self.work();
                self.answer.set(Some(value));
            }
        }

        fn barrier(&self) {}
    }

    #[test]
    fn properties_are_read_from_the_answers() {
        let firmware = std::rc::Rc::new(Firmware::new(&[
            (0x1_0002, &[0x00A0_2082], 4),
            // A MAC address has six bytes, and the firmware says so.
            (0x1_0003, &[0x12EB_27B8, 0x0000_5634], 6),
            (0x1_0004, &[0x89AB_CDEF, 0x0123_4567], 8),
            (0x1_0005, &[0, 0x3B40_0000], 8),
            (0x3_0002, &[2, 48_000_000], 8),
            (0x2_8001, &[3, 1], 8),
        ]));
        let mut mailbox = firmware.mailbox();
        assert_eq!(mailbox.board_revision(), Ok(0x00A0_2082));
        assert_eq!(
            mailbox.mac_address(),
            Ok([0xB8, 0x27, 0xEB, 0x12, 0x34, 0x56])
        );
        assert_eq!(mailbox.board_serial(), Ok(0x0123_4567_89AB_CDEF));
        assert_eq!(mailbox.arm_memory(), Ok((0, 0x3B40_0000)));
        assert_eq!(mailbox.clock_rate(Clock::Uart), Ok(48_000_000));
        assert_eq!(mailbox.power_on(Device::Usb), Ok(true));
        assert_eq!(*firmware.asked.borrow(), [2, 3, 0b11]);
        assert_eq!(mailbox.firmware_revision(), Err(MailboxError::Unknown));
    }

    #[test]
    fn power_that_does_not_come_is_told() {
        for (state, expected) in [(0, Ok(false)), (0b10, Err(MailboxError::NoDevice))] {
            let firmware = std::rc::Rc::new(Firmware::new(&[(0x2_8001, &[3, state], 8)]));
            assert_eq!(firmware.mailbox().power_on(Device::Usb), expected);
        }
    }

    #[test]
    fn a_firmware_that_is_silent_is_not_waited_for_for_ever() {
        let mut firmware = Firmware::new(&[]);
        firmware.mute = true;
        let firmware = std::rc::Rc::new(firmware);
        assert_eq!(
            firmware.mailbox().board_serial(),
            Err(MailboxError::Timeout)
        );
    }

    #[test]
    fn old_answers_are_thrown_away() {
        let firmware = std::rc::Rc::new(Firmware::new(&[(0x1_0002, &[7], 4)]));
        firmware.stale.set(3);
        assert_eq!(firmware.mailbox().board_revision(), Ok(7));
    }
}
