//! 2,000 whole DHCP exchanges per second for ten seconds, and the server loses none.

use anyhow::Result;
use ichor_lab::netns;
use ichor_lab::priority;
use ichor_lab::site::Site;

#[test]
fn two_thousand_exchanges_per_second() -> Result<()> {
    if !netns::possible() {
        return Ok(());
    }
    let mut site = Site::new("perfdhcp")?;
    site.serve("192.0.2.1/24", &[])?;
    priority::first(site.ichor()?.pid())?;
    let load = site.clients()?.perfdhcp("192.0.2.1", 2_000, 10, 200)?;
    println!("{load:?}");
    assert!(site.ichor()?.is_running());
    assert!(load.discovers >= 19_000, "the load was not there: {load:?}");
    // perfdhcp's buffer holds about 250 answers, 60 ms of them. Where a busy
    // machine keeps it from reading for longer, the kernel throws away what
    // the server sent, and counts it. Not one may be missing beyond that.
    assert_eq!(load.lost(), 0, "the server did not answer all: {load:?}");
    assert!(
        load.acks * 2 > load.discovers,
        "too little came as far as perfdhcp to tell: {load:?}"
    );
    Ok(())
}
