//! Where the linker script laid things.

use core::fmt;
use core::ops::Range;

use super::mmu::PAGE;

unsafe extern "C" {
    static __image_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __main_stack_start: u8;
    static __main_stack_end: u8;
    static __irq_stack_start: u8;
    static __irq_stack_end: u8;
    static __fault_stack_start: u8;
    static __fault_stack_end: u8;
    static __dma_start: u8;
    static __dma_end: u8;
    static __image_end: u8;
}

macro_rules! between {
    ($start:ident, $end:ident) => {
        // The linker defines the symbols; their addresses are all there is.
        (&raw const $start) as usize..(&raw const $end) as usize
    };
}

pub(super) fn code() -> Range<usize> {
    between!(__image_start, __rodata_start)
}

pub(super) fn constants() -> Range<usize> {
    between!(__rodata_start, __data_start)
}

pub(super) fn data() -> Range<usize> {
    between!(__data_start, __data_end)
}

pub(crate) fn dma() -> Range<usize> {
    between!(__dma_start, __dma_end)
}

/// The image and all memory that belongs to it.
pub(super) fn all() -> Range<usize> {
    between!(__image_start, __image_end)
}

/// A stack, with a page below it that is not mapped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stack {
    Main,
    Interrupt,
    Fault,
}

impl Stack {
    pub(super) const ALL: [Self; 3] = [Self::Main, Self::Interrupt, Self::Fault];

    pub(super) fn range(self) -> Range<usize> {
        match self {
            Self::Main => between!(__main_stack_start, __main_stack_end),
            Self::Interrupt => between!(__irq_stack_start, __irq_stack_end),
            Self::Fault => between!(__fault_stack_start, __fault_stack_end),
        }
    }

    /// The stack whose overflow touches `address` first.
    pub(super) fn guarded_by(address: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|stack| {
            let start = stack.range().start;
            (start - PAGE..start).contains(&(address as usize))
        })
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Interrupt => "interrupt",
            Self::Fault => "fault",
        })
    }
}

pub(super) fn holds_code(address: u64) -> bool {
    code().contains(&(address as usize))
}
