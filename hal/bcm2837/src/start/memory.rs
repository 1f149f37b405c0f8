//! Which RAM is whose: the image's, the device tree's, free.

use core::ops::Range;

use super::mmu::BLOCK;
use crate::fdt;

/// Where the SDRAM of any Pi before the fourth ends at the latest.
const SDRAM_END: usize = 0x3F00_0000;

/// The blocks that the device tree at `address` may reach into; `None` if none
/// can be there. 0 is what a boot loader says that has none.
pub fn device_tree(address: usize, image: Range<usize>) -> Option<Range<usize>> {
    let end = address.checked_add(fdt::LEN_MAX)?;
    let range = address / BLOCK * BLOCK..end.next_multiple_of(BLOCK);
    let fits = address != 0 && address.is_multiple_of(4) && range.end <= SDRAM_END;
    let apart = range.start >= image.end || range.end <= image.start / BLOCK * BLOCK;
    (fits && apart).then_some(range)
}

/// The largest range of whole blocks of `sdram` behind the image that does not
/// touch `kept`. Whatever lies before the image is left to the boot loader.
pub fn largest_free(sdram: Range<usize>, image: Range<usize>, kept: Range<usize>) -> Range<usize> {
    let start = sdram.start.max(image.end).next_multiple_of(BLOCK);
    let end = sdram.end.min(SDRAM_END) / BLOCK * BLOCK;
    let whole = start..end.max(start);
    if kept.is_empty() {
        return whole;
    }
    let before = whole.start..kept.start.clamp(whole.start, whole.end);
    let behind = kept.end.clamp(whole.start, whole.end)..whole.end;
    if before.len() > behind.len() {
        before
    } else {
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Range<usize> = 0x8_0000..0x60_0000;
    const SDRAM: Range<usize> = 0..0x3B40_0000;

    #[test]
    fn a_device_tree_is_looked_for_where_one_can_be() {
        let cases = [
            // Where newer firmware puts it, and older.
            (0x0260_0000, Some(0x0260_0000..0x0280_0000)),
            (0x2EFF_5700, Some(0x2EE0_0000..0x2F20_0000)),
            (0, None),
            (0x100, None),
            (0x20_0000, None),
            (0x0260_0002, None),
            (0x3EFF_F000, None),
            (usize::MAX & !7, None),
        ];
        for (address, range) in cases {
            assert_eq!(device_tree(address, IMAGE), range, "{address:#x}");
        }
    }

    #[test]
    fn free_memory_is_what_nobody_else_has() {
        let cases = [
            (SDRAM, 0..0, 0x60_0000..0x3B40_0000),
            (SDRAM, 0x0260_0000..0x0280_0000, 0x0280_0000..0x3B40_0000),
            (SDRAM, 0x2EE0_0000..0x2F20_0000, 0x60_0000..0x2EE0_0000),
            (SDRAM, 0x3E00_0000..0x3E20_0000, 0x60_0000..0x3B40_0000),
            // The end of memory is not at a block.
            (0..0x3B5F_F000, 0..0, 0x60_0000..0x3B40_0000),
            // Nobody knows, or it is no more than the image.
            (0..0, 0..0, 0x60_0000..0x60_0000),
            (0..0x40_0000, 0..0, 0x60_0000..0x60_0000),
        ];
        for (sdram, kept, free) in cases {
            assert_eq!(largest_free(sdram, IMAGE, kept), free);
        }
    }
}
