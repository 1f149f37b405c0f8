//! `cargo xtask push`: a new program or new files for a running board, over HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};
use ichor_lab::checksum::sha256;
use ichor_lab::push::{Board, Key, What};

use crate::workspace;

/// Where a build for the CM3 leaves its results.
const FOLDER: &str = "target/cm3";
/// Never sent, and never taken by a board.
const KEY_FILE: &str = "ichor.key";

/// What to send where.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["firmware", "file", "data"])))]
pub(crate) struct Options {
    /// The board.
    #[arg(long, value_name = "HOST[:PORT]")]
    to: String,
    /// The key that was made when the board's card was written [target/cm3/push.key].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Send a new program [target/cm3/kernel8.img] and wait until the board runs it.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    firmware: Option<Option<PathBuf>>,
    /// Send one file to a path below the board's data folder.
    #[arg(long, num_args = 2, value_names = ["LOCAL", "PATH_ON_BOARD"])]
    file: Option<Vec<String>>,
    /// Send a data folder. Files of assets/ that this computer sent before and the board still
    /// has are left out; files that are gone here stay there; hidden ones are not sent.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How long to wait for the board to restart, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// Sends what was asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = workspace().join(FOLDER);
    let key_path = options.key.clone();
    let key_path = key_path.unwrap_or_else(|| folder.join("push.key"));
    let text = fs::read_to_string(&key_path).with_context(|| {
        format!(
            "cannot read the key {}; --key names the one of this board",
            key_path.display()
        )
    })?;
    let key = Key::from_hex(&text).with_context(|| key_path.display().to_string())?;
    let board = Board::at(&options.to);

    if let Some(image) = &options.firmware {
        let image = image.clone().unwrap_or_else(|| folder.join("kernel8.img"));
        return firmware(&board, &key, &image, Duration::from_secs(options.wait));
    }
    if let Some([local, path]) = options.file.as_deref() {
        let content = read(Path::new(local))?;
        return send(&board, &key, What::File(path), &content);
    }
    match &options.data {
        Some(data) => send_folder(&board, &key, data, &folder),
        None => bail!("say what to send: --firmware, --file or --data"),
    }
}

fn firmware(board: &Board, key: &Key, image: &Path, wait: Duration) -> Result<()> {
    let content = read(image)?;
    let before = board.about()?;
    eprintln!(
        "{} {} at {}",
        before.board,
        before.version,
        board.authority()
    );
    send(board, key, What::Firmware, &content)?;
    let started = Instant::now();
    eprintln!("waiting for it to restart");
    let now = board.wait_for_restart(&before, wait)?;
    eprintln!(
        "{} is back after {:.1} s: version {}, before {}",
        now.board,
        started.elapsed().as_secs_f32(),
        now.version,
        before.version
    );
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Sends one thing and shows how far it is.
fn send(board: &Board, key: &Key, what: What<'_>, content: &[u8]) -> Result<()> {
    let started = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let kib = content.len().div_ceil(1024);
    let mut shown = None;
    let put = board.put(key, what, content, &mut |sent| {
        let percent = sent * 100 / content.len().max(1);
        if terminal && shown != Some(percent) {
            shown = Some(percent);
            eprint!("\r{what}: {percent} % of {kib} KiB ");
            // Of a line that is written over, nothing is lost if it fails.
            let _ = std::io::stderr().flush();
        }
    });
    if shown.is_some() {
        eprintln!();
    }
    let answer = put.with_context(|| format!("{what} was not replaced"))?;
    let answer = answer.lines().next().unwrap_or_default();
    let seconds = started.elapsed().as_secs_f32();
    eprintln!("{what}: {kib} KiB in {seconds:.1} s: {answer}");
    Ok(())
}

/// Sends the files of a data folder that the board has not.
fn send_folder(board: &Board, key: &Key, data: &Path, folder: &Path) -> Result<()> {
    let mut paths = Vec::new();
    list(data, "", &mut paths)?;
    if paths.is_empty() {
        bail!("{}: nothing to send", data.display());
    }
    let mut sent_before = Sent::read(folder, board)?;
    let (mut sent, mut same) = (0, 0);
    for path in &paths {
        let content = read(&data.join(path))?;
        let hash = sha256(&content[..])?;
        // Only assets can be looked at from outside; the rest is small.
        let is_asset = path.starts_with("assets/");
        if is_asset
            && let Some((known, etag)) = sent_before.files.get(path)
            && *known == hash
            && board.etag(path)?.as_ref() == Some(etag)
        {
            same += 1;
            continue;
        }
        send(board, key, What::File(path), &content)?;
        sent += 1;
        if is_asset && let Some(etag) = board.etag(path)? {
            sent_before.files.insert(path.clone(), (hash, etag));
            sent_before.write()?;
        }
    }
    eprintln!("{sent} files sent, {same} unchanged");
    Ok(())
}

/// Paths of all files below `data`, in order, with `/` between their parts.
fn list(data: &Path, below: &str, paths: &mut Vec<String>) -> Result<()> {
    let folder = data.join(below);
    let entries = folder.read_dir();
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_str().with_context(|| {
            let name = name.display();
            format!("{}/{name}: the name is not UTF-8", folder.display())
        })?;
        names.push(name.to_owned());
    }
    names.sort();
    for name in names {
        if name.starts_with('.') || name.eq_ignore_ascii_case(KEY_FILE) {
            continue;
        }
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        if data.join(&path).is_dir() {
            list(data, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// What was sent to a board from here: hash, and the tag that it has there.
#[derive(Debug)]
struct Sent {
    record: PathBuf,
    files: BTreeMap<String, (String, String)>,
}

impl Sent {
    fn read(folder: &Path, board: &Board) -> Result<Self> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = board.authority().chars().map(plain).collect();
        let record = folder.join(format!("sent-to-{name}.txt"));
        let text = match fs::read_to_string(&record) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", record.display()));
            }
        };
        // A line that cannot be read is a file that is sent again.
        let files = text.lines().filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            let (hash, etag, path) = (words.next()?, words.next()?, words.next()?);
            Some((path.to_owned(), (hash.to_owned(), etag.to_owned())))
        });
        Ok(Self {
            files: files.collect(),
            record,
        })
    }

    fn write(&self) -> Result<()> {
        let lines = self.files.iter();
        let text: String = lines
            .map(|(path, (hash, etag))| format!("{hash} {etag} {path}\n"))
            .collect();
        if let Some(folder) = self.record.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&self.record, text)
            .with_context(|| format!("cannot write {}", self.record.display()))
    }
}
