//! The few instructions and system registers that have no name in Rust.

use core::arch::asm;

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading this register has no effect.
        unsafe {
            asm!(concat!("mrs {}, ", $register), out(reg) value, options(nomem, nostack, preserves_flags));
        }
        value
    }};
}

/// Counts since power-on. Not read ahead of what comes before in the program.
pub(crate) fn counter() -> u64 {
    let value: u64;
    // SAFETY: reading the counter has no effect.
    unsafe {
        asm!("isb", "mrs {}, cntvct_el0", out(reg) value, options(nostack, preserves_flags));
    }
    value
}

/// Counts in a second; 0 if nobody has said so.
pub(crate) fn counter_hz() -> u32 {
    read!("cntfrq_el0") as u32
}

/// Raises the timer's interrupt when the counter reaches `count`.
pub(crate) fn set_alarm(count: u64) {
    // SAFETY: the timer interrupts and does nothing else. It is on with
    // interrupt unmasked.
    unsafe {
        asm!("msr cntv_cval_el0, {}", "msr cntv_ctl_el0, {}", "isb",
            in(reg) count, in(reg) 1_u64, options(nomem, nostack, preserves_flags));
    }
}

/// Turns the timer's interrupt off.
pub(crate) fn clear_alarm() {
    // SAFETY: as in `set_alarm`; the timer is off.
    unsafe {
        asm!(
            "msr cntv_ctl_el0, xzr",
            "isb",
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Masks interrupts; returns whether they were unmasked.
pub(crate) fn mask_interrupts() -> bool {
    let daif = read!("daif");
    // SAFETY: memory accesses do not move across, since `nomem` is not said.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
    daif & 1 << 7 == 0
}

/// Unmasks interrupts.
///
/// # Safety
/// Not within a critical section, unless it ends here.
pub(crate) unsafe fn unmask_interrupts() {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
}

/// Sleeps until an interrupt is pending, masked or not.
pub(crate) fn wait_for_interrupt() {
    // SAFETY: it changes nothing; what was written before is out.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Where the interrupted code was, and its stack pointer. In an interrupt
/// handler alone.
pub(crate) fn interrupted_at() -> (u64, u64) {
    (read!("elr_el1"), read!("sp_el0"))
}

/// Makes entries that were added to translation tables count.
pub(crate) fn tables_changed() {
    // SAFETY: barriers change nothing.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Takes errors of the memory system that come late, from here on: a fault
/// report is better than going on with what they hit.
pub(crate) fn unmask_system_errors() {
    // SAFETY: the vectors are in place.
    unsafe { asm!("msr daifclr, #4", options(nostack, preserves_flags)) };
}
