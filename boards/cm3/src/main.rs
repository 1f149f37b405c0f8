//! `kernel8.img`: the netboot server on a Raspberry Pi CM3. Wiring only.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board;
#[cfg(target_os = "none")]
mod capacity;
#[cfg(target_os = "none")]
mod settings;
#[cfg(target_os = "none")]
mod storage;
#[cfg(target_os = "none")]
mod tasks;
#[cfg(target_os = "none")]
mod usb;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("ichor-cm3 runs on a Raspberry Pi CM3: cargo xtask build --board cm3");
}
