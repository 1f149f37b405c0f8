//! The TFTP clients that people use get every byte, or a text that says why not.

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use super::{Outcome, Run};
use crate::checksum::sha256;
use crate::clients::Clients;
use crate::hil::content::{ASSET, Asset, SMALL};
use crate::hil::report::Found;

/// A file that no folder has.
const ABSENT: &str = "assets/hil-absent.bin";

/// tftp-hpa, octet mode, blocks of 512 bytes in lock-step.
pub(super) fn octet(run: &mut Run<'_>) -> Result<Outcome> {
    fetch(run, SMALL, "512-byte blocks", |clients, server| {
        clients.tftp_hpa(server, SMALL.path, "octet")
    })
}

/// atftp with the largest block that fits into a frame (RFC 2348).
pub(super) fn blksize(run: &mut Run<'_>) -> Result<Outcome> {
    fetch(run, ASSET, "1468-byte blocks", |clients, server| {
        clients.atftp(server, ASSET.path, &["blksize 1468"])
    })
}

/// atftp with sixteen of them at once (RFC 7440).
pub(super) fn windowsize(run: &mut Run<'_>) -> Result<Outcome> {
    fetch(run, ASSET, "windows of 16 blocks", |clients, server| {
        clients.atftp(server, ASSET.path, &["blksize 1468", "windowsize 16"])
    })
}

/// A file that is not there: an error with a text.
pub(super) fn missing(run: &mut Run<'_>) -> Result<Outcome> {
    let server = run.server()?.to_string();
    let said = match run.station.clients()?.tftp_hpa(&server, ABSENT, "octet") {
        Ok(bytes) => bail!("{ABSENT} came, with {} bytes", bytes.len()),
        Err(error) => format!("{error:#}"),
    };
    // As tftp-hpa prints the ERROR packet: code and text (RFC 1350 §5).
    let told = said
        .split_once("Error code 1:")
        .map(|(_, text)| text.trim());
    match told {
        Some(text) if !text.is_empty() => Ok(Outcome::Passed(Found::new(format!(
            "\"{text}\" for a file that is not there"
        )))),
        _ => bail!("expected error 1 (file not found) with a text, the client says: {said}"),
    }
}

fn fetch(
    run: &mut Run<'_>,
    asset: Asset,
    how: &str,
    get: impl FnOnce(&Clients<'_>, &str) -> Result<Vec<u8>>,
) -> Result<Outcome> {
    let server = run.server()?.to_string();
    let begun = Instant::now();
    let got = get(&run.station.clients()?, &server)?;
    let rate = got.len() as f64 / 1e6 / begun.elapsed().as_secs_f64();
    same(&got, asset)?;
    let len = got.len();
    let found = Found::new(format!("{len} bytes in {how}, {rate:.2} MB/s, hash right"));
    Ok(Outcome::Passed(found.value("megabytes_per_second", rate)))
}

/// The bytes are the file's, no more and no fewer.
pub(super) fn same(got: &[u8], asset: Asset) -> Result<()> {
    let path = asset.path;
    ensure!(
        got.len() == asset.len,
        "{} bytes of {path} came, expected {}: is `hil --prepare` of this version on the card?",
        got.len(),
        asset.len
    );
    let (got, want) = (sha256(got)?, sha256(&asset.bytes()[..])?);
    ensure!(
        got == want,
        "{path} came with SHA-256 {got}, expected {want}"
    );
    Ok(())
}
