//! `ichor`: the netboot server as one Linux process.
fn main() {}
