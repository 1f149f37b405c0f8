//! The driver against a fake controller with a fake card, which panic at what
//! hardware would answer with silence.

use std::cell::RefCell;
use std::rc::Rc;

use ichor_hal_card::{BLOCK, BlockError, Blocks};

use super::host::{self, reg};
use super::{Kind, Sd, route_pins};
use crate::Bus;
use crate::fake::Registers;
use crate::fake::time::block_on;
use crate::gpio::Gpio;

const BASE_HZ: u32 = 200_000_000;
const BLOCKS: usize = 2048;

#[derive(Clone)]
struct Fake(Rc<RefCell<Model>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Ready,
    Identified,
    Standby,
    Transfer,
}

/// The controller, and the card in it.
struct Model {
    kind: Kind,
    inserted: bool,
    state: State,
    cid: u32,
    app: bool,
    /// How often it is still busy when asked to power up.
    power_up: u32,
    bytes: Vec<u8>,
    regs: [u32; 16],
    /// What DATA gives, or takes until it has so many bytes.
    fifo: Vec<u8>,
    writing: Option<(usize, usize)>,
    block: usize,
    card_four_bits: bool,
    /// So many data transfers fail with a CRC error.
    crc_errors: u32,
    commands: Vec<(u32, u32)>,
}

impl Fake {
    fn new(kind: Kind) -> Self {
        Self(Rc::new(RefCell::new(Model {
            kind,
            inserted: true,
            state: State::Idle,
            cid: 7,
            app: false,
            power_up: 3,
            bytes: (0..BLOCKS * BLOCK).map(|n| (n / 3) as u8).collect(),
            regs: [0; 16],
            fifo: Vec::new(),
            writing: None,
            block: BLOCK,
            card_four_bits: false,
            crc_errors: 0,
            commands: Vec::new(),
        })))
    }

    fn count(&self, index: u32) -> usize {
        let model = self.0.borrow();
        model.commands.iter().filter(|(n, _)| *n == index).count()
    }
}

impl Model {
    fn clock(&self) -> u32 {
        let control = self.regs[reg::CONTROL1 / 4];
        assert!(control & host::CLOCK_ON != 0, "no clock");
        let half = (control >> 8 & 0xFF) | (control >> 6 & 3) << 8;
        BASE_HZ / (2 * half).max(1)
    }

    fn raise(&mut self, bits: u32) {
        self.regs[reg::INTERRUPT / 4] |= bits;
    }

    fn answer(&mut self, value: u32) {
        self.regs[reg::RESP0 / 4] = value;
        self.raise(host::CMD_DONE);
    }

    fn long(&mut self, words: [u32; 4]) {
        self.regs[4..8].copy_from_slice(&words);
        self.raise(host::CMD_DONE);
    }

    fn place(&self, argument: u32) -> usize {
        match self.kind {
            Kind::Sdsc => {
                assert_eq!(argument as usize % BLOCK, 0);
                argument as usize
            }
            _ => argument as usize * BLOCK,
        }
    }

    fn command(&mut self, mode: u32) {
        let (index, argument) = (mode >> 24, self.regs[reg::ARG1 / 4]);
        let app = std::mem::take(&mut self.app);
        self.commands.push((index, argument));
        let hz = self.clock();
        let identifying = matches!(self.state, State::Idle | State::Ready);
        assert!(
            hz <= if identifying { 400_000 } else { 50_000_000 },
            "{hz} Hz"
        );
        let mmc = self.kind == Kind::Emmc;
        let four = self.regs[reg::CONTROL0 / 4] & host::FOUR_BITS != 0;
        if mode & host::IS_DATA != 0 {
            assert_eq!(four, self.card_four_bits, "both ends use as many lines");
            assert_eq!(mode & host::FROM_CARD != 0, !(24..26).contains(&index));
        }
        if !self.inserted {
            return self.raise(host::ERROR | host::COMMAND_TIMEOUT);
        }
        match (index, self.state) {
            (0, _) => {
                self.state = State::Idle;
                self.card_four_bits = false;
                self.raise(host::CMD_DONE);
            }
            (8, State::Idle) if self.kind == Kind::Sdhc => self.answer(argument),
            (55, State::Idle | State::Transfer) if !mmc => {
                self.app = true;
                self.answer(1 << 5);
            }
            (41, State::Idle) if app => self.power_up(argument),
            (1, State::Idle) if mmc => self.power_up(argument),
            (2, State::Ready) => {
                self.state = State::Identified;
                self.long([self.cid, 2, 3, 4]);
            }
            (3, State::Identified) => {
                self.state = State::Standby;
                self.answer(if mmc { 0 } else { 0xABCD_0500 });
            }
            (9, State::Standby) => {
                assert_eq!(argument, if mmc { 1 << 16 } else { 0xABCD_0000 });
                // 2048 blocks each: C_SIZE (at 69:48) is 1 in version 2 (at
                // 127:126); in version 1 C_SIZE (at 73:62) is 511, C_SIZE_MULT
                // (at 49:47) 0 and READ_BL_LEN (at 83:80) 9.
                self.long(match self.kind {
                    Kind::Sdhc => [0, 1 << 8, 0, 1 << 22],
                    _ => [0, 511 << 22, 9 << 8, 0],
                });
            }
            (7, State::Standby) => {
                self.state = State::Transfer;
                self.answer(0);
                self.raise(host::DATA_DONE);
            }
            (6, State::Transfer) if app => {
                assert_eq!(argument, 2);
                self.card_four_bits = true;
                self.answer(0);
            }
            (6, State::Transfer) if mmc => {
                match argument {
                    0x03B7_0100 => self.card_four_bits = true,
                    0x03B9_0100 => {}
                    other => panic!("EXT_CSD {other:#x}"),
                }
                self.answer(0);
                self.raise(host::DATA_DONE);
            }
            (6, State::Transfer) => {
                let mut status = vec![0; 64];
                status[16] = 1;
                self.send(status);
            }
            (8, State::Transfer) if mmc => {
                let mut ext_csd = vec![0; BLOCK];
                ext_csd[212..216].copy_from_slice(&(BLOCKS as u32).to_le_bytes());
                self.send(ext_csd);
            }
            (13, State::Transfer) => self.answer(4 << 9 | 1 << 8),
            (16, State::Transfer) => self.answer(0),
            (17 | 18, State::Transfer) => {
                let start = self.place(argument);
                let len = self.data_len(index == 18, mode);
                self.send(self.bytes[start..start + len].to_vec());
            }
            (24 | 25, State::Transfer) => {
                let len = self.data_len(index == 25, mode);
                self.writing = Some((self.place(argument), len));
                self.answer(0);
                self.raise(host::WRITE_READY);
            }
            // Illegal: no answer.
            _ => self.raise(host::ERROR | host::COMMAND_TIMEOUT),
        }
    }

    fn data_len(&self, many: bool, mode: u32) -> usize {
        let size_and_count = self.regs[reg::BLKSIZECNT / 4];
        let (size, count) = (size_and_count & 0x3FF, size_and_count >> 16);
        assert_eq!(size as usize, BLOCK);
        let flags = host::MANY_BLOCKS | host::COUNT_BLOCKS | host::AUTO_STOP;
        assert_eq!(many, count > 1);
        assert_eq!(mode & flags, if many { flags } else { 0 });
        count as usize * BLOCK
    }

    fn power_up(&mut self, argument: u32) {
        assert_ne!(argument & 0x00FF_8000, 0);
        let high = if self.kind == Kind::Sdsc { 0 } else { 1 << 30 };
        if self.power_up > 0 {
            self.power_up -= 1;
            return self.answer(0x00FF_8000);
        }
        self.state = State::Ready;
        self.answer(1 << 31 | high | 0x00FF_8000);
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.answer(0);
        if self.crc_errors > 0 && bytes.len() >= BLOCK {
            self.crc_errors -= 1;
            return self.raise(host::ERROR | 1 << 21);
        }
        self.block = (self.regs[reg::BLKSIZECNT / 4] & 0x3FF) as usize;
        self.fifo = bytes;
        self.raise(host::READ_READY);
    }
}

impl Bus for Fake {
    fn read(&self, offset: usize) -> u32 {
        let mut model = self.0.borrow_mut();
        if offset != reg::DATA {
            return model.regs[offset / 4];
        }
        assert!(model.fifo.len() >= 4, "data that is not there");
        let whole = model.fifo.len().is_multiple_of(model.block);
        let ready = model.regs[reg::INTERRUPT / 4] & host::READ_READY != 0;
        assert!(
            !(whole && ready),
            "the flag is cleared before the block is read"
        );
        let word: Vec<u8> = model.fifo.drain(..4).collect();
        if model.fifo.is_empty() {
            model.raise(host::DATA_DONE);
        } else if model.fifo.len().is_multiple_of(model.block) {
            model.raise(host::READ_READY);
        }
        u32::from_le_bytes(word.try_into().unwrap())
    }

    fn write(&self, offset: usize, value: u32) {
        let mut model = self.0.borrow_mut();
        match offset {
            reg::INTERRUPT => model.regs[offset / 4] &= !value,
            reg::CONTROL1 => {
                let resets = host::RESET_ALL | host::RESET_COMMAND | host::RESET_DATA;
                if value & resets != 0 {
                    model.fifo.clear();
                    model.writing = None;
                    model.regs[reg::INTERRUPT / 4] = 0;
                }
                model.regs[offset / 4] = value & !resets | host::CLOCK_STABLE;
            }
            reg::CMDTM => model.command(value),
            reg::DATA => {
                let (start, len) = model.writing.expect("a card that takes data");
                model.fifo.extend(value.to_le_bytes());
                if !model.fifo.len().is_multiple_of(BLOCK) {
                    return;
                }
                if model.fifo.len() < len {
                    return model.raise(host::WRITE_READY);
                }
                let bytes = std::mem::take(&mut model.fifo);
                model.writing = None;
                model.bytes[start..start + len].copy_from_slice(&bytes);
                model.raise(host::DATA_DONE);
            }
            _ => model.regs[offset / 4] = value,
        }
    }

    fn barrier(&self) {}
}

#[test]
fn every_kind_of_card_is_read_and_written() {
    for kind in [Kind::Sdsc, Kind::Sdhc, Kind::Emmc] {
        let fake = Fake::new(kind);
        let mut card = Sd::new(fake.clone(), BASE_HZ);
        assert_eq!(card.count(), 0);
        let expected = fake.0.borrow().bytes.clone();
        for (first, count) in [(0, 1), (5, 128), (2047, 1), (1920, 128)] {
            let mut buf = vec![0; count * BLOCK];
            assert_eq!(block_on(card.read(first, &mut buf)), Ok(()), "{kind:?}");
            let start = first as usize * BLOCK;
            assert!(buf == expected[start..start + buf.len()], "{kind:?}");
        }
        assert_eq!((card.count(), card.kind()), (BLOCKS as u32, Some(kind)));
        let new: Vec<u8> = (0..6 * BLOCK).map(|n| (n * 7) as u8).collect();
        assert_eq!(block_on(card.write(100, &new)), Ok(()));
        assert_eq!(block_on(card.write(2000, &new[..BLOCK])), Ok(()));
        let bytes = fake.0.borrow().bytes.clone();
        assert!(bytes[100 * BLOCK..106 * BLOCK] == new);
        assert!(bytes[2000 * BLOCK..2001 * BLOCK] == new[..BLOCK]);
        // One command for many blocks, and high speed where it is known.
        assert_eq!((fake.count(18), fake.count(25)), (2, 1));
        let hz = if kind == Kind::Sdsc {
            25_000_000
        } else {
            50_000_000
        };
        assert_eq!(fake.0.borrow().clock(), hz);
        let mut buf = [0; 2 * BLOCK];
        let past = block_on(card.read(2047, &mut buf));
        assert_eq!(past, Err(BlockError::OutOfRange));
    }
}

#[test]
fn a_card_may_be_missing_come_and_go() {
    let fake = Fake::new(Kind::Sdhc);
    fake.0.borrow_mut().inserted = false;
    let mut card = Sd::new(fake.clone(), BASE_HZ);
    let mut buf = [0; BLOCK];
    assert_eq!(block_on(card.read(0, &mut buf)), Err(BlockError::Absent));
    fake.0.borrow_mut().inserted = true;
    assert_eq!(block_on(card.read(0, &mut buf)), Ok(()));
    fake.0.borrow_mut().inserted = false;
    assert_eq!(block_on(card.write(0, &buf)), Err(BlockError::Absent));
    {
        let mut model = fake.0.borrow_mut();
        (model.inserted, model.state) = (true, State::Idle);
    }
    // The same card comes back; another one is refused.
    assert_eq!(block_on(card.read(0, &mut buf)), Ok(()));
    fake.0.borrow_mut().inserted = false;
    assert_eq!(block_on(card.read(0, &mut buf)), Err(BlockError::Absent));
    {
        let mut model = fake.0.borrow_mut();
        (model.inserted, model.cid) = (true, 8);
    }
    assert_eq!(block_on(card.read(0, &mut buf)), Err(BlockError::Exchanged));
}

#[test]
fn errors_on_the_line_are_tried_again_slower() {
    let fake = Fake::new(Kind::Sdhc);
    let mut card = Sd::new(fake.clone(), BASE_HZ);
    let mut buf = [0; 4 * BLOCK];
    block_on(card.read(0, &mut buf)).unwrap();
    fake.0.borrow_mut().crc_errors = 1;
    assert_eq!(block_on(card.read(8, &mut buf)), Ok(()));
    assert!(buf == fake.0.borrow().bytes[8 * BLOCK..12 * BLOCK]);
    assert_eq!(fake.0.borrow().clock(), 25_000_000);
    fake.0.borrow_mut().crc_errors = 99;
    assert_eq!(block_on(card.read(8, &mut buf)), Err(BlockError::Io));
}

#[test]
fn the_pins_are_led_to_the_controller() {
    let registers = Registers::new();
    registers.write(0x10, 0x1249);
    registers.write(0x14, 0x1249 << 12);
    route_pins(&mut Gpio::new(&registers));
    assert_eq!(registers.read(0x10), 0x1249 | 0x3F00_0000);
    assert_eq!(registers.read(0x14), 0x1249 << 12 | 0xFFF);
    assert_eq!((registers.read(0x94), registers.read(0x9C)), (0, 0));
}
