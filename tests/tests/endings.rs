//! How `ichor serve` ends: every exit code with a message that says what to
//! do, and what a service manager hears.

mod bench;
mod raw;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bench::{Bench, SOON, end_of, wait_for_line};
use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use ichor_lab::ichor::{Ichor, Settings};
use ichor_lab::switch::Port;
use raw::{ask, dhcp, dhcp_frame, kind, read_dhcp, reboot, select};
use rustix::process::Signal;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const CLIENT: [u8; 6] = [0x02, 0, 0, 0, 6, 1];

#[test]
fn a_wrong_flag_or_setting_is_2_and_says_which() -> Result<()> {
    let bench = Bench::new("endings-flags")?;
    let data = bench.data().display().to_string();
    // An interface that is not there: were the setting right, the code were 4.
    let nic = ["--nic", "packet:absent0"];
    let address = ["--address", "192.0.2.1/24"];
    let pool = ["--dhcp", "server", "--pool"];
    let table: [(&[&str], &str); 12] = [
        (&["--adress", "192.0.2.1/24"], "'--address'"),
        (&[], "nic: say where frames come from"),
        (&["--nic", "absent0"], "expected packet:IFACE"),
        (&nic, "address: "),
        (
            &[nic, ["--address", "192.0.2.1"]].concat(),
            "ADDRESS/PREFIX",
        ),
        (
            &[nic, ["--address", "192.0.2.0/24"]].concat(),
            "is no host's address",
        ),
        (
            &[&nic[..], &address, &["--gateway", "10.0.0.1"]].concat(),
            "gateway",
        ),
        (
            &[&nic[..], &address, &["--dhcp", "on"]].concat(),
            "expected server, proxy or off",
        ),
        (
            &[&nic[..], &address, &["--dhcp", "server"]].concat(),
            "set a pool",
        ),
        (
            &[&nic[..], &address, &pool, &["192.0.2.9-192.0.2.5"]].concat(),
            "the lower address comes first",
        ),
        (
            &[&nic[..], &address, &pool, &["192.0.3.5-192.0.3.9"]].concat(),
            "pool: ",
        ),
        (
            &[&nic[..], &address, &["--http-port", "80,80"]].concat(),
            "listed twice",
        ),
    ];
    for (flags, says) in table {
        let (code, said) = bench.run(&[&["serve", "--data", &data], flags].concat())?;
        println!("{flags:?}\n  {said}");
        assert_eq!(code, 2, "{flags:?}: {said}");
        assert!(said.contains(says), "{flags:?}: {said}");
    }

    let file = bench.folder().join("a-file");
    fs::write(&file, "")?;
    for folder in ["/absent/folder", &file.display().to_string()] {
        let (code, said) = bench.run(&["serve", "--data", folder])?;
        assert_eq!(code, 2, "{said}");
        assert!(
            said.contains(folder) && said.contains("--data names"),
            "{said}"
        );
    }
    Ok(())
}

#[test]
fn a_wrong_line_of_the_file_is_2_and_named() -> Result<()> {
    let bench = Bench::new("endings-file")?;
    let file = bench.data().join("ichor.toml");
    let data = bench.data().display().to_string();
    let table = [
        (
            "gatway = \"192.0.2.254\"",
            "unknown key \"gatway\": did you mean \"gateway\"?",
        ),
        ("frobnicate = 1", "unknown key \"frobnicate\""),
        ("lease = 12h", "lease: string values must be quoted"),
        (
            "dhcp = \"sever\"",
            "dhcp: expected server, proxy or off, found \"sever\"",
        ),
        ("address = \"192.0.2.2/24\"", "address: "),
        (
            "[reservation]\nmac = \"02:00:00:00:00:01\"",
            "[[reservation]]",
        ),
        (
            "[boot]\narm64-uefi = \"x.efi\"",
            "a kind of client like arm64-efi",
        ),
    ];
    for (line, says) in table {
        fs::write(
            &file,
            format!("# A comment.\naddress = \"192.0.2.1/24\"\n{line}\n"),
        )?;
        let (code, said) = bench.run(&["serve", "--data", &data, "--nic", "packet:absent0"])?;
        println!("{said}");
        assert_eq!(code, 2, "{line}: {said}");
        let line_number = 2 + line.lines().count();
        let place = format!("{}:{line_number}: ", file.display());
        assert!(said.contains(&place), "{place} {said}");
        assert!(said.contains(says), "{line}: {said}");
    }
    Ok(())
}

#[test]
#[cfg(target_os = "linux")]
fn without_permission_it_is_3() -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::process::CommandExt as _;

    // Any interface that speaks Ethernet (ARPHRD_ETHER); none is touched.
    let interfaces = fs::read_dir("/sys/class/net")?.flatten();
    let mut ethernet = interfaces.filter(|interface| {
        let kind = fs::read_to_string(interface.path().join("type"));
        kind.is_ok_and(|kind| kind.trim() == "1")
    });
    let Some(interface) = ethernet.next() else {
        eprintln!("needs an Ethernet interface; skipped");
        return Ok(());
    };
    let name = interface.file_name().to_string_lossy().into_owned();

    let bench = Bench::new("endings-permission")?;
    let mut command = Command::new(Ichor::program()?);
    command.args(["serve", "--address", "192.0.2.1/24", "--data", "/"]);
    command.args(["--nic", &format!("packet:{name}")]);
    if fs::metadata("/proc/self")?.uid() == 0 {
        const NOBODY: u32 = 65534;
        command.uid(NOBODY).gid(NOBODY);
    }
    let (code, said) = bench.run_command(command)?;
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("CAP_NET_RAW") && said.contains("run as root"),
        "{said}"
    );
    Ok(())
}

#[test]
#[cfg(target_os = "linux")]
fn a_missing_interface_is_4_with_those_that_exist() -> Result<()> {
    let bench = Bench::new("endings-interface")?;
    let data = bench.data().display().to_string();
    let flags = ["--nic", "packet:absent0", "--address", "192.0.2.1/24"];
    let (code, said) = bench.run(&[&["serve", "--data", &data], &flags[..]].concat())?;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("there is no interface absent0"), "{said}");
    for interface in fs::read_dir("/sys/class/net")?.flatten() {
        let name = interface.file_name().to_string_lossy().into_owned();
        // Not a choice: it does not speak Ethernet.
        if name != "lo" && interface.path().is_dir() {
            assert!(said.contains(&name), "{name}: {said}");
        }
    }
    Ok(())
}

#[test]
fn an_address_that_is_taken_is_5_with_its_owner() -> Result<()> {
    let mut bench = Bench::new("endings-address")?;
    let first = bench.settings("first", SERVER)?;
    let mut first = bench.serve("first", &first)?;
    // serving on 192.0.2.1 (02:…): …
    let serving = wait_for_line(&first, "serving on")?;
    let mac = serving.split(['(', ')']).nth(1).context("no address")?;

    let second = bench.settings("second", SERVER)?;
    let (code, said) = end_of(&mut bench.start("second", &second)?)?;
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains(&format!("{SERVER} is used by {mac}")),
        "{said}"
    );
    assert!(said.contains("--address"), "{said}");
    assert!(first.is_running());
    Ok(())
}

#[test]
fn a_state_folder_in_use_or_unusable_is_6() -> Result<()> {
    let mut bench = Bench::new("endings-state")?;
    let first = bench.settings("first", SERVER)?;
    let mut running = bench.serve("first", &first)?;
    let second = Settings {
        state: first.state.clone(),
        ..bench.settings("second", OTHER)?
    };
    let (code, said) = end_of(&mut bench.start("second", &second)?)?;
    assert_eq!(code, 6, "{said}");
    let folder = first.state.display().to_string();
    assert!(
        said.contains(&folder) && said.contains("another ichor"),
        "{said}"
    );
    assert!(running.is_running());

    let file = bench.folder().join("a-file");
    fs::write(&file, "")?;
    let (nic, data) = (bench.socket("third"), bench.data().display().to_string());
    let nic = format!("wire:{}", nic.display());
    let state = file.join("below").display().to_string();
    let flags = [
        "--address",
        "192.0.2.1/24",
        "--nic",
        &nic,
        "--state",
        &state,
    ];
    let (code, said) = bench.run(&[&["serve", "--data", &data], &flags[..]].concat())?;
    assert_eq!(code, 6, "{said}");
    assert!(said.contains(&state) && said.contains("--state"), "{said}");
    Ok(())
}

#[test]
fn a_signal_ends_it_well_and_leases_are_kept() -> Result<()> {
    let mut bench = Bench::new("endings-signal")?;
    let settings = Settings {
        dhcp: "server".to_owned(),
        pool: Some("192.0.2.50-192.0.2.99".to_owned()),
        more: vec!["--probe-ms".to_owned(), "0".to_owned()],
        ..bench.settings("ichor", SERVER)?
    };
    let port = bench.switch.port("client");
    let mut address = None;
    for (n, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let mut ichor = bench.serve("ichor", &settings)?;
        let promised = match address {
            None => raw::lease(&port, CLIENT, 1)?,
            Some(promised) => promised,
        };
        let xid = 2 + n as u32;
        let ack = ask(
            &port,
            CLIENT,
            &reboot(CLIENT, xid, promised),
            MessageType::Ack,
        )?;
        assert_eq!(ack.yiaddr(), promised, "the lease survived");
        address = Some(promised);

        let asked = Instant::now();
        ichor.signal(signal)?;
        let (code, said) = end_of(&mut ichor)?;
        assert_eq!(code, 0, "{signal:?}: {said}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{signal:?}");
        assert!(said.ends_with("told to stop: ending"), "{said}");
    }
    Ok(())
}

/// The OFFER of one certain server.
fn offer_of(port: &Port, server: Ipv4Addr, xid: u32) -> Result<Message> {
    let want = DhcpOption::ServerIdentifier(server);
    let discover = dhcp_frame(CLIENT, &dhcp(CLIENT, xid, MessageType::Discover))?;
    for _ in 0..5 {
        port.send(&discover);
        let offer = port.find(SOON / 5, |frame| {
            read_dhcp(frame).filter(|offer| {
                kind(offer) == Some(MessageType::Offer)
                    && offer.xid() == xid
                    && offer.opts().get(OptionCode::ServerIdentifier) == Some(&want)
            })
        });
        if let Some(offer) = offer {
            return Ok(offer);
        }
    }
    anyhow::bail!("no OFFER from {server}")
}

#[test]
fn another_dhcp_server_is_named_and_no_reason_to_end() -> Result<()> {
    let mut bench = Bench::new("endings-other")?;
    let mut server = |name, address, pool: &str| -> Result<Settings> {
        Ok(Settings {
            dhcp: "server".to_owned(),
            pool: Some(pool.to_owned()),
            more: vec!["--probe-ms".to_owned(), "0".to_owned()],
            ..bench.settings(name, address)?
        })
    };
    let first = server("first", SERVER, "192.0.2.50-192.0.2.99")?;
    let second = server("second", OTHER, "192.0.2.100-192.0.2.149")?;
    let mut first = bench.serve("first", &first)?;
    let mut second = bench.serve("second", &second)?;
    let port = bench.switch.port("client");

    // The newcomer asks as it starts and hears the one that was there first.
    let warning = wait_for_line(&second, "another DHCP server")?;
    assert!(warning.starts_with("warning: "), "{warning}");
    assert!(warning.contains(&format!(": {SERVER};")), "{warning}");
    // That one learns of it when a client prefers the newcomer.
    let offer = offer_of(&port, OTHER, 1)?;
    let ack = ask(&port, CLIENT, &select(CLIENT, &offer)?, MessageType::Ack)?;
    assert_eq!(ack.yiaddr(), offer.yiaddr());
    let warning = wait_for_line(&first, "another DHCP server")?;
    assert!(warning.contains(&format!(": {OTHER};")), "{warning}");

    // Both go on, and the log does not fill.
    for xid in 10..20 {
        offer_of(&port, SERVER, xid)?;
        offer_of(&port, OTHER, 100 + xid)?;
    }
    for ichor in [&mut first, &mut second] {
        assert!(ichor.is_running());
        let lines = ichor.log().lines();
        let warnings = lines
            .iter()
            .filter(|line| line.text.contains("another DHCP"));
        assert_eq!(warnings.count(), 1, "{}", ichor.log().tail(20));
    }
    Ok(())
}

#[test]
fn a_service_manager_hears_of_start_life_and_end() -> Result<()> {
    let mut bench = Bench::new("endings-notify")?;
    let settings = bench.settings("ichor", SERVER)?;
    let path = bench.socket("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(SOON))?;
    // As systemd's own: whoever ichor has become may write.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    let mut command = Command::new(Ichor::program()?);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "600000");
    let mut ichor = bench.start_as(command, "ichor", &settings)?;

    let mut heard = Vec::new();
    let mut wait_for = |want: &str| -> Result<()> {
        for _ in 0..20 {
            let mut buffer = [0; 300];
            let n = manager.recv(&mut buffer)?;
            heard.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
            if heard.last().is_some_and(|last| last == want) {
                return Ok(());
            }
        }
        anyhow::bail!("no {want} in {heard:?}")
    };
    wait_for("READY=1")?;
    let ready = Instant::now();
    for _ in 0..4 {
        wait_for("WATCHDOG=1")?;
    }
    // Four in less than four times the time that is granted: never late.
    let took = ready.elapsed();
    ensure!(
        took < Duration::from_millis(2400),
        "four signs of life in {took:?}"
    );
    ichor.signal(Signal::TERM)?;
    wait_for("STOPPING=1")?;
    let (code, said) = end_of(&mut ichor)?;
    assert_eq!(code, 0, "{said}");
    let status = heard.iter().find_map(|line| line.strip_prefix("STATUS="));
    let status = status.context("no status line for `systemctl status`")?;
    assert!(status.starts_with("serving on 192.0.2.1 ("), "{status}");
    Ok(())
}
