//! What a driver did wrong.

use std::fmt;

/// A use of the chip that it does not allow, or that works by luck only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A register that the chip does not have.
    UnknownRegister(u16),
    /// A write to a register that is read only.
    ReadOnly(u16),
    /// A register request that is not for four bytes with `wValue` 0.
    RegisterRequest {
        /// `wLength`.
        length: u16,
        /// `wValue`.
        value: u16,
    },
    /// A request that the chip does not know.
    UnknownRequest {
        /// `bmRequestType`.
        request_type: u8,
        /// `bRequest`.
        request: u8,
    },
    /// A register was used before the end of a reset was seen.
    DuringReset(u16),
    /// An MII register was used before the end of the access before was seen.
    MiiBusy(u16),
    /// Bits that rule the framing were changed with receiver or transmitter on.
    WhileRunning(u16),
    /// The receiver was turned on without an address to listen for.
    NoAddress,
    /// `TX_CFG` turned the transmitter on before `MAC_CR` did.
    TransmitterOrder,
    /// `BCE` with a cap of so many packets, which the chip ignores.
    BurstCap(u32),
    /// A soft reset: the device leaves the bus, which is not modelled.
    SoftReset,
    /// An endpoint was used before SET_CONFIGURATION, or does not exist.
    Endpoint(u8),
    /// A bulk IN request of so many bytes, no multiple of 512: the chip may babble.
    RequestLength(usize),
    /// A frame was sent with the transmitter off.
    TransmitterOff,
    /// A wrong TX command.
    Command {
        /// `TX_CMD_A`.
        a: u32,
        /// `TX_CMD_B`.
        b: u32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A transfer ended within a frame, so many bytes too early.
    Truncated(usize),
    /// A transfer that ended on a full packet was not ended by an empty one.
    NoEmptyPacket,
    /// Half duplex was left set on a full-duplex link, or the reverse.
    Duplex,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRegister(index) => write!(f, "there is no register {index:#x}"),
            Self::ReadOnly(index) => write!(f, "register {index:#x} is read only"),
            Self::RegisterRequest { length, value } => {
                write!(f, "a register request of {length} bytes, value {value}")
            }
            Self::UnknownRequest {
                request_type,
                request,
            } => write!(f, "unknown request {request_type:#04x} {request:#04x}"),
            Self::DuringReset(index) => {
                write!(f, "register {index:#x} used before a reset was over")
            }
            Self::MiiBusy(index) => {
                write!(f, "register {index:#x} used while the MII was busy")
            }
            Self::WhileRunning(index) => {
                write!(f, "register {index:#x} changed while frames flow")
            }
            Self::NoAddress => f.write_str("receiver on without a MAC address"),
            Self::TransmitterOrder => f.write_str("TX_CFG on before MAC_CR has TXEN"),
            Self::BurstCap(packets) => write!(f, "a burst cap of {packets} packets is ignored"),
            Self::SoftReset => f.write_str("soft reset, which takes the device off the bus"),
            Self::Endpoint(address) => write!(f, "endpoint {address:#04x} is not configured"),
            Self::RequestLength(length) => {
                write!(f, "bulk IN of {length} bytes, no multiple of 512")
            }
            Self::TransmitterOff => f.write_str("a frame was sent with the transmitter off"),
            Self::Command { a, b, why } => write!(f, "TX command {a:#010x} {b:#010x}: {why}"),
            Self::Truncated(missing) => {
                write!(f, "a transfer ended {missing} bytes before its frame")
            }
            Self::NoEmptyPacket => {
                f.write_str("a transfer of whole packets without an empty packet after it")
            }
            Self::Duplex => f.write_str("MAC_CR.FDPX does not match the link"),
        }
    }
}
