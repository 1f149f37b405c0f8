//! What the servers do for each packet and request, without sockets: timed by
//! criterion, or run a given number of times for whoever counts instructions.
//!
//! ```text
//! cargo bench -p ichor                        # times, by criterion
//! cargo xtask count                           # instructions, under callgrind
//! target/release/deps/inner_loops-… count tftp-block 1000  # turns of one
//! ```
//!
//! Both run the same [`LOOPS`]. None reads a clock, allocates by chance or
//! hashes with a random key, so that the number of instructions is always the
//! same.

mod catalog;
mod dhcp;
mod http;
mod tcp;
mod tftp;

use std::process::ExitCode;

use criterion::Criterion;

/// One turn of an inner loop, which checks what came of it.
type Turn = Box<dyn FnMut()>;
/// Builds what a loop works on.
type SetUp = fn() -> Turn;

/// The inner loops by name, each with what sets it up.
const LOOPS: [(&str, SetUp); 8] = [
    ("dhcp-exchange", dhcp::exchange),
    ("tftp-block", tftp::block),
    ("tftp-window-16", tftp::window),
    ("http-head", http::head),
    ("tcp-ack", tcp::ack),
    ("tcp-lossy-ack", tcp::lossy_ack),
    ("catalog-script", catalog::script),
    ("catalog-config", catalog::config),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["list"] => {
            for (name, _) in LOOPS {
                println!("{name}");
            }
            ExitCode::SUCCESS
        }
        ["count", name, turns] => count(name, turns),
        _ => {
            measure();
            ExitCode::SUCCESS
        }
    }
}

/// Takes so many turns of one loop, and nothing else.
fn count(name: &str, turns: &str) -> ExitCode {
    let found = LOOPS.iter().find(|(known, _)| *known == name);
    let (Some((_, set_up)), Ok(turns)) = (found, turns.parse::<u32>()) else {
        eprintln!("usage: inner_loops count LOOP TURNS; `inner_loops list` shows the loops");
        return ExitCode::FAILURE;
    };
    let mut turn = set_up();
    for _ in 0..turns {
        turn();
    }
    ExitCode::SUCCESS
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, set_up) in LOOPS {
        let mut turn = set_up();
        criterion.bench_function(name, |bencher| bencher.iter(&mut turn));
    }
    criterion.final_summary();
}
