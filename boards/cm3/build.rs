//! Tells the linker where things lie, when it links for the board.

fn main() {
    println!("cargo::rerun-if-changed=kernel8.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "none") {
        let folder = env!("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-T{folder}/kernel8.ld");
        // The numbers that stand for log messages, from the crate defmt.
        println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
        // Sections follow one another without room for file offsets.
        println!("cargo::rustc-link-arg-bins=--nmagic");
    }
}
