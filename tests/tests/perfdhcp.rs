//! 2,000 whole DHCP exchanges per second for ten seconds, and not one is lost.

use anyhow::Result;
use ichor_lab::netns;
use ichor_lab::site::Site;

#[test]
fn two_thousand_exchanges_per_second() -> Result<()> {
    if !netns::possible() {
        return Ok(());
    }
    let mut site = Site::new("perfdhcp")?;
    site.serve("192.0.2.1/24", &[])?;
    let load = site.clients()?.perfdhcp("192.0.2.1", 2_000, 10, 200)?;
    println!("{load:?}");
    assert!(load.discovers >= 19_000, "the load was not there: {load:?}");
    assert_eq!(load.offers, load.discovers, "{load:?}");
    assert_eq!(load.acks, load.requests, "{load:?}");
    assert!(site.ichor()?.is_running());
    Ok(())
}
