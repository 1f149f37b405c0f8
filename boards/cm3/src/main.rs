//! `kernel8.img`: the netboot server on a Raspberry Pi CM3. Wiring only.

fn main() {}
