//! Whatever an operator, or a half-written card, puts into `ichor.toml`.
#![no_main]

use ichor::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut config = Config::new();
    match config.read(text) {
        Ok(()) => {
            let _ = config.check().map_err(|error| error.to_string());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
