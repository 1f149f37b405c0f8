//! The chip at its endpoints: standard requests, frames in and out, interrupts.

use std::time::{Duration, Instant};

use super::super::descriptors::{
    self, BULK_IN, BULK_OUT, INTERRUPT_IN, INTERRUPT_INTERVAL, INTERRUPT_PACKET, PACKET,
};
use super::super::fault::Fault;
use super::super::registers::{
    COE_CR, COE_TX, HW_CFG, HW_CFG_BIR, HW_CFG_SBP, INT_EP_CTL, INT_TXE, MAC_CR, MAC_CR_FDPX,
    MAC_CR_TXEN, TX_CFG, TX_CFG_ON,
};
use super::super::tx::Sent;
use super::super::{BulkIn, Violation};
use super::{Chip, READ_REGISTER, WRITE_REGISTER};
use crate::usbredir::{Answer, Device, Endpoint, EndpointType, Identity, Setup, Speed, Status};

/// A driver may take this long to set the duplex that the link has.
pub(super) const DUPLEX_TIME: Duration = Duration::from_secs(2);

impl Chip {
    fn standard_request(&mut self, setup: Setup) -> Result<Vec<u8>, Status> {
        let endpoint = setup.index as u8;
        match (setup.request_type, setup.request) {
            // GET_DESCRIPTOR
            (0x80, 6) => {
                let found = descriptors::get(setup.value).ok_or(Status::Stall)?;
                Ok(found.to_vec())
            }
            // GET_STATUS: self-powered; nothing; halted or not.
            (0x80, 0) => Ok(vec![1, 0]),
            (0x81, 0) => Ok(vec![0, 0]),
            (0x82, 0) => Ok(vec![u8::from(self.halted.contains(&endpoint)), 0]),
            // CLEAR_FEATURE and SET_FEATURE: ENDPOINT_HALT, remote wake-up.
            (0x02, 1) if setup.value == 0 => {
                self.halted.remove(&endpoint);
                Ok(Vec::new())
            }
            (0x02, 3) if setup.value == 0 => {
                self.halted.insert(endpoint);
                Ok(Vec::new())
            }
            (0x00, 1 | 3) if setup.value == 1 => Ok(Vec::new()),
            (request_type, request) => {
                self.report(Violation::UnknownRequest {
                    request_type,
                    request,
                });
                Err(Status::Stall)
            }
        }
    }

    /// Whether an endpoint may be used now.
    fn check_endpoint(&mut self, endpoint: u8, expected: u8) -> Result<(), Status> {
        if self.configuration == 0 || endpoint != expected {
            self.report(Violation::Endpoint(endpoint));
            return Err(Status::Invalid);
        }
        if self.halted.contains(&endpoint) {
            return Err(Status::Stall);
        }
        Ok(())
    }

    fn fail(&mut self, endpoint: u8, status: Status) -> Status {
        if status == Status::Stall {
            self.halted.insert(endpoint);
        }
        status
    }

    /// The next part of a burst, of up to `length` bytes (a multiple of 512);
    /// `None` if there is none. `empty` packets end one that ends on a full packet.
    fn received(&mut self, length: usize, empty: u8) -> Option<Answer> {
        if self.owes_empty > 0 {
            self.owes_empty -= 1;
            return Some(Answer::Data(Vec::new()));
        }
        if self.burst.is_empty() {
            self.burst = self.next_burst()?;
            let failure = self.faults.take(|fault| match fault {
                Fault::BulkIn(status) => Some(status),
                _ => None,
            });
            if let Some(status) = failure {
                self.burst.clear();
                return Some(Answer::Failed(self.fail(BULK_IN, status)));
            }
        }
        let rest = self.burst.split_off(length.min(self.burst.len()));
        let part = std::mem::replace(&mut self.burst, rest);
        if self.burst.is_empty() && part.len().is_multiple_of(PACKET) {
            self.owes_empty = empty;
        }
        Some(Answer::Data(part))
    }

    fn next_burst(&mut self) -> Option<Vec<u8>> {
        loop {
            let (mut burst, frames) = self.receiver.burst(&self.registers)?;
            let lost = self
                .faults
                .take(|fault| (fault == Fault::LoseBurst).then_some(()));
            if lost.is_some() {
                continue;
            }
            let cut = self.faults.take(|fault| match fault {
                Fault::CutBurst(length) => Some(length),
                _ => None,
            });
            burst.truncate(cut.unwrap_or(usize::MAX));
            self.counters.rx_bursts += 1;
            self.counters.rx_most = self.counters.rx_most.max(frames);
            if !burst.is_empty() {
                return Some(burst);
            }
        }
    }

    /// A frame from the driver goes out.
    fn transmit(&mut self, now: Instant, sent: &Sent) {
        let on = self.registers.has(MAC_CR, MAC_CR_TXEN) && self.registers.has(TX_CFG, TX_CFG_ON);
        if !on {
            return self.report(Violation::TransmitterOff);
        }
        let Some(mode) = self.phy.link() else {
            self.counters.tx_dropped += 1;
            return;
        };
        let full = self.registers.has(MAC_CR, MAC_CR_FDPX);
        let settled = self
            .linked_since
            .is_some_and(|since| now.saturating_duration_since(since) > DUPLEX_TIME);
        if settled && full != mode.full {
            self.report(Violation::Duplex);
        }
        self.counters.tx_frames += 1;
        self.counters.tx_checksums += u64::from(sent.checksummed);
        (self.wire)(&sent.frame);
    }
}

impl Device for Chip {
    fn identity(&self) -> Identity {
        Identity {
            speed: Speed::High,
            class: [0xFF, 0x00, 0x01],
            vendor: 0x0424,
            product: 0xEC00,
            version: 0x0200,
            interface_class: [0xFF, 0x00, 0xFF],
        }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        if self.configuration == 0 {
            return Vec::new();
        }
        // The descriptors say bulk always. But QEMU keeps a bulk request open
        // that a NAK would answer, and aborts when the driver takes it back.
        let naks = self.registers.has(HW_CFG, HW_CFG_BIR);
        let buffered = self.options.bulk_in == BulkIn::Buffered;
        let bulk_in = if naks && buffered {
            EndpointType::Interrupt
        } else {
            EndpointType::Bulk
        };
        let endpoint = |address, kind, interval, max_packet| Endpoint {
            address,
            kind,
            interval,
            max_packet,
        };
        vec![
            endpoint(BULK_IN, bulk_in, 1, PACKET as u16),
            endpoint(BULK_OUT, EndpointType::Bulk, 1, PACKET as u16),
            endpoint(
                INTERRUPT_IN,
                EndpointType::Interrupt,
                INTERRUPT_INTERVAL,
                INTERRUPT_PACKET,
            ),
        ]
    }

    fn reset(&mut self, now: Instant) {
        self.lite_reset();
        self.reset = None;
        self.phy_reset = None;
        self.configuration = 0;
        self.phy.reset(now);
        self.linked_since = None;
    }

    fn configure(&mut self, _now: Instant, value: u8) -> Status {
        if value > 1 {
            return Status::Stall;
        }
        self.configuration = value;
        self.halted.clear();
        Status::Success
    }

    fn configuration(&self) -> u8 {
        self.configuration
    }

    fn control(&mut self, now: Instant, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Status> {
        self.advance(now);
        match (setup.request_type, setup.request) {
            (0x40, WRITE_REGISTER) | (0xC0, READ_REGISTER) => {
                self.register_request(now, setup, data)
            }
            _ => self.standard_request(setup),
        }
    }

    fn bulk_out(&mut self, now: Instant, endpoint: u8, data: &[u8]) -> Status {
        self.advance(now);
        if let Err(status) = self.check_endpoint(endpoint, BULK_OUT) {
            return status;
        }
        let failure = self.faults.take(|fault| match fault {
            Fault::BulkOut(status) => Some(status),
            _ => None,
        });
        if let Some(status) = failure {
            // A packet that got lost on the bus may come again, and the frame
            // goes on with it (USB 2.0 §8.6.4).
            if status == Status::Stall {
                self.deframer.flush();
            }
            return self.fail(BULK_OUT, status);
        }
        let checksums = self.registers.has(COE_CR, COE_TX);
        let (frames, violation) = self.deframer.packet(data, checksums);
        for sent in &frames {
            self.transmit(now, sent);
        }
        let Some(violation) = violation else {
            return Status::Success;
        };
        self.report(violation);
        if violation == Violation::NoEmptyPacket {
            return Status::Success;
        }
        self.raise(INT_TXE);
        if self.registers.has(HW_CFG, HW_CFG_SBP) {
            return Status::Success;
        }
        self.fail(BULK_OUT, Status::Stall)
    }

    fn bulk_in(&mut self, now: Instant, endpoint: u8, length: usize) -> Answer {
        self.advance(now);
        if let Err(status) = self.check_endpoint(endpoint, BULK_IN) {
            return Answer::Failed(status);
        }
        if !length.is_multiple_of(PACKET) {
            self.report(Violation::RequestLength(length));
        }
        match self.received(length, 1) {
            Some(answer) => answer,
            None if self.registers.has(HW_CFG, HW_CFG_BIR) => Answer::NotYet,
            None => Answer::Data(Vec::new()),
        }
    }

    fn interrupt_in(&mut self, now: Instant, endpoint: u8) -> Answer {
        self.advance(now);
        if self.configuration == 0 || self.halted.contains(&endpoint) {
            return Answer::NotYet;
        }
        if endpoint == BULK_IN {
            return match self.options.bulk_in {
                // Packet by packet, which QEMU puts together to transfers. The
                // first empty one is lost to it there; the second reaches
                // its DWC2, which would go on waiting otherwise.
                BulkIn::Buffered => self.received(PACKET, 2),
                BulkIn::Requested => None,
            }
            .unwrap_or(Answer::NotYet);
        }
        let status = self.interrupt_status();
        let enabled = status & self.registers.get(INT_EP_CTL);
        if enabled == self.told {
            return Answer::NotYet;
        }
        self.told = enabled;
        if enabled == 0 {
            return Answer::NotYet;
        }
        self.counters.interrupts += 1;
        Answer::Data(status.to_le_bytes().to_vec())
    }
}
