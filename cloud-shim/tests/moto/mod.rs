//! A moto server (an emulator of AWS in Python) for one test binary, and boto3
//! as a second client that looks at what the first one made.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

/// The release that the facts about moto's gaps were found with.
const VERSION: &str = "5.2.5";

/// A running server. It ends when this is dropped, and no later than the test
/// binary, as it ends with its stdin.
#[derive(Debug)]
pub(crate) struct Moto {
    /// Held for its end.
    _server: Talk,
    endpoint: String,
}

impl Moto {
    /// Starts a server with nothing in it but the default VPC of each region,
    /// on a free port of the loopback.
    ///
    /// # Panics
    ///
    /// In one line, if moto cannot be had or does not start.
    pub(crate) fn start() -> Self {
        let mut server = Talk::start("serve.py", &[]);
        let port = server.line();
        let port: u16 = port
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("moto does not say its port, but {port:?}"));
        Self {
            _server: server,
            endpoint: format!("http://127.0.0.1:{port}"),
        }
    }

    /// Where it listens: for `AWS_ENDPOINT_URL`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A boto3 that asks this server.
    pub(crate) fn boto3(&self) -> Boto3 {
        Boto3(Mutex::new(Talk::start("look.py", &[&self.endpoint])))
    }
}

/// A Python process with boto3.
#[derive(Debug)]
pub(crate) struct Boto3(Mutex<Talk>);

impl Boto3 {
    /// Makes one call, such as `("ec2", "eu-west-1", "describe_vpcs",
    /// json!({}))`, and gives its answer.
    ///
    /// # Panics
    ///
    /// With boto3's words, if the call fails.
    pub(crate) fn ask(
        &self,
        service: &str,
        region: &str,
        operation: &str,
        arguments: Value,
    ) -> Value {
        let mut talk = self.0.lock().expect("no other test failed while it asked");
        let question = json!([service, region, operation, arguments]);
        writeln!(talk.stdin, "{question}").expect("boto3 runs");
        let reply: Value = serde_json::from_str(&talk.line()).expect("boto3 answers in JSON");
        match reply.get("error") {
            Some(error) => panic!("boto3: {service} {operation} {arguments}: {error}"),
            None => reply["answer"].clone(),
        }
    }
}

/// A Python program of this folder that one talks with by lines.
#[derive(Debug)]
struct Talk {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let python = python().unwrap_or_else(|missing| panic!("{missing}"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moto");
        let mut child = Command::new(&python)
            .arg(folder.join(program))
            .args(arguments)
            // Neither asks for the machine's own credentials or settings.
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", "testing")
            .env("AWS_SECRET_ACCESS_KEY", "testing")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Werkzeug logs each request there.
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", python.display()));
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        Self {
            child,
            stdin,
            stdout,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("stdout is UTF-8");
        assert!(!line.is_empty(), "a Python program of tests/moto ended");
        line
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Nothing is to be done if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python that has moto and boto3: made at first use in `target/tools/moto`.
fn python() -> Result<PathBuf, String> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let folder = tools.join("moto");
    let python = folder.join("bin/python");
    let stamp = folder.join(VERSION);
    fs::create_dir_all(&tools).map_err(|e| format!("cannot create {}: {e}", tools.display()))?;
    // Several test binaries may want it at once.
    let lock = File::create(tools.join("moto.lock")).map_err(|e| format!("moto.lock: {e}"))?;
    lock.lock().map_err(|e| format!("moto.lock: {e}"))?;
    if stamp.exists() {
        return Ok(python);
    }
    run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
        "install python3 and python3-venv",
    )?;
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .arg(format!("moto[server]=={VERSION}")),
        "PyPI must be in reach once",
    )?;
    File::create(&stamp).map_err(|e| format!("cannot create {}: {e}", stamp.display()))?;
    Ok(python)
}

fn run(command: &mut Command, mend: &str) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|e| format!("moto {VERSION} is missing: python3: {e}: {mend}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(format!(
        "moto {VERSION} is missing: {}: {mend}",
        last.unwrap_or("Python failed and says nothing").trim()
    ))
}
