//! The chip with a driver played by hand.

use std::sync::{Arc, Mutex};

use super::super::descriptors::{BULK_IN, BULK_OUT, INTERRUPT_IN};
use super::super::registers::{
    ADDRH, ADDRL, BULK_IN_DLY, ID_REV, INT_EP_CTL, INT_TXE, MAC_CR_FDPX, TX_FIFO_INF,
};
use super::super::{BulkIn, FrameError};
use super::usb::DUPLEX_TIME;
use super::*;
use crate::usbredir::{Answer, Device as _, EndpointType};

const US: [u8; 6] = [2, 0, 0, 0, 0, 7];

/// A chip, its driver, and what has come out at the wire.
struct Bench {
    chip: Chip,
    now: Instant,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Bench {
    fn new(bulk_in: BulkIn) -> Self {
        let now = Instant::now();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let wire = Arc::clone(&sent);
        let options = Options {
            bulk_in,
            ..Options::default()
        };
        let wire = Box::new(move |frame: &[u8]| wire.lock().unwrap().push(frame.to_vec()));
        let mut chip = Chip::new(now, options, wire);
        assert_eq!(chip.configure(now, 1), Status::Success);
        Self { chip, now, sent }
    }

    /// A chip that a driver has set up as it should, with a link.
    fn running(bulk_in: BulkIn) -> Self {
        let mut bench = Self::new(bulk_in);
        bench.set_up();
        bench.wait(Options::default().negotiation);
        assert_eq!(bench.chip.violations(), []);
        bench
    }

    fn set_up(&mut self) {
        self.write(HW_CFG, HW_CFG_LRST);
        self.wait(RESET_TIME);
        while self.read(HW_CFG) & HW_CFG_LRST != 0 {}
        self.write(ADDRL, u32::from_le_bytes([US[0], US[1], US[2], US[3]]));
        self.write(ADDRH, u32::from_le_bytes([US[4], US[5], 0, 0]));
        self.write(HW_CFG, HW_CFG_BIR | HW_CFG_MEF | HW_CFG_BCE);
        self.write(BURST_CAP, 37);
        self.write(BULK_IN_DLY, 0x2000);
        self.write(MAC_CR, MAC_CR_FDPX | MAC_CR_TXEN);
        self.write(TX_CFG, TX_CFG_ON);
        self.write(MAC_CR, MAC_CR_FDPX | MAC_CR_TXEN | MAC_CR_RXEN);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.chip.advance(self.now);
    }

    fn request(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Status> {
        self.chip.control(self.now, setup, data)
    }

    fn read(&mut self, index: u16) -> u32 {
        let bytes = self.request(vendor(0xC0, READ_REGISTER, index), &[]);
        u32::from_le_bytes(bytes.unwrap().try_into().unwrap())
    }

    fn write(&mut self, index: u16, value: u32) {
        let setup = vendor(0x40, WRITE_REGISTER, index);
        self.request(setup, &value.to_le_bytes()).unwrap();
    }

    fn mii(&mut self, register: u8) -> u32 {
        self.write(MII_ADDR, 1 << 11 | u32::from(register) << 6 | MII_BUSY);
        self.wait(MII_TIME);
        while self.read(MII_ADDR) & MII_BUSY != 0 {}
        self.read(MII_DATA)
    }

    fn send(&mut self, frame: &[u8]) -> Status {
        let length = frame.len() as u32;
        let mut bytes = (length | 0x3000).to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(frame);
        self.chip.bulk_out(self.now, BULK_OUT, &bytes)
    }

    fn only(&self) -> Violation {
        let [violation] = self.chip.violations() else {
            panic!("{:?}", self.chip.violations())
        };
        *violation
    }
}

fn vendor(request_type: u8, request: u8, index: u16) -> Setup {
    Setup {
        request_type,
        request,
        value: 0,
        index,
        length: 4,
    }
}

fn frame(length: usize) -> Vec<u8> {
    let mut frame = US.to_vec();
    frame.extend([2, 0, 0, 0, 0, 9, 8, 0]);
    frame.resize(length, 0x55);
    frame
}

#[test]
fn a_chip_without_eeprom_says_so() {
    let mut bench = Bench::new(BulkIn::Buffered);
    assert_eq!(bench.read(ID_REV) >> 16, 0xEC00);
    assert_eq!(bench.read(ADDRL), 0xFFFF_FFFF);
    bench.write(E2P_CMD, E2P_BUSY | 1);
    assert_eq!(bench.read(E2P_CMD), E2P_TIMEOUT | 1);
    assert_eq!(bench.chip.violations(), []);
}

#[test]
fn frames_go_both_ways() {
    let mut bench = Bench::running(BulkIn::Buffered);
    assert!(bench.chip.is_running());
    assert_eq!(bench.send(&frame(100)), Status::Success);
    assert_eq!(*bench.sent.lock().unwrap(), [frame(100)]);

    // A burst of two packets, 4 + 1016 + 4 bytes, and its end.
    bench.chip.receive(bench.now, &frame(1016));
    for length in [512, 512, 0, 0] {
        let Answer::Data(packet) = bench.chip.interrupt_in(bench.now, BULK_IN) else {
            panic!("no packet of {length}")
        };
        assert_eq!(packet.len(), length);
    }
    let nothing = bench.chip.interrupt_in(bench.now, BULK_IN);
    assert_eq!(nothing, Answer::NotYet);
    assert_eq!(bench.chip.violations(), []);
}

#[test]
fn bulk_in_answers_requests_of_every_size() {
    let mut bench = Bench::running(BulkIn::Requested);
    let now = bench.now;
    assert_eq!(bench.chip.bulk_in(now, BULK_IN, 512), Answer::NotYet);
    bench.chip.receive(now, &frame(1016));
    for (asked, given) in [(512, 512), (2048, 512), (2048, 0)] {
        let Answer::Data(data) = bench.chip.bulk_in(now, BULK_IN, asked) else {
            panic!("nothing of {asked}")
        };
        assert_eq!(data.len(), given);
    }
    // Without BIR an empty packet stands for nothing.
    bench.write(MAC_CR, 0);
    bench.write(HW_CFG, 0);
    let nothing = bench.chip.bulk_in(now, BULK_IN, 2048);
    assert_eq!(nothing, Answer::Data(Vec::new()));
    assert_eq!(bench.chip.violations(), []);
    bench.chip.bulk_in(now, BULK_IN, 100);
    assert_eq!(bench.only(), Violation::RequestLength(100));
}

#[test]
fn qemu_is_told_how_to_ask() {
    let kind = |bench: &Bench| bench.chip.endpoints()[0].kind;
    let mut bench = Bench::new(BulkIn::Buffered);
    assert_eq!(kind(&bench), EndpointType::Bulk);
    bench.write(HW_CFG, HW_CFG_BIR);
    assert_eq!(kind(&bench), EndpointType::Interrupt);
    bench.write(HW_CFG, HW_CFG_LRST);
    assert_eq!(kind(&bench), EndpointType::Bulk);
    let bench = Bench::running(BulkIn::Requested);
    assert_eq!(kind(&bench), EndpointType::Bulk);
}

#[test]
fn the_interrupt_endpoint_tells_of_the_link() {
    let mut bench = Bench::running(BulkIn::Buffered);
    bench.write(INT_EP_CTL, INT_PHY);
    bench.write(MII_DATA, 0x50);
    bench.write(
        MII_ADDR,
        1 << 11 | u32::from(phy::INTERRUPT_MASK) << 6 | MII_WRITE | MII_BUSY,
    );
    bench.wait(MII_TIME);
    while bench.read(MII_ADDR) & MII_BUSY != 0 {}
    // The negotiation that is over.
    let told = |bench: &mut Bench| bench.chip.interrupt_in(bench.now, INTERRUPT_IN);
    let phy = Answer::Data(INT_PHY.to_le_bytes().to_vec());
    assert_eq!(told(&mut bench), phy);
    assert_eq!(told(&mut bench), Answer::NotYet, "once");
    assert_eq!(bench.mii(phy::INTERRUPT_SOURCE), 0x40);
    assert_eq!(told(&mut bench), Answer::NotYet);
    bench.chip.plug_cable(bench.now, false);
    assert_eq!(told(&mut bench), phy);
    assert_eq!(bench.mii(phy::INTERRUPT_SOURCE), 0x10);
    bench.chip.receive(bench.now, &frame(60));
    assert_eq!(bench.send(&frame(60)), Status::Success);
    let counters = bench.chip.counters();
    assert_eq!((counters.rx_unheard, counters.tx_dropped), (1, 1));
}

#[test]
fn mistakes_are_reported() {
    type Mistake = fn(&mut Bench);
    let cases: [(Violation, Mistake); 12] = [
        (Violation::UnknownRegister(0x54), |b| {
            assert_eq!(b.read(0x54), 0);
        }),
        (Violation::ReadOnly(TX_FIFO_INF), |b| {
            b.write(TX_FIFO_INF, 1);
        }),
        (
            Violation::RegisterRequest {
                length: 2,
                value: 0,
            },
            |b| {
                let mut setup = vendor(0xC0, READ_REGISTER, 0);
                setup.length = 2;
                assert_eq!(b.request(setup, &[]), Err(Status::Stall));
            },
        ),
        (
            Violation::UnknownRequest {
                request_type: 0xC0,
                request: 0xA5,
            },
            |b| {
                let setup = vendor(0xC0, 0xA5, 0);
                assert_eq!(b.request(setup, &[]), Err(Status::Stall));
            },
        ),
        (Violation::DuringReset(ADDRL), |b| {
            b.write(HW_CFG, HW_CFG_LRST);
            b.write(ADDRL, 1);
        }),
        (Violation::MiiBusy(MII_DATA), |b| {
            b.write(MII_ADDR, 1 << 11 | MII_BUSY);
            b.wait(MII_TIME);
            b.read(MII_DATA);
        }),
        (Violation::WhileRunning(HW_CFG), |b| b.write(HW_CFG, 0)),
        (Violation::WhileRunning(BURST_CAP), |b| {
            b.write(BURST_CAP, 5);
        }),
        (Violation::SoftReset, |b| b.write(HW_CFG, HW_CFG_SRST)),
        (Violation::TransmitterOff, |b| {
            b.write(TX_CFG, TX_CFG_STOP);
            b.send(&frame(60));
        }),
        (Violation::Endpoint(0x04), |b| {
            b.chip.bulk_out(b.now, 0x04, &[]);
        }),
        (Violation::Duplex, |b| {
            b.write(MAC_CR, MAC_CR_TXEN | MAC_CR_RXEN);
            b.send(&frame(60));
            assert_eq!(b.chip.violations(), [], "it may take some time");
            b.wait(DUPLEX_TIME * 2);
            b.send(&frame(60));
        }),
    ];
    for (expected, mistake) in cases {
        let mut bench = Bench::running(BulkIn::Buffered);
        mistake(&mut bench);
        assert_eq!(bench.only(), expected);
    }
}

#[test]
fn the_order_of_setting_up_matters() {
    let mut bench = Bench::new(BulkIn::Buffered);
    bench.write(TX_CFG, TX_CFG_ON);
    assert_eq!(bench.only(), Violation::TransmitterOrder);
    let mut bench = Bench::new(BulkIn::Buffered);
    bench.write(HW_CFG, HW_CFG_BCE);
    bench.write(BURST_CAP, 4);
    bench.write(MAC_CR, MAC_CR_RXEN);
    let expected = [Violation::NoAddress, Violation::BurstCap(4)];
    assert_eq!(bench.chip.violations(), expected);
}

#[test]
fn a_wrong_command_stalls_until_it_is_cleared() {
    let mut bench = Bench::running(BulkIn::Buffered);
    let wrong = bench.chip.bulk_out(bench.now, BULK_OUT, &[0xFF; 64]);
    assert_eq!(wrong, Status::Stall);
    assert!(matches!(bench.only(), Violation::Command { .. }));
    assert_ne!(bench.read(INT_STS) & INT_TXE, 0);
    assert_eq!(bench.send(&frame(60)), Status::Stall);
    let clear = Setup {
        request_type: 0x02,
        request: 1,
        value: 0,
        index: BULK_OUT.into(),
        length: 0,
    };
    bench.request(clear, &[]).unwrap();
    assert_eq!(bench.send(&frame(60)), Status::Success);
    bench.write(INT_STS, INT_TXE);
    assert_eq!(bench.read(INT_STS), 0);
}

#[test]
fn faults_hit_once() {
    let mut bench = Bench::running(BulkIn::Requested);
    let now = bench.now;
    bench.chip.inject(Fault::LoseBurst);
    bench.chip.receive(now, &frame(60));
    assert_eq!(bench.chip.bulk_in(now, BULK_IN, 512), Answer::NotYet);

    let cases = [
        (Fault::BulkIn(Status::Babble), None),
        (Fault::CutBurst(10), Some(10)),
        (Fault::Frame(FrameError::Runt), Some(68)),
        (Fault::Claims(3), Some(68)),
    ];
    for (fault, expected) in cases {
        bench.chip.inject(fault);
        bench.chip.receive(now, &frame(60));
        let answer = bench.chip.bulk_in(now, BULK_IN, 512);
        match expected {
            Some(length) => assert!(
                matches!(&answer, Answer::Data(data) if data.len() == length),
                "{fault:?} {answer:?}"
            ),
            None => assert_eq!(answer, Answer::Failed(Status::Babble)),
        }
    }
    bench.chip.inject(Fault::Register(Status::IoError));
    let read = vendor(0xC0, READ_REGISTER, ID_REV);
    assert_eq!(bench.request(read, &[]), Err(Status::IoError));
    assert!(bench.request(read, &[]).is_ok());
    bench.chip.inject(Fault::BulkOut(Status::IoError));
    assert_eq!(bench.send(&frame(60)), Status::IoError);
    assert_eq!(bench.send(&frame(60)), Status::Success);
    assert_eq!(bench.chip.faults_left(), 0);
    assert_eq!(bench.chip.violations(), []);
}

/// A frame of two packets goes on with the second when that comes again.
#[test]
fn a_packet_that_got_lost_may_come_again() {
    let mut bench = Bench::running(BulkIn::Buffered);
    let now = bench.now;
    let commands = [1000 | 0x3000_u32, 1000].map(u32::to_le_bytes).concat();
    let bytes = [commands, frame(1000)].concat();
    let (first, second) = bytes.split_at(512);
    assert_eq!(bench.chip.bulk_out(now, BULK_OUT, first), Status::Success);
    bench.chip.inject(Fault::BulkOut(Status::IoError));
    assert_eq!(bench.chip.bulk_out(now, BULK_OUT, second), Status::IoError);
    assert_eq!(bench.chip.bulk_out(now, BULK_OUT, second), Status::Success);
    assert_eq!(bench.chip.violations(), []);
    assert_eq!(bench.chip.counters().tx_frames, 1);
}

/// A chip that is reset on the bus is as after power-on, but not its driver's
/// list of mistakes.
#[test]
fn a_bus_reset_takes_everything_back() {
    let mut bench = Bench::running(BulkIn::Buffered);
    bench.read(0x54);
    bench.chip.reset(bench.now);
    assert_eq!(bench.chip.configuration(), 0);
    assert_eq!(bench.chip.mac(), [0xFF; 6]);
    assert_eq!(bench.chip.link(), None);
    assert_eq!(bench.only(), Violation::UnknownRegister(0x54));
}
