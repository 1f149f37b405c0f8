//! The setup script, run by bash in a folder that stands for the bastion's root, with stubs for
//! what an instance has and a test has not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use ichor_cloud::api::Body;
use ichor_cloud::bastion;
use ichor_cloud::config::Config;
use ichor_lab::lab;

use crate::rendered::objects;
use crate::{run, said};

/// What each program does in the place of the real one. `$ROOT` is the bastion's root, `$BUCKET`
/// the folder that stands for the bucket; all that is called is in `$ROOT/calls`.
const STUBS: [(&str, &str); 9] = [
    (
        "curl",
        r#"case "$*" in
  *api/token) echo token ;;
  *macs/) printf '0a:00:00:00:00:01/\n0a:00:00:00:00:02/\n' ;;
  *:01/local-ipv4s) echo 10.20.1.7 ;;
  *:02/local-ipv4s) cat "$ROOT/addresses" ;;
  *) exit 22 ;;
esac"#,
    ),
    ("rpm", r#"[ -e "$ROOT/installed" ]"#),
    ("dnf", r#"touch "$ROOT/installed""#),
    (
        "aws",
        r#"[ -d "$STORE" ] || exit 1
rm -rf "$ROOT/srv/ichor" && cp -a "$STORE" "$ROOT/srv/ichor""#,
    ),
    (
        "docker",
        r#"case "$1 $2" in
  "load --quiet") echo docker.io/library/registry >>"$ROOT/loaded" ;;
  "image inspect") grep -q "${3%%:*}" "$ROOT/loaded" "$ROOT/pulled" 2>/dev/null ;;
  "pull --quiet") [ -e "$ROOT/internet" ] && echo "$3" >>"$ROOT/pulled" ;;
esac"#,
    ),
    ("networkctl", ""),
    ("df", r#"printf 'Avail\n'; cat "$ROOT/free""#),
    (
        "systemctl",
        r#"case "$1" in
  start) shift && for unit; do touch "$ROOT/run/$unit"; done ;;
  stop) rm "$ROOT/run/$2" ;;
  --quiet) [ -e "$ROOT/run/$3" ] ;;
esac"#,
    ),
    ("sleep", ""),
];

/// The bastion's root, and the bucket.
struct Stage {
    root: PathBuf,
    store: PathBuf,
    config: Config,
}

impl Stage {
    fn new(name: &str) -> Result<Self> {
        let folder = lab::folder(name)?;
        let (root, store) = (folder.join("root"), folder.join("bucket"));
        for place in ["etc", "run", "dev", "srv", "var/lib", "usr/local", "stubs"] {
            fs::create_dir_all(root.join(place))?;
        }
        for (device, mac) in [("ens5", "02"), ("ens6", "01"), ("lo", "00")] {
            let device = root.join("sys/class/net").join(device);
            fs::create_dir_all(&device)?;
            fs::write(device.join("address"), format!("0a:00:00:00:00:{mac}\n"))?;
        }
        for (name, text) in STUBS {
            let path = root.join("stubs").join(name);
            let text = format!("#!/bin/sh\necho {name} \"$@\" >>\"$ROOT/calls\"\n{text}\n");
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(root.join("addresses"), "10.20.13.140\n10.20.13.141\n")?;
        fs::write(root.join("internet"), "")?;
        fs::write(
            root.join("etc/ichor-bastion.conf"),
            "BUCKET=b\nAWS_DEFAULT_REGION=eu-west-1\nADDRESS=10.20.13.140\nSTACK_ADDRESS=10.20.13.141\n",
        )?;
        // One image in the bundle.
        let bundle = folder.join("bundle");
        fs::create_dir_all(&bundle)?;
        fs::write(
            folder.join("manifest.json"),
            r#"[{"Config": "config.json", "RepoTags": ["registry:2.8.3"]}]"#,
        )?;
        fs::write(folder.join("config.json"), r#"{"architecture": "arm64"}"#)?;
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&folder);
        tar.arg("-cf").arg(bundle.join("registry.tar"));
        let output = run(tar.args(["./config.json", "manifest.json"]))?;
        ensure!(output.status.success(), "{}", said(&output));
        let mut config = Config::default();
        config.bastion.bundle = Some(bundle);
        let mut stage = Self {
            root,
            store,
            config,
        };
        stage.fill()?;
        Ok(stage)
    }

    /// Runs one of the bastion's scripts, with its paths under the stage's root.
    fn bash(&self, script: &str) -> Result<Output> {
        // A file keeps what is written to it, unlike the console.
        let mut script = script.replace(">/dev/console", ">>/dev/console");
        for path in [
            "/etc/",
            "/run/",
            "/srv/",
            "/var/lib/",
            "/usr/local/",
            "/sys/",
            "/dev/console",
        ] {
            for before in ["=", " ", ">", "("] {
                let here = format!("{before}{}{path}", self.root.display());
                script = script.replace(&format!("{before}{path}"), &here);
            }
        }
        for file in ["calls", "dev/console"] {
            fs::write(self.root.join(file), "")?;
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let stubs = self.root.join("stubs");
        let mut bash = Command::new("bash");
        bash.arg("-c")
            .arg(script)
            .env("ROOT", &self.root)
            .env("STORE", &self.store)
            .env("PATH", format!("{}:{path}", stubs.display()));
        run(&mut bash)
    }

    /// Brings the bucket to what the configuration says.
    fn fill(&mut self) -> Result<()> {
        let _ = fs::remove_dir_all(&self.store);
        for (key, content) in objects(&self.root.with_file_name("lab"), &self.config)? {
            let path = self.store.join(key);
            fs::create_dir_all(path.parent().context("an object without a key")?)?;
            match content.body {
                Body::Bytes(bytes) => fs::write(path, bytes)?,
                Body::File(from) => drop(fs::copy(from, path)?),
            }
        }
        Ok(())
    }

    /// Runs the script: whether it succeeded, what it called besides asking for metadata, and what
    /// it told the console.
    fn run(&self) -> Result<(bool, Vec<String>, String)> {
        let output = self.bash(bastion::SETUP)?;
        let calls = fs::read_to_string(self.root.join("calls"))?;
        let calls = calls.lines().filter(|line| !line.starts_with("curl "));
        let calls: Vec<String> = calls.map(str::to_owned).collect();
        let console = fs::read_to_string(self.root.join("dev/console"))?;
        println!("{calls:#?}\n{console}{}", said(&output));
        Ok((output.status.success(), calls, console))
    }

    /// Every file of the root that lasts, with its content.
    fn files(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut files = BTreeMap::new();
        let mut folders = ["etc", "run", "srv", "usr", "var"]
            .map(|name| self.root.join(name))
            .to_vec();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = fs::read(&path).with_context(|| path.display().to_string())?;
                    files.insert(path, content);
                }
            }
        }
        Ok(files)
    }
}

fn called(calls: &[String], start: &str) -> Vec<String> {
    let calls = calls.iter().filter_map(|call| call.strip_prefix(start));
    calls.map(|rest| rest.trim().to_owned()).collect()
}

#[test]
fn the_second_run_changes_nothing() -> Result<()> {
    let mut stage = Stage::new("cloud-setup")?;
    let (done, calls, console) = stage.run()?;
    ensure!(done, "{console}");
    assert!(console.ends_with("ichor-bastion: ready\n"), "{console}");
    assert_eq!(
        called(&calls, "dnf"),
        ["--assumeyes --quiet install ec2-instance-connect awscli-2 docker"]
    );
    assert_eq!(called(&calls, "networkctl"), ["reload"]);
    // One image is in the bundle.
    assert_eq!(called(&calls, "docker load").len(), 1);
    let pulled = called(&calls, "docker pull --quiet");
    assert_eq!(pulled, [&*stage.config.images.pihole]);
    // ichor serves before docker is touched.
    let order = |call: &str| calls.iter().position(|one| one == call);
    assert!(order("systemctl start ichor.service") < order("systemctl start docker.service"));
    // The mirrors, pi-hole, and what keeps the disk from getting full.
    let started = called(&calls, "systemctl start");
    let last = started.last().context("nothing was started")?;
    assert_eq!(last.split(' ').count(), stage.config.mirrors.len() + 2);
    let interface = fs::read_to_string(stage.root.join("run/ichor-bastion.env"))?;
    assert_eq!(interface, "INTERFACE=ens5\n");
    let mask = "etc/systemd/network/70-ens5.network.d/ec2net_alias.conf";
    assert_eq!(
        fs::read_link(stage.root.join(mask))?,
        Path::new("/dev/null")
    );

    let list = fs::read_to_string(stage.root.join("var/lib/ichor-pihole/whitelist.txt"))?;
    assert!(list.contains("ghcr.io\n"), "{list}");

    let before = stage.files()?;
    let (done, calls, console) = stage.run()?;
    ensure!(done, "{console}");
    assert_eq!(stage.files()?, before);
    for program in [
        "dnf",
        "networkctl",
        "docker pull",
        "docker load",
        "systemctl stop",
    ] {
        assert_eq!(called(&calls, program), [""; 0], "{program}");
    }

    // Another configuration: what changed is restarted, what is gone is stopped.
    stage.config.mirrors.remove("quay.io");
    stage.config.mirrors.insert("gcr.io".to_owned(), 6000);
    stage.fill()?;
    let (done, calls, console) = stage.run()?;
    ensure!(done, "{console}");
    let stopped = [
        "ichor-mirror-quay.io.service",
        "ichor-mirror-gcr.io.service",
    ];
    assert_eq!(called(&calls, "systemctl stop"), stopped);
    let gone = "etc/systemd/system/ichor-mirror-quay.io.service";
    assert!(!stage.root.join(gone).exists());
    Ok(())
}

#[test]
fn each_failure_is_a_line_on_the_console() -> Result<()> {
    let stage = Stage::new("cloud-setup-fails")?;
    let fails = |with: &str| -> Result<Vec<String>> {
        let (done, calls, console) = stage.run()?;
        assert!(!done && console.contains(with), "{console}");
        assert!(console.contains("it tries again in 30 s"), "{console}");
        Ok(calls)
    };
    // AWS assigns the address some time after the interface; this one never.
    fs::write(stage.root.join("addresses"), "10.20.13.140\n")?;
    let calls = fails("list 10.20.13.141 beside 10.20.13.140")?;
    assert_eq!(called(&calls, "sleep").len(), 59);
    fs::write(stage.root.join("addresses"), "10.20.13.140\n10.20.13.141\n")?;

    // A bucket that is filled in half starts nothing.
    let groups = stage.store.join("data/groups/default.json");
    fs::write(&groups, "{ }")?;
    let calls = fails("checking what was fetched")?;
    assert_eq!(called(&calls, "systemctl start"), [""; 0]);
    fs::write(&groups, "{}")?;

    // Without internet and bundle there are no containers, but ichor serves.
    fs::remove_file(stage.root.join("internet"))?;
    let calls = fails("can neither be pulled nor are in the bundle: docker.io/pihole/pihole")?;
    let started = called(&calls, "systemctl start").join(" ");
    assert!(
        started.starts_with("ichor.service docker.service "),
        "{started}"
    );
    // Those whose image is there do start.
    assert!(started.contains("ichor-mirror-quay.io") && !started.contains("ichor-pihole"));
    fs::write(stage.root.join("internet"), "")?;
    let (done, ..) = stage.run()?;
    assert!(done);

    // What was fetched once still starts when the bucket cannot be read.
    fs::remove_dir_all(&stage.store)?;
    let (done, _, console) = stage.run()?;
    assert!(done && console.contains("cannot read s3://b"), "{console}");
    Ok(())
}

#[test]
fn the_largest_cache_makes_room() -> Result<()> {
    let stage = Stage::new("cloud-make-room")?;
    let caches = stage.root.join("var/lib/ichor-mirrors");
    for (name, kib) in [("gcr.io", 8), ("quay.io", 64), ("docker.io", 16)] {
        fs::create_dir_all(caches.join(name))?;
        fs::write(caches.join(name).join("data"), vec![1; kib * 1024])?;
    }
    fs::write(stage.root.join("run/ichor-mirror-quay.io.service"), "")?;
    let there = |name: &str| caches.join(name).exists();
    for (free, room) in [("  400\n", false), ("  399\n", true)] {
        fs::write(stage.root.join("free"), free)?;
        let output = stage.bash(bastion::MAKE_ROOM)?;
        ensure!(output.status.success(), "{}", said(&output));
        let console = fs::read_to_string(stage.root.join("dev/console"))?;
        assert_eq!(console.contains("emptied the cache of quay.io"), room);
        assert_eq!(there("quay.io"), !room);
        assert!(there("gcr.io") && there("docker.io"));
    }
    let calls = fs::read_to_string(stage.root.join("calls"))?;
    let unit = "ichor-mirror-quay.io.service";
    assert!(calls.ends_with(&format!("systemctl stop {unit}\nsystemctl start {unit}\n")));
    Ok(())
}
