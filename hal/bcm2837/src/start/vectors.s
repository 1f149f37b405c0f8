// Exception vectors (ARM DDI 0487, D1.3.1): interrupts go to `interrupt`, all
// else is a fault that is reported and ends in a reset.

.macro fault_vector number
    .balign 0x80
    msr     tpidr_el1, x0
    mov     x0, #\number
    b       take_fault
.endm

.section .text.vectors, "ax"
.balign 0x800
.global vectors
vectors:
    // From code on SP_EL0.
    fault_vector 0
    .balign 0x80
    b       take_interrupt
    fault_vector 2
    fault_vector 3
    // From interrupt handlers, which run with interrupts masked.
    fault_vector 4
    fault_vector 5
    fault_vector 6
    fault_vector 7
    // From EL0, where nothing runs.
    fault_vector 8
    fault_vector 9
    fault_vector 10
    fault_vector 11
    fault_vector 12
    fault_vector 13
    fault_vector 14
    fault_vector 15

// Handlers are ordinary functions: everything that one may change is saved,
// the upper halves of v8 to v15 included.
.equ GENERAL, 24 * 8
.equ INTERRUPT_FRAME, GENERAL + 32 * 16
take_interrupt:
    sub     sp, sp, #INTERRUPT_FRAME
    stp     x0, x1, [sp, #0x00]
    stp     x2, x3, [sp, #0x10]
    stp     x4, x5, [sp, #0x20]
    stp     x6, x7, [sp, #0x30]
    stp     x8, x9, [sp, #0x40]
    stp     x10, x11, [sp, #0x50]
    stp     x12, x13, [sp, #0x60]
    stp     x14, x15, [sp, #0x70]
    stp     x16, x17, [sp, #0x80]
    stp     x18, x30, [sp, #0x90]
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    stp     x0, x1, [sp, #0xA0]
    mrs     x0, fpsr
    mrs     x1, fpcr
    stp     x0, x1, [sp, #0xB0]
    stp     q0, q1, [sp, #GENERAL + 0x000]
    stp     q2, q3, [sp, #GENERAL + 0x020]
    stp     q4, q5, [sp, #GENERAL + 0x040]
    stp     q6, q7, [sp, #GENERAL + 0x060]
    stp     q8, q9, [sp, #GENERAL + 0x080]
    stp     q10, q11, [sp, #GENERAL + 0x0a0]
    stp     q12, q13, [sp, #GENERAL + 0x0c0]
    stp     q14, q15, [sp, #GENERAL + 0x0e0]
    stp     q16, q17, [sp, #GENERAL + 0x100]
    stp     q18, q19, [sp, #GENERAL + 0x120]
    stp     q20, q21, [sp, #GENERAL + 0x140]
    stp     q22, q23, [sp, #GENERAL + 0x160]
    stp     q24, q25, [sp, #GENERAL + 0x180]
    stp     q26, q27, [sp, #GENERAL + 0x1a0]
    stp     q28, q29, [sp, #GENERAL + 0x1c0]
    stp     q30, q31, [sp, #GENERAL + 0x1e0]

    bl      {interrupt}

    ldp     q0, q1, [sp, #GENERAL + 0x000]
    ldp     q2, q3, [sp, #GENERAL + 0x020]
    ldp     q4, q5, [sp, #GENERAL + 0x040]
    ldp     q6, q7, [sp, #GENERAL + 0x060]
    ldp     q8, q9, [sp, #GENERAL + 0x080]
    ldp     q10, q11, [sp, #GENERAL + 0x0a0]
    ldp     q12, q13, [sp, #GENERAL + 0x0c0]
    ldp     q14, q15, [sp, #GENERAL + 0x0e0]
    ldp     q16, q17, [sp, #GENERAL + 0x100]
    ldp     q18, q19, [sp, #GENERAL + 0x120]
    ldp     q20, q21, [sp, #GENERAL + 0x140]
    ldp     q22, q23, [sp, #GENERAL + 0x160]
    ldp     q24, q25, [sp, #GENERAL + 0x180]
    ldp     q26, q27, [sp, #GENERAL + 0x1a0]
    ldp     q28, q29, [sp, #GENERAL + 0x1c0]
    ldp     q30, q31, [sp, #GENERAL + 0x1e0]
    ldp     x0, x1, [sp, #0xB0]
    msr     fpsr, x0
    msr     fpcr, x1
    ldp     x0, x1, [sp, #0xA0]
    msr     elr_el1, x0
    msr     spsr_el1, x1
    ldp     x18, x30, [sp, #0x90]
    ldp     x16, x17, [sp, #0x80]
    ldp     x14, x15, [sp, #0x70]
    ldp     x12, x13, [sp, #0x60]
    ldp     x10, x11, [sp, #0x50]
    ldp     x8, x9, [sp, #0x40]
    ldp     x6, x7, [sp, #0x30]
    ldp     x4, x5, [sp, #0x20]
    ldp     x2, x3, [sp, #0x10]
    ldp     x0, x1, [sp, #0x00]
    add     sp, sp, #INTERRUPT_FRAME
    eret

// A fault never returns, so its report always gets a stack of its own: the one
// in use may be what failed. x0 is the vector, its old value in TPIDR_EL1. The
// frame is `Frame` in exceptions.rs.
.equ FAULT_FRAME, 38 * 8
take_fault:
    msr     tpidr_el0, x1
    mov     x1, sp
    msr     tpidrro_el0, x2
    adrp    x2, __fault_stack_end
    add     x2, x2, :lo12:__fault_stack_end
    mov     sp, x2
    sub     sp, sp, #FAULT_FRAME
    mrs     x2, tpidrro_el0
    stp     x2, x3, [sp, #0x010]
    stp     x4, x5, [sp, #0x020]
    stp     x6, x7, [sp, #0x030]
    stp     x8, x9, [sp, #0x040]
    stp     x10, x11, [sp, #0x050]
    stp     x12, x13, [sp, #0x060]
    stp     x14, x15, [sp, #0x070]
    stp     x16, x17, [sp, #0x080]
    stp     x18, x19, [sp, #0x090]
    stp     x20, x21, [sp, #0x0a0]
    stp     x22, x23, [sp, #0x0b0]
    stp     x24, x25, [sp, #0x0c0]
    stp     x26, x27, [sp, #0x0d0]
    stp     x28, x29, [sp, #0x0e0]
    mrs     x2, tpidr_el1
    mrs     x3, tpidr_el0
    stp     x2, x3, [sp, #0x000]
    mrs     x2, sp_el0
    stp     x30, x2, [sp, #0x0F0]
    mrs     x2, elr_el1
    stp     x1, x2, [sp, #0x100]
    mrs     x2, spsr_el1
    mrs     x3, esr_el1
    stp     x2, x3, [sp, #0x110]
    mrs     x2, far_el1
    stp     x2, x0, [sp, #0x120]
    mov     x0, sp
    mov     x29, xzr
    mov     x30, xzr
    bl      {fault}
    b       .
