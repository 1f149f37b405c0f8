//! SD cards and eMMC.
