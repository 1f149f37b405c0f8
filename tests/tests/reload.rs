//! The data folder is edited while machines boot: what is new takes effect at
//! once, what is broken is refused with the reason, and nobody is disturbed.

mod bench;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bench::wait_for_line;
use ichor_lab::checksum::sha256;
use ichor_lab::clients::Clients;
use ichor_lab::ichor::Ichor;
use ichor_lab::netns;
use ichor_lab::site::Site;

const ROOT: &str = "http://192.0.2.1:8080";
const NODE_1: &str = "52:54:00:00:00:01";
const NODE_2: &str = "52:54:00:00:00:02";
const STRANGER: &str = "52:54:00:00:00:99";

/// What is downloaded meanwhile, in bytes, and how fast. It is far more than
/// the client's kernel buffers, so that the server is busy until the end.
const LENGTH: u32 = 40_000_000;
const RATE: &str = "10M";

/// How soon a change must take effect.
const AT_ONCE: Duration = Duration::from_secs(2);

fn write(site: &Site, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
    let path = site.data().join(file);
    fs::create_dir_all(path.parent().context("a file without a folder")?)?;
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Two machines with a group each, and a default for the rest.
fn site(name: &str) -> Result<Option<Site>> {
    if !netns::possible() {
        return Ok(None);
    }
    let mut site = Site::new(name)?;
    for profile in ["first", "second", "default"] {
        let boot = format!(r#"{{"id":"{profile}","boot":{{"kernel":"/assets/{profile}"}}}}"#);
        write(&site, &format!("profiles/{profile}.json"), boot)?;
    }
    write(&site, "groups/node-1.json", group(NODE_1, "first"))?;
    write(&site, "groups/node-2.json", group(NODE_2, "first"))?;
    write(&site, "groups/default.json", r#"{"profile":"default"}"#)?;
    site.serve("192.0.2.1/24", &[])?;
    Ok(Some(site))
}

fn group(mac: &str, profile: &str) -> String {
    format!("{{\n  \"profile\": \"{profile}\",\n  \"selector\": {{\"mac\": \"{mac}\"}}\n}}\n")
}

/// What a machine is told.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    /// To boot this kernel.
    Boot(String),
    /// That it gets nothing, and why.
    Refused(String),
}

fn boot(kernel: &str) -> Told {
    Told::Boot(kernel.to_owned())
}

fn ask(clients: &Clients<'_>, mac: &str) -> Result<Told> {
    let answer = clients.curl(&format!("{ROOT}/ipxe?mac={mac}"), &[])?;
    let body = String::from_utf8(answer.body)?;
    Ok(match answer.status {
        200 => {
            let kernel = body.split("/assets/").nth(1).context("no kernel")?;
            boot(kernel.lines().next().unwrap_or_default().trim())
        }
        404 => Told::Refused(body),
        status => anyhow::bail!("{mac}: {status}: {body}"),
    })
}

/// Asks until `mac` is answered as `wanted` says, which must be at once. Until
/// then it may only get what it got `before`.
fn wait_for(
    clients: &Clients<'_>,
    mac: &str,
    before: &Told,
    wanted: impl Fn(&Told) -> bool,
) -> Result<Told> {
    let started = Instant::now();
    loop {
        let got = ask(clients, mac)?;
        if wanted(&got) {
            println!("{mac}: {got:?} after {:?}", started.elapsed());
            return Ok(got);
        }
        assert_eq!(&got, before, "neither old nor new");
        ensure!(
            started.elapsed() < AT_ONCE,
            "{mac} still gets {got:?} after {AT_ONCE:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// What `ichor explain` says of a machine, and what it complains of.
fn explain(site: &Site, mac: &str) -> Result<(String, String)> {
    let output = Command::new(Ichor::program()?)
        .args(["explain", "--mac", mac, "--data"])
        .arg(site.data())
        .output()?;
    let complaints = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{}: {complaints}", output.status);
    Ok((String::from_utf8(output.stdout)?, complaints))
}

#[test]
fn a_change_takes_effect_while_a_download_goes_on() -> Result<()> {
    let Some(mut site) = site("reload-change")? else {
        return Ok(());
    };
    let image: Vec<u8> = (0..LENGTH).map(|n| ((n * 31) >> 3) as u8).collect();
    write(&site, "assets/image", &image)?;
    let folder = site.folder().join("slow");
    let slow = Clients::new(site.client_side(), &folder)?;
    let clients = site.clients()?;
    assert_eq!(ask(&clients, NODE_1)?, boot("first"));

    thread::scope(|scope| {
        let download = scope.spawn(|| {
            let more = ["--limit-rate", RATE, "--fail"];
            slow.curl(&format!("{ROOT}/assets/image"), &more)
        });
        thread::sleep(Duration::from_millis(300));
        // Several edits, each of a kind that editors and scripts make.
        let mut before = boot("first");
        for (n, profile) in ["second", "default", "first", "second"].iter().enumerate() {
            let file = "groups/node-1.json";
            if n % 2 == 0 {
                write(&site, file, group(NODE_1, profile))?;
            } else {
                write(&site, "groups/.node-1.swp", group(NODE_1, profile))?;
                let data = site.data();
                fs::rename(data.join("groups/.node-1.swp"), data.join(file))?;
            }
            let wanted = boot(profile);
            before = wait_for(&clients, NODE_1, &before, |got| *got == wanted)?;
            assert_eq!(ask(&clients, NODE_2)?, boot("first"));
        }
        assert!(!download.is_finished(), "the download went on all the time");
        let got = match download.join() {
            Ok(got) => got?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        assert_eq!((got.status, got.body.len()), (200, image.len()));
        assert_eq!(sha256(&got.body[..])?, sha256(&image[..])?);
        anyhow::Ok(())
    })?;
    let (told, complaints) = explain(&site, NODE_1)?;
    assert!(told.contains("group:   groups/node-1.json"), "{told}");
    assert!(told.contains("kernel:  /assets/second"), "{told}");
    assert_eq!(complaints, "");

    // One transfer, whole, in the timeline.
    let events = site.ichor()?.events();
    let told = events.iter().filter(|e| e.detail.contains("assets/image"));
    assert_eq!(told.count(), 1, "{events:?}");
    assert!(
        events.iter().all(|event| event.stage != "failed"),
        "{events:?}"
    );
    Ok(())
}

#[test]
fn a_broken_group_is_named_and_its_machine_never_gets_the_default() -> Result<()> {
    let Some(mut site) = site("reload-broken")? else {
        return Ok(());
    };
    let good = group(NODE_1, "first");
    // What was forgotten, where it shows, and in which words.
    let table = [
        ("\"first\",", "\"first\"", 3, "expected ',' or '}'"),
        ("}\n}", "}\n", 5, "the file ends"),
        ("\"selector\"", "selector", 3, "expected"),
        (NODE_1, "52:54:00:00:00:1", 3, "no MAC address"),
        ("\"first\"", "\"frist\"", 0, "frist"),
    ];
    for (n, (right, wrong, line, why)) in table.into_iter().enumerate() {
        let before = ask(&site.clients()?, NODE_1)?;
        assert_eq!(before, boot("first"));
        let seen = site.ichor()?.log().lines().len();
        write(&site, "groups/node-1.json", good.replace(right, wrong))?;
        let clients = site.clients()?;

        // Its own machine is refused, and told why where few bytes are shown:
        // Talos prints 32 of them on the console.
        let refused = wait_for(&clients, NODE_1, &before, |told| *told != before)?;
        let Told::Refused(refusal) = &refused else {
            anyhow::bail!("case {n}: {refused:?}");
        };
        println!("case {n}: {refusal}");
        let place = match line {
            0 => "groups/node-1.json".to_owned(),
            line => format!("groups/node-1.json:{line}"),
        };
        let first = refusal.get(..32).unwrap_or(refusal);
        assert!(first.contains(&place) || line == 0, "case {n}: {first}");
        assert!(refusal.contains(&place), "case {n}: {refusal}");
        assert!(refusal.contains(why), "case {n}: {refusal}");

        // The log has it, too, once and as an error.
        let ichor = site.ichor()?;
        let logged = ichor.log().lines_from(seen);
        let logged: Vec<&str> = logged.iter().map(|line| line.text.as_str()).collect();
        let errors = logged.iter().filter(|line| line.starts_with("error: "));
        let errors: Vec<_> = errors.collect();
        assert_eq!(errors.len(), 1, "case {n}: {logged:?}");
        assert!(
            errors[0].contains(&place) && errors[0].contains(why),
            "{errors:?}"
        );

        // `explain` agrees with the server.
        let (told, complaints) = explain(&site, NODE_1)?;
        assert!(
            told.contains("refused: ") && told.contains(&place),
            "{told}"
        );
        assert!(complaints.contains(why), "{complaints}");

        // The machine of another group is served as ever.
        let clients = site.clients()?;
        assert_eq!(ask(&clients, NODE_2)?, boot("first"));
        let stranger = ask(&clients, STRANGER)?;
        match stranger {
            Told::Boot(kernel) => assert_eq!(kernel, "default", "case {n}"),
            // Where nobody can tell whom the file is for.
            Told::Refused(refusal) => assert!(refusal.contains(&place), "case {n}: {refusal}"),
        }

        write(&site, "groups/node-1.json", &good)?;
        wait_for(&clients, NODE_1, &refused, |got| *got == boot("first"))?;
        assert_eq!(ask(&clients, STRANGER)?, boot("default"));
    }
    let (told, complaints) = explain(&site, NODE_1)?;
    assert!(told.contains("group:   groups/node-1.json"), "{told}");
    assert_eq!(complaints, "");
    Ok(())
}

#[test]
fn a_signal_has_the_folder_read_where_the_file_system_tells_nothing() -> Result<()> {
    let Some(mut site) = site("reload-signal")? else {
        return Ok(());
    };
    let ichor = site.ichor()?;
    wait_for_line(ichor, "catalog: 3 groups")?;
    let seen = ichor.log().lines().len();
    ichor.signal(rustix::process::Signal::HUP)?;
    let read_again = ichor.log().find(seen, AT_ONCE, |line| {
        line.text.starts_with("catalog: 3 groups").then_some(())
    });
    assert!(read_again.is_some(), "{}", ichor.log().tail(5));
    assert!(ichor.is_running());
    Ok(())
}
