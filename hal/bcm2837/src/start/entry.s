// From the boot loader's jump to Rust: exception level, caches, tables, stacks.
//
// Entered at 0x80000 with the device tree's address in x0, MMU and data cache
// off: at EL2 by the Pi's firmware and by QEMU with a raw image, at EL3 by QEMU
// with an ELF file. Everything runs at EL1 from here on: its timer, vectors and
// translation are what the architecture's own documents describe first, and it
// is the level both ways in can reach.

.section .text.start, "ax"
.global _start
_start:
    // The header of an arm64 Linux image (Documentation/arch/arm64/booting):
    // it tells a boot loader how much memory to leave alone behind the file.
    b       enter
    nop
    .quad   0x80000             // offset of the image from the start of memory
    .quad   __image_size        // with the memory behind the file
    .quad   0b0010              // little endian, 4 KiB pages
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

enter:
    // QEMU starts all cores with an ELF file; else they wait where the boot
    // loader left them, see `at_el1`.
    mrs     x1, mpidr_el1
    tst     x1, #3
    b.ne    park
    mov     x19, x0

    mrs     x1, currentel
    lsr     x1, x1, #2
    cmp     x1, #3
    b.eq    at_el3
    cmp     x1, #2
    b.eq    at_el2
    b       at_el1

    // Interrupts are masked and go to core 0, so this is for ever.
park:
    wfi
    b       park

at_el3:
    // Non-secure, 64 bit below, HVC allowed, SMC not; bits 4 and 5 are one.
    mov     x1, #(1 << 0 | 0b11 << 4 | 1 << 7 | 1 << 8 | 1 << 10)
    msr     scr_el3, x1
    // Accesses to floating point and the auxiliary registers are not trapped.
    msr     cptr_el3, xzr
    // The core takes part in coherency. Without this the caches of a
    // Cortex-A53 must not be on (Cortex-A53 TRM §4.3.44, SMPEN).
    mrs     x1, s3_1_c15_c2_1
    orr     x1, x1, #(1 << 6)
    msr     s3_1_c15_c2_1, x1
    mov     x1, #0x3C9          // EL2 with its own stack, interrupts masked
    msr     spsr_el3, x1
    adr     x1, at_el2
    msr     elr_el3, x1
    eret

at_el2:
    mov     x1, #(1 << 31)      // EL1 is 64 bit; nothing is trapped
    msr     hcr_el2, x1
    mov     x1, #0x33FF         // floating point is not trapped; the rest is one
    msr     cptr_el2, x1
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mov     x1, #3              // EL1 may read the physical counter, too
    msr     cnthctl_el2, x1
    msr     cntvoff_el2, xzr    // the virtual counter is the physical one
    mrs     x1, midr_el1
    msr     vpidr_el2, x1
    mrs     x1, mpidr_el1
    msr     vmpidr_el2, x1
    ldr     x1, =0x30D00800     // MMU and caches off, bits that are one
    msr     sctlr_el1, x1
    mov     x1, #0x3C4          // EL1 with the stack of EL0, interrupts masked
    msr     spsr_el2, x1
    adr     x1, at_el1
    msr     elr_el2, x1
    eret

at_el1:
    msr     daifset, #0b1111
    ldr     x1, =0x30D00800
    msr     sctlr_el1, x1
    mov     x1, #(0b11 << 20)   // floating point and SIMD
    msr     cpacr_el1, x1
    isb

    // Code runs on SP_EL0 and exceptions on SP_EL1, so that a stack that
    // overflowed can be reported.
    msr     spsel, #1
    adrp    x1, __irq_stack_end
    add     x1, x1, :lo12:__irq_stack_end
    mov     sp, x1
    msr     spsel, #0
    adrp    x1, __main_stack_end
    add     x1, x1, :lo12:__main_stack_end
    mov     sp, x1
    mov     x29, xzr
    mov     x30, xzr
    adr     x1, vectors
    msr     vbar_el1, x1
    isb

    // The boot loader's other cores look at these words for where to go on.
    // They are sent to sleep: in its loop they burn power, and a thread each
    // of the machine that emulates them.
    adr     x1, park
    mov     x2, #0xE0
    stp     x1, x1, [x2]
    str     x1, [x2, #16]
    dsb     sy
    sev

    // Nothing old may be in the caches when they are turned on. Lines that a
    // boot loader left are written back: the image may be in them.
    bl      clean_caches
    ic      iallu
    tlbi    vmalle1
    dsb     sy
    isb

    bl      {map_image}
    cbz     x0, park            // more of the image than tables: never linked
    mov     x20, x0

    ldr     x1, ={mair}
    msr     mair_el1, x1
    ldr     x1, ={tcr}
    msr     tcr_el1, x1
    adrp    x1, {tables}
    add     x1, x1, :lo12:{tables}
    msr     ttbr0_el1, x1
    dsb     sy
    isb
    // MMU, alignment of stacks, both caches, and what is writable is never
    // executed.
    mrs     x1, sctlr_el1
    ldr     x2, =(1 << 0 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19)
    orr     x1, x1, x2
    msr     sctlr_el1, x1
    isb

    adrp    x1, __bss_start
    add     x1, x1, :lo12:__bss_start
    adrp    x2, __bss_end
    add     x2, x2, :lo12:__bss_end
0:  cmp     x1, x2
    b.hs    1f
    stp     xzr, xzr, [x1], #16
    b       0b
1:
    mov     x0, x19
    mov     x1, x20
    bl      {start}
    b       park

// Cleans and invalidates every data cache by set and way (ARM DDI 0487,
// "Cache maintenance": CLIDR_EL1 tells the levels, CCSIDR_EL1 each one's shape).
clean_caches:
    mrs     x0, clidr_el1
    ubfx    x1, x0, #24, #3     // levels up to the point of coherency
    mov     x2, #0              // this level
2:  cmp     x2, x1
    b.hs    6f
    add     x3, x2, x2, lsl #1
    lsr     x3, x0, x3
    and     x3, x3, #7
    cmp     x3, #2              // it has a data cache
    b.lo    5f
    lsl     x4, x2, #1
    msr     csselr_el1, x4
    isb
    mrs     x5, ccsidr_el1
    and     x6, x5, #7
    add     x6, x6, #4          // log2 of a line
    ubfx    x7, x5, #3, #10     // last way
    clz     w8, w7              // ways are counted from the top bit down
    ubfx    x9, x5, #13, #15    // last set
3:  mov     x10, x7
4:  lsl     x11, x10, x8
    lsl     x12, x9, x6
    orr     x11, x11, x12
    orr     x11, x11, x4
    dc      cisw, x11
    subs    x10, x10, #1
    b.pl    4b
    subs    x9, x9, #1
    b.pl    3b
5:  add     x2, x2, #1
    b       2b
6:  msr     csselr_el1, xzr
    dsb     sy
    isb
    ret
