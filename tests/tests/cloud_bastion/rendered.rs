//! Everything that is rendered, read by the programs that it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ichor_cloud::api::Body;
use ichor_cloud::bastion;
use ichor_cloud::config::Config;
use ichor_lab::lab;
use ichor_lab::tools::{Set, Tools};
use serde_json::{Value, json};

use crate::{python, run, said, yaml};

/// A configuration with names that need care wherever they go.
fn awkward() -> Config {
    let mut config = Config::default();
    config
        .mirrors
        .insert("registry.example.org:8443".to_owned(), 5055);
    config.lab = "it's: a \"lab\" # 1".to_owned();
    config
}

#[test]
fn cloud_init_takes_the_user_data() -> Result<()> {
    let tools = Tools::with(&[Set::Bastion])?;
    let folder = lab::folder("cloud-user-data")?;
    let path = folder.join("user-data");
    let schema = |text: &str| {
        fs::write(&path, text)?;
        let mut cloud_init = tools.command("cloud-init")?;
        run(cloud_init.args(["schema", "--config-file"]).arg(&path))
    };
    let text = bastion::user_data(&awkward(), "ichor-home-123456789012")?;
    let output = schema(&text)?;
    ensure!(output.status.success(), "{}", said(&output));

    // What is in it arrives as it was, script included.
    let read = yaml(&tools, &path)?;
    let keys: Vec<&String> = read.as_object().context("no mapping")?.keys().collect();
    assert_eq!(keys, ["runcmd", "write_files"]);
    let files = read["write_files"].as_array().context("no files")?;
    let content = |path: &str| {
        let file = files.iter().find(|file| file["path"] == path);
        file.and_then(|file| file["content"].as_str())
    };
    assert_eq!(
        content("/usr/local/sbin/ichor-bastion"),
        Some(bastion::SETUP)
    );
    let docker = content("/etc/docker/daemon.json").context("no daemon.json")?;
    let docker: Value = serde_json::from_str(docker)?;
    // The kernel must not route, or it would act on what is for the stack.
    for (key, value) in [
        ("ip-forward", json!(false)),
        ("iptables", json!(false)),
        ("bridge", json!("none")),
    ] {
        assert_eq!(docker[key], value, "{key}");
    }

    // cloud-init sees what is wrong.
    let wrong = text.replace("runcmd:\n", "runcmd: 1\nother:\n");
    assert!(!schema(&wrong)?.status.success());
    Ok(())
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() -> Result<()> {
    let tools = Tools::with(&[Set::Bastion])?;
    let root = lab::folder("cloud-units")?;
    let write = |path: &str, content: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("a file in no folder")?)?;
        fs::write(&path, content)?;
        let mode = if content.starts_with("#!") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        anyhow::Ok(())
    };
    let config = awkward();
    let mut units = bastion::units(&config)?;
    // The one that is in the user data.
    let path = root.join("user-data");
    fs::write(&path, bastion::user_data(&config, "bucket")?)?;
    let read = yaml(&tools, &path)?;
    let files = read["write_files"].as_array().context("no files")?;
    for file in files {
        let path = file["path"].as_str().unwrap_or_default();
        if let Some(name) = path.strip_prefix("/etc/systemd/system/") {
            let text = file["content"].as_str().unwrap_or_default();
            units.insert(name.to_owned(), text.to_owned());
        }
    }
    assert!(units.contains_key("ichor-bastion.service"));
    for (name, text) in &units {
        write(&format!("etc/systemd/system/{name}"), text)?;
    }
    for target in [
        "basic",
        "multi-user",
        "network-online",
        "shutdown",
        "sysinit",
        "timers",
    ] {
        write(&format!("etc/systemd/system/{target}.target"), "[Unit]\n")?;
    }
    write(
        "etc/systemd/system/docker.service",
        "[Service]\nExecStart=/bin/sh\n",
    )?;
    for program in [
        "bin/sh",
        "usr/bin/docker",
        "usr/bin/kill",
        "usr/local/bin/ichor",
        "usr/local/sbin/ichor-bastion",
        "usr/local/sbin/ichor-make-room",
        "usr/sbin/ip",
    ] {
        write(program, "#!/bin/sh\n")?;
    }
    let names = units.keys().filter(|name| !name.contains(".d/"));
    let verify = || -> Result<Command> {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["verify", "--man=no"]);
        analyze.arg(format!("--root={}", root.display()));
        Ok(analyze)
    };
    let output = run(verify()?.args(names))?;
    // An unknown key is a mere warning to systemd.
    let said_of_good = said(&output);
    assert!(
        output.status.success() && said_of_good.is_empty(),
        "{said_of_good}"
    );

    // The drop-in counts: what is wrong with it shows.
    let drop_in = "etc/systemd/system/ichor.service.d/bastion.conf";
    write(drop_in, "[Service]\nExecStart=\nExecStart=/nowhere/ichor\n")?;
    let output = run(verify()?.arg("ichor.service"))?;
    assert!(
        said(&output).contains("/nowhere/ichor"),
        "{}",
        said(&output)
    );
    Ok(())
}

/// Splits the command of a unit into words, without the code that joined them.
const WORDS: &str = r"
import json, shlex, sys
text = open(sys.argv[1]).read().replace('\\\n', ' ')
start = [line for line in text.splitlines() if line.startswith('ExecStart=')]
assert len(start) == 1, start
words = shlex.split(start[0].partition('=')[2])
print(json.dumps([word.replace('%%', '%').replace('$$', '$') for word in words]))
";

#[test]
fn compose_file_and_units_start_the_same_containers() -> Result<()> {
    let tools = Tools::with(&[Set::Bastion])?;
    let folder = lab::folder("cloud-compose")?;
    let config = awkward();
    let containers = bastion::containers(&config)?;
    let compose = folder.join("compose.yaml");
    fs::write(&compose, bastion::compose(&containers))?;

    // As a compose program understands it.
    let mut program = tools.command("docker-compose")?;
    let output = run(program.arg("-f").arg(&compose).arg("config"))?;
    ensure!(output.status.success(), "{}", said(&output));
    let understood = folder.join("understood.yaml");
    fs::write(&understood, &output.stdout)?;
    let services = yaml(&tools, &understood)?["services"].take();
    let services = services.as_object().context("no services")?;
    assert_eq!(services.len(), config.mirrors.len() + 1);

    let units = bastion::units(&config)?;
    for (name, service) in services {
        let unit = folder.join("unit");
        fs::write(
            &unit,
            units.get(&format!("{name}.service")).context("no unit")?,
        )?;
        let words: Vec<String> = serde_json::from_value(python(&tools, WORDS, &[&unit])?)?;
        assert_eq!(words[..2], ["/usr/bin/docker", "run"]);
        assert_eq!(words.last().map(String::as_str), service["image"].as_str());

        let mut flags: BTreeSet<&str> = words[2..words.len() - 1]
            .iter()
            .map(|word| &**word)
            .collect();
        let mut take =
            |flag: String| assert!(flags.remove(&*flag), "{name} has no {flag}: {words:?}");
        take(format!("--name={name}"));
        assert_eq!(service["container_name"], *name);
        assert_eq!(service["network_mode"], "host");
        take("--network=host".into());
        assert_eq!(service["restart"], "always");
        assert!(units[&format!("{name}.service")].contains("\nRestart=always\n"));
        assert_eq!(service["healthcheck"], json!({"test": ["NONE"]}));
        take("--no-healthcheck".into());
        for (key, value) in service["environment"]
            .as_object()
            .context("no environment")?
        {
            // A compose program prints dollars as it reads them.
            let value = value.as_str().context("no text")?.replace("$$", "$");
            take(format!("--env={key}={value}"));
        }
        for volume in service["volumes"].as_array().context("no volumes")? {
            let volume = volume.as_str().context("no text")?;
            take(format!(
                "--volume={}",
                volume.strip_suffix(":rw").unwrap_or(volume)
            ));
        }
        if service["read_only"] == true {
            take("--read-only".into());
        }
        if service["cap_drop"] == json!(["ALL"]) {
            take("--cap-drop=ALL".into());
        }
        // These say when and how docker itself does it; compose has its own ways.
        take("--rm".into());
        take("--pull=never".into());
        assert!(
            flags.is_empty(),
            "{name}: {flags:?} are not in the compose file"
        );
    }
    Ok(())
}

#[test]
fn shell_scripts_have_nothing_that_shellcheck_knows_of() -> Result<()> {
    let tools = Tools::with(&[Set::Bastion])?;
    let folder = lab::folder("cloud-scripts")?;
    for (name, text) in [("setup", bastion::SETUP), ("make-room", bastion::MAKE_ROOM)] {
        let path = folder.join(name);
        fs::write(&path, text)?;
        let output = run(Command::new("bash").arg("-n").arg(&path))?;
        assert!(output.status.success(), "{}", said(&output));
        let output = run(tools.command("shellcheck")?.arg(&path))?;
        assert!(output.status.success(), "{}", said(&output));
    }
    Ok(())
}

#[test]
fn dnsmasq_reads_what_pihole_gives_it() -> Result<()> {
    let tools = Tools::with(&[Set::Clients])?;
    let folder = lab::folder("cloud-dnsmasq")?;
    let text = object(&objects(&folder, &awkward())?, "pihole/dnsmasq.conf")?;
    let path = folder.join("dnsmasq.conf");
    let test = |text: &str| {
        fs::write(&path, text)?;
        let mut dnsmasq = tools.command("dnsmasq")?;
        run(dnsmasq
            .arg("--test")
            .arg(format!("--conf-file={}", path.display())))
    };
    let output = test(&text)?;
    assert!(output.status.success(), "{}", said(&output));
    assert!(!test(&(text + "no-such-option\n"))?.status.success());
    Ok(())
}

#[test]
fn talos_patch_names_each_mirror() -> Result<()> {
    let tools = Tools::with(&[Set::Bastion])?;
    let folder = lab::folder("cloud-talos")?;
    let path = folder.join("patch.yaml");
    for mirrors in [awkward().mirrors, BTreeMap::new()] {
        let config = Config {
            mirrors,
            ..Config::default()
        };
        fs::write(&path, bastion::talos_patch(&config))?;
        let endpoints = config.mirrors.iter().map(|(registry, port)| {
            let endpoint = format!("http://10.20.13.140:{port}");
            (registry.clone(), json!({ "endpoints": [endpoint] }))
        });
        let mirrors: Value = endpoints.collect::<serde_json::Map<_, _>>().into();
        let expected = json!({ "machine": {
            "time": { "servers": ["169.254.169.123"] },
            "registries": { "mirrors": mirrors },
        } });
        assert_eq!(yaml(&tools, &path)?, expected);
    }
    Ok(())
}

/// The bucket's objects for a lab whose files are in `folder`.
pub(crate) fn objects(
    folder: &Path,
    config: &Config,
) -> Result<BTreeMap<String, ichor_cloud::kinds::Content>> {
    let mut config = config.clone();
    config.bastion.ichor = folder.join("ichor");
    config.bastion.data = folder.join("data");
    fs::create_dir_all(config.bastion.data.join("groups"))?;
    fs::write(config.bastion.data.join("groups/default.json"), "{}")?;
    fs::write(&config.bastion.ichor, program())?;
    Ok(bastion::objects(&config)?)
}

/// The text of a rendered object.
fn object(objects: &BTreeMap<String, ichor_cloud::kinds::Content>, key: &str) -> Result<String> {
    match &objects.get(key).context("no such object")?.body {
        Body::Bytes(bytes) => Ok(String::from_utf8(bytes.clone())?),
        Body::File(path) => Ok(fs::read_to_string(path)?),
    }
}

/// A static arm64 program with nothing in it: one program header, PT_LOAD.
fn program() -> Vec<u8> {
    let mut elf = vec![0; 64 + 56];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[18] = 183;
    elf[32] = 64;
    elf[56] = 1;
    elf[64] = 1;
    elf
}
