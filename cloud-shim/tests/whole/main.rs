//! The program itself against moto, as a person runs it: plan, up, plan, down.
//! boto3 looks at what is there.
#![cfg(feature = "sdk")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod design;
#[path = "../moto/mod.rs"]
mod moto;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use moto::Moto;
use serde_json::Value;

/// A lab that is a folder with all that goes into it, and an account.
struct Lab {
    folder: PathBuf,
    endpoint: String,
}

impl Lab {
    fn new(name: &str, endpoint: &str, extra: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("whole-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("data/groups")).unwrap();
        let config = format!(
            "{extra}\n[bastion]\ndata = \"data\"\nichor = \"ichor\"\nimage = \"{IMAGE}\"\n"
        );
        fs::write(folder.join("cloud.toml"), config).unwrap();
        fs::write(folder.join("data/ichor.toml"), "dhcp = \"off\"\n").unwrap();
        fs::write(
            folder.join("data/groups/all.json"),
            "{\"profile\": \"talos\"}\n",
        )
        .unwrap();
        fs::write(folder.join("ichor"), static_arm64_program()).unwrap();
        fs::write(folder.join("loader.efi"), arm64_efi_program()).unwrap();
        Self {
            folder,
            endpoint: endpoint.to_owned(),
        }
    }

    /// The program as it is started in the lab's folder, with nothing of this
    /// machine's settings.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ichor-cloud"));
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", &self.folder)
            .env("ICHOR_LOADER", self.folder.join("loader.efi"))
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", "testing")
            .env("AWS_SECRET_ACCESS_KEY", "sesame");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A command that ends with this code; gives what it printed.
    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, whose output is one JSON document.
    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        serde_json::from_str(&self.ends(code, &arguments)).unwrap()
    }

    /// A command that fails; gives its lines on standard error that are errors.
    fn fails(&self, command: &mut Command) -> Vec<String> {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "nothing half-told");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!errors.contains("panicked"), "{errors}");
        let errors = errors
            .lines()
            .filter_map(|line| line.strip_prefix("error: "));
        errors.map(str::to_owned).collect()
    }
}

/// Amazon Linux 2023 minimal for arm64 as moto knows it.
const IMAGE: &str = "ami-069e86854ff1917d2";

/// As little as Linux on arm64 starts: one segment, and no interpreter.
fn static_arm64_program() -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64 + 56, 0);
    elf[16] = 2;
    elf[18] = 183;
    elf[32] = 64;
    elf[56] = 1;
    elf[64] = 1;
    elf
}

/// As little as passes for an EFI program.
fn arm64_efi_program() -> Vec<u8> {
    let mut pe = vec![0; 0x200];
    pe[..2].copy_from_slice(b"MZ");
    pe[0x3c] = 0x40;
    pe[0x40..0x44].copy_from_slice(b"PE\0\0");
    pe[0x44..0x46].copy_from_slice(&0xAA64_u16.to_le_bytes());
    pe[0x58..0x5a].copy_from_slice(&0x20B_u16.to_le_bytes());
    pe[0x58 + 68] = 10;
    pe
}

#[test]
fn up_and_down_as_a_person_runs_them() {
    let moto = Moto::start();
    let lab = Lab::new("life", moto.endpoint(), "");

    let plan = lab.json(2, &["cloud-plan"]);
    let steps = plan["steps"].as_array().unwrap();
    assert!(
        steps.iter().all(|step| step["action"] == "create"),
        "{plan}"
    );
    assert!(
        plan["estimate"]["monthly"].as_f64().unwrap() <= 0.10,
        "{plan}"
    );

    // Nobody answers the question: nothing is done.
    let refused = lab.run(&["cloud-up"]);
    assert_eq!(refused.status.code(), Some(1));
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("add --yes"), "{refused}");

    lab.ends(0, &["cloud-up", "--yes"]);
    lab.ends(0, &["cloud-plan"]);
    // A second time: nothing is to be done, so nothing is asked.
    lab.ends(0, &["cloud-up"]);
    design::is_there(&moto.boto3());

    let status = lab.json(0, &["cloud-status"]);
    assert_eq!(status["missing"], serde_json::json!([]), "{status}");
    let text = lab.ends(0, &["cloud-cost"]);
    assert!(text.contains("$0.00"), "{text}");

    lab.ends(0, &["cloud-down", "--yes"]);
    design::is_gone(&moto.boto3());
    lab.ends(0, &["cloud-down"]);
}

#[test]
fn a_nat_gateway_is_too_dear_until_it_is_allowed() {
    let moto = Moto::start();
    let lab = Lab::new("nat", moto.endpoint(), "egress = \"nat-gateway\"");
    let output = lab.run(&["cloud-plan"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("max_monthly_usd"), "{errors}");
    let refused = lab.fails(
        lab.command(&["cloud-up", "--yes", "--output", "json"])
            .env("X", ""),
    );
    assert!(refused[0].contains("NAT gateway"), "{refused:?}");
    lab.ends(2, &["cloud-plan", "--max-monthly-usd", "40"]);
}

#[test]
fn what_is_wrong_is_one_clear_line() {
    let moto = Moto::start();
    let lab = Lab::new("errors", moto.endpoint(), "");
    let plan = |lab: &Lab| lab.command(&["cloud-plan"]);
    // Not 2, which says that there is something to do.
    lab.ends(1, &["cloud-plan", "--no-such-flag"]);
    let one = |errors: Vec<String>, words: &str| {
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(words), "{errors:?}");
    };
    let nobody = plan(&lab)
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .output()
        .unwrap();
    let nobody = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(nobody.contains("no credentials"), "{nobody}");
    one(
        lab.fails(
            plan(&lab)
                .env("AWS_PROFILE", "nowhere")
                .env_remove("AWS_ACCESS_KEY_ID"),
        ),
        "nowhere",
    );
    // A port that nobody listens on.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    one(
        lab.fails(plan(&lab).env("AWS_ENDPOINT_URL", address)),
        "not reached",
    );
    fs::write(
        lab.folder.join("cloud.toml"),
        "lab = \"home\"\negres = \"none\"\n",
    )
    .unwrap();
    one(lab.fails(&mut plan(&lab)), "cloud.toml:2");
    fs::write(
        lab.folder.join("cloud.toml"),
        "lab = \"home\"\n[bastion]\nichor = \"nowhere\"\n",
    )
    .unwrap();
    one(
        lab.fails(&mut plan(&lab)),
        "cargo xtask build --board bastion",
    );
}
