//! Ethernet over USB: LAN95xx and CDC-ECM behind the `embassy-usb` host traits.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
