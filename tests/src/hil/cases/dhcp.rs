//! The DHCP clients that people use get addresses, and get the same again.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};

use super::{Outcome, Run};
use crate::clients::Lease;
use crate::hil::bench::Facts;
use crate::hil::dhcp::{Bound, prefix_len};
use crate::hil::report::Found;
use crate::hil::station::{MACS, Mac};

/// Names of what a client got, which each client has its own of.
struct Names {
    address: &'static str,
    mask: &'static str,
    server: &'static str,
    router: &'static str,
    seconds: &'static str,
}

const UDHCPC: Names = Names {
    address: "ip",
    mask: "subnet",
    server: "serverid",
    router: "router",
    seconds: "lease",
};

const DHCLIENT: Names = Names {
    address: "new_ip_address",
    mask: "new_subnet_mask",
    server: "new_dhcp_server_identifier",
    router: "new_routers",
    seconds: "new_dhcp_lease_time",
};

/// busybox' client: a lease, the same one again, and again after it was given back.
pub(super) fn udhcpc(run: &mut Run<'_>) -> Result<Outcome> {
    let mac = MACS.client();
    run.station.become_client(mac)?;
    let first = by_udhcpc(run, mac)?;
    let again = by_udhcpc(run, mac)?;
    ensure!(
        again.address == first.address,
        "{} at first, and {} when it asked again",
        first.address,
        again.address
    );
    run.station.release(&first)?;
    let last = by_udhcpc(run, mac)?;
    ensure!(
        last.address == first.address,
        "{} at first, and {} after it was given back",
        first.address,
        last.address
    );
    run.settle(last)?;
    let (address, prefix, server) = (last.address, last.prefix, last.server);
    Ok(Outcome::Passed(Found::new(format!(
        "{address}/{prefix} by {server}; the same when asked again and after a release"
    ))))
}

/// ISC's client, as another machine.
pub(super) fn dhclient(run: &mut Run<'_>) -> Result<Outcome> {
    let mac = MACS.second();
    run.station.become_client(mac)?;
    let mut get = || -> Result<Bound> {
        run.station.forget_address()?;
        let lease = run.station.clients()?.dhclient()?;
        let bound = read(&lease, &DHCLIENT, mac, run.bench.facts(), run.server)?;
        run.station.hold(bound);
        Ok(bound)
    };
    let (first, again) = (get()?, get()?);
    ensure!(
        again.address == first.address,
        "{} at first, and {} when it asked again",
        first.address,
        again.address
    );
    if let Some(other) = run.lease {
        ensure!(
            other.address != first.address,
            "{} was given to two clients, {} and {mac}",
            first.address,
            other.mac
        );
    }
    run.station.release(&again)?;
    let (address, prefix, server) = (again.address, again.prefix, again.server);
    Ok(Outcome::Passed(Found::new(format!(
        "{address}/{prefix} by {server}; the same when asked again"
    ))))
}

/// One lease by busybox' client, read and checked.
pub(super) fn by_udhcpc(run: &mut Run<'_>, mac: Mac) -> Result<Bound> {
    run.station.forget_address()?;
    let lease = run.station.clients()?.udhcpc(&[])?;
    let bound = read(&lease, &UDHCPC, mac, run.bench.facts(), run.server)?;
    run.station.hold(bound);
    Ok(bound)
}

/// Reads a client's lease and checks every option that it must have.
fn read(
    lease: &Lease,
    names: &Names,
    mac: Mac,
    facts: &Facts,
    server: Option<Ipv4Addr>,
) -> Result<Bound> {
    let address = |name: &str| -> Result<Ipv4Addr> {
        let text = lease.get(name);
        text.parse()
            .with_context(|| format!("the client tells `{name}={text}`, expected an address"))
    };
    let bound = Bound {
        mac,
        address: address(names.address)?,
        prefix: prefix_len(address(names.mask)?)?,
        server: address(names.server)?,
    };
    if let Some(board) = server {
        ensure!(
            bound.server == board,
            "the lease is of {} and not of the board, {board}: two DHCP servers on this LAN",
            bound.server
        );
    }
    check(&bound, facts)?;
    let seconds = lease.get(names.seconds);
    ensure!(
        seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0),
        "a lease of {seconds:?} seconds (option 51)"
    );
    if let Some(router) = facts.router {
        let told = lease.get(names.router);
        ensure!(
            told == router.to_string(),
            "router {told:?} (option 3), expected {router}"
        );
    }
    Ok(bound)
}

/// The address is one that the board may hand out.
fn check(bound: &Bound, facts: &Facts) -> Result<()> {
    let Bound {
        address,
        prefix,
        server,
        ..
    } = *bound;
    match facts.pool {
        Some((first, last)) => ensure!(
            (first..=last).contains(&address),
            "{address} is not of the pool {first}-{last}"
        ),
        None => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            ensure!(
                address != server && (address.to_bits() ^ server.to_bits()) & mask == 0,
                "{address}/{prefix} is not an address beside the board's, {server}"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_the_pool_or_beside_the_board() {
        let pool = Some(([192, 0, 2, 10].into(), [192, 0, 2, 20].into()));
        for (address, prefix, pool, good) in [
            ([192, 0, 2, 10], 24, pool, true),
            ([192, 0, 2, 21], 24, pool, false),
            ([192, 0, 2, 21], 24, None, true),
            ([192, 0, 2, 1], 24, None, false),
            ([192, 0, 3, 21], 24, None, false),
            ([192, 0, 3, 21], 16, None, true),
            ([198, 51, 100, 9], 0, None, true),
        ] {
            let bound = Bound {
                mac: MACS.client(),
                address: address.into(),
                prefix,
                server: [192, 0, 2, 1].into(),
            };
            let facts = Facts {
                name: String::new(),
                address: None,
                pool,
                router: None,
                http_port: 80,
                banner: "",
            };
            let told = format!("{address:?}/{prefix}");
            assert_eq!(check(&bound, &facts).is_ok(), good, "{told}");
        }
    }
}
