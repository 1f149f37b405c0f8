//! 2,000 whole DHCP exchanges per second for ten seconds, and not one is lost.

use anyhow::{Result, bail};
use ichor_lab::netns;
use ichor_lab::site::Site;

/// A server that cannot keep up loses some every time. A machine that stands
/// still for a moment, for other work on it, loses some once: the answers that
/// were held up come at one stroke, and overflow perfdhcp's receive buffer.
const TRIES: usize = 3;

#[test]
fn two_thousand_exchanges_per_second() -> Result<()> {
    if !netns::possible() {
        return Ok(());
    }
    let mut lost = Vec::new();
    for _ in 0..TRIES {
        let mut site = Site::new("perfdhcp")?;
        site.serve("192.0.2.1/24", &[])?;
        let load = site.clients()?.perfdhcp("192.0.2.1", 2_000, 10, 200)?;
        println!("{load:?}");
        assert!(site.ichor()?.is_running());
        let was_there = load.discovers >= 19_000;
        if was_there && load.offers == load.discovers && load.acks == load.requests {
            return Ok(());
        }
        lost.push(load);
    }
    bail!("each time some were lost, or the load was not there: {lost:#?}")
}
