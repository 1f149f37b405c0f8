//! What a fault's syndrome says, in words.

use core::fmt;

/// `ESR_EL1`: why the core took an exception (ARM DDI 0487, D17.2.37).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syndrome(pub u64);

impl Syndrome {
    const fn class(self) -> u64 {
        self.0 >> 26 & 0x3F
    }

    /// Whether `FAR_EL1` holds the address that the access was to.
    pub const fn has_address(self) -> bool {
        // Instruction and data aborts, PC alignment, watchpoints; bit 10 says
        // that an abort has none.
        match self.class() {
            0x20 | 0x21 | 0x24 | 0x25 => self.0 & 1 << 10 == 0,
            0x22 | 0x34 | 0x35 => true,
            _ => false,
        }
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = Status(self.0 & 0x3F);
        match self.class() {
            0x00 => f.write_str("undefined instruction"),
            0x07 => f.write_str("floating point or SIMD is off"),
            0x0E => f.write_str("illegal execution state"),
            0x15 => write!(f, "svc #{}", self.0 & 0xFFFF),
            0x18 => f.write_str("access to a system register that is not allowed"),
            0x20 | 0x21 => write!(f, "instruction fetch: {status}"),
            0x22 => f.write_str("program counter is not aligned"),
            0x24 | 0x25 if self.0 & 1 << 6 != 0 => write!(f, "write: {status}"),
            0x24 | 0x25 => write!(f, "read: {status}"),
            0x26 => f.write_str("stack pointer is not aligned"),
            0x2F => f.write_str("asynchronous error of the memory system"),
            0x3C => write!(f, "brk #{}", self.0 & 0xFFFF),
            class => write!(f, "exception class {class:#x}"),
        }
    }
}

/// Fault status code of an abort.
struct Status(u64);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.0 & 0b11;
        match self.0 >> 2 {
            0 => write!(f, "address out of range"),
            1 => write!(f, "nothing is mapped there (level {level})"),
            2 => write!(f, "access flag is clear (level {level})"),
            3 => write!(f, "not allowed there (level {level})"),
            _ => match self.0 {
                0x10 => f.write_str("the bus answered with an error"),
                0x14..=0x17 => f.write_str("the bus answered a table walk with an error"),
                0x21 => f.write_str("address is not aligned"),
                0x35 => f.write_str("exclusive access that this memory does not offer"),
                status => write!(f, "fault status {status:#x}"),
            },
        }
    }
}

/// The words for one of the sixteen exception vectors.
pub const fn vector(number: u64) -> &'static str {
    match number {
        0 => "in ordinary code",
        2 => "unexpected fast interrupt",
        3 => "system error",
        4 => "in an interrupt handler",
        5 | 6 => "interrupt within an interrupt handler",
        7 => "system error in an interrupt handler",
        _ => "exception from an exception level that is not used",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syndromes_read_like_what_happened() {
        let cases = [
            (
                0x9600_0044,
                true,
                "write: nothing is mapped there (level 0)",
            ),
            (0x9600_0007, true, "read: nothing is mapped there (level 3)"),
            (0x9600_004F, true, "write: not allowed there (level 3)"),
            (0x9600_0410, false, "read: the bus answered with an error"),
            (0x9600_0021, true, "read: address is not aligned"),
            (
                0x9600_0035,
                true,
                "read: exclusive access that this memory does not offer",
            ),
            (
                0x8600_000F,
                true,
                "instruction fetch: not allowed there (level 3)",
            ),
            (0x0200_0000, false, "undefined instruction"),
            (0xF200_0001, false, "brk #1"),
            (
                0xBF00_0000,
                false,
                "asynchronous error of the memory system",
            ),
            (0xFC00_0000, false, "exception class 0x3f"),
        ];
        for (syndrome, has_address, words) in cases {
            let syndrome = Syndrome(syndrome);
            assert_eq!(syndrome.to_string(), words);
            assert_eq!(syndrome.has_address(), has_address, "{words}");
        }
    }
}
