//! What the bastion in AWS is given, tried out by those who will read it: cloud-init, systemd,
//! bash, dnsmasq, a compose program, and distribution itself.

mod mirrors;
mod rendered;
mod setup;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use ichor_lab::tools::{Set, Tools};

/// Debian's own Python, which the packages of the lab are for, with them.
fn python(tools: &Tools, program: &str, arguments: &[&Path]) -> Result<serde_json::Value> {
    let mut python = Command::new("/usr/bin/python3");
    let packages = tools
        .root(Set::Bastion)
        .join("usr/lib/python3/dist-packages");
    python.env("PYTHONPATH", packages);
    python.arg("-c").arg(program).args(arguments);
    let output = run(&mut python)?;
    ensure!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).context("it printed no JSON")
}

/// A YAML file as an independent parser reads it.
fn yaml(tools: &Tools, path: &Path) -> Result<serde_json::Value> {
    let program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    python(tools, program, &[path])
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    output.with_context(|| format!("cannot run {command:?}"))
}

/// All that a program printed.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
