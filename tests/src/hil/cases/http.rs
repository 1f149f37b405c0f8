//! HTTP as boot loaders and people use it.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::tftp::same;
use super::{Outcome, Run};
use crate::clients::Response;
use crate::hil::content::{ASSET, MARK, SMALL};
use crate::hil::report::{Found, one_line};
use crate::hil::station::MACS;

/// `/status`: for people and for programs, and nothing wrong with the board.
pub(super) fn status(run: &mut Run<'_>) -> Result<Outcome> {
    let server = run.server()?;
    let page = get(run, server, "/status", &[])?;
    expect(&page, 200)?;
    ensure!(!page.body.is_empty(), "/status is empty");
    let status = read_status(run, server)?;
    let troubles = status.troubles;
    ensure!(troubles.is_empty(), "the board is in trouble: {troubles}");
    let found = Found::new(format!(
        "{}, up {} s{}",
        status.board, status.uptime, status.rest
    ));
    Ok(Outcome::Passed(
        found.value("uptime_seconds", status.uptime as f64),
    ))
}

/// What `/status?format=json` tells.
pub(super) struct Status {
    pub(super) uptime: u64,
    board: String,
    /// What is wrong, or `""`.
    pub(super) troubles: String,
    /// Leases and memory, as far as they are told.
    pub(super) rest: String,
}

/// Reads `/status` for programs.
pub(super) fn read_status(run: &Run<'_>, server: Ipv4Addr) -> Result<Status> {
    let response = get(run, server, "/status?format=json", &[])?;
    expect(&response, 200)?;
    parse_status(&response.body)
}

fn parse_status(body: &[u8]) -> Result<Status> {
    let value: Value = serde_json::from_slice(body).with_context(|| {
        let text = String::from_utf8_lossy(body);
        format!("/status?format=json is no JSON: {}", one_line(&text))
    })?;
    let uptime = value["uptime_seconds"].as_u64();
    let uptime = uptime.context("/status?format=json has no number `uptime_seconds`")?;
    let text = |key: &str| value[key].as_str().unwrap_or("?").to_owned();
    let troubles = value["troubles"].as_array().into_iter().flatten();
    let troubles: Vec<String> = troubles
        .map(|trouble| match (&trouble["part"], &trouble["text"]) {
            (Value::String(part), Value::String(text)) => format!("{part}: {text}"),
            _ => trouble.to_string(),
        })
        .collect();
    let members = value.as_object().into_iter().flatten();
    let rest = members
        .filter(|(key, value)| {
            (*key == "leases" || key.contains("memory") || key.contains("cache"))
                && value.is_number()
        })
        .map(|(key, value)| format!(", {key} {value}"))
        .collect();
    Ok(Status {
        uptime,
        board: format!("{} {}", text("board"), text("version")),
        troubles: troubles.join("; "),
        rest,
    })
}

/// `/boot.ipxe`, which every iPXE asks for first.
pub(super) fn boot_script(run: &mut Run<'_>) -> Result<Outcome> {
    let server = run.server()?;
    let response = get(run, server, "/boot.ipxe", &[])?;
    expect(&response, 200)?;
    let text = String::from_utf8_lossy(&response.body);
    ensure!(
        text.starts_with("#!ipxe") && text.contains("ipxe?"),
        "no iPXE script that goes on to /ipxe: {}",
        one_line(&text)
    );
    let len = text.len();
    Ok(Outcome::Passed(Found::new(format!(
        "{len} bytes of iPXE script"
    ))))
}

/// `/ipxe` for the client that `groups/hil.json` knows.
pub(super) fn profile(run: &mut Run<'_>) -> Result<Outcome> {
    let server = run.server()?;
    let mac = MACS.client();
    let response = get(run, server, &format!("/ipxe?mac={mac}"), &[])?;
    if response.status == 404 {
        bail!("404 for {mac}: is what `hil --prepare` writes on the card?");
    }
    expect(&response, 200)?;
    let text = String::from_utf8_lossy(&response.body);
    for wanted in ["#!ipxe", ASSET.path, SMALL.path, MARK] {
        ensure!(
            text.contains(wanted),
            "no `{wanted}` in the script for {mac}: {}",
            one_line(&text)
        );
    }
    Ok(Outcome::Passed(Found::new(format!(
        "profile `hil` for {mac}, {} bytes",
        text.len()
    ))))
}

/// A whole file, its hash and the speed.
pub(super) fn asset(run: &mut Run<'_>) -> Result<Outcome> {
    let server = run.server()?;
    let url = run.url(server, &format!("/{}", ASSET.path));
    let (body, took) = run.station.clients()?.curl_timed(&url)?;
    same(&body, ASSET)?;
    let rate = body.len() as f64 / 1e6 / took.as_secs_f64();
    let found = Found::new(format!(
        "{} bytes in {:.2} s, {rate:.2} MB/s, hash right",
        body.len(),
        took.as_secs_f64()
    ));
    Ok(Outcome::Passed(found.value("megabytes_per_second", rate)))
}

/// A part of a file (RFC 9110 §14).
pub(super) fn range(run: &mut Run<'_>) -> Result<Outcome> {
    let server = run.server()?;
    let path = format!("/{}", SMALL.path);
    let part = get(run, server, &path, &["--range", "1000-1999"])?;
    expect(&part, 206)?;
    let want = format!("bytes 1000-1999/{}", SMALL.len);
    let told = part.header("content-range");
    ensure!(told == want, "Content-Range: {told:?}, expected {want:?}");
    ensure!(
        part.body == SMALL.bytes()[1000..2000],
        "other bytes than 1000 to 1999 of the file"
    );
    let beyond = format!("{}-", SMALL.len);
    expect(&get(run, server, &path, &["--range", &beyond])?, 416)?;
    Ok(Outcome::Passed(Found::new(
        "206 with the right bytes, 416 beyond the end",
    )))
}

/// HEAD: what a GET would tell, and no body.
pub(super) fn head(run: &mut Run<'_>) -> Result<Outcome> {
    let server = run.server()?;
    let response = get(run, server, &format!("/{}", ASSET.path), &["--head"])?;
    expect(&response, 200)?;
    let told = response.header("content-length");
    ensure!(
        told == ASSET.len.to_string(),
        "Content-Length: {told:?}, expected {}",
        ASSET.len
    );
    Ok(Outcome::Passed(Found::new(format!(
        "Content-Length {told}"
    ))))
}

/// A file that is not there: 404 with a text.
pub(super) fn missing(run: &mut Run<'_>) -> Result<Outcome> {
    let server = run.server()?;
    let response = get(run, server, "/assets/hil-absent.bin", &[])?;
    expect(&response, 404)?;
    let text = one_line(&String::from_utf8_lossy(&response.body));
    ensure!(!text.is_empty(), "404 without a text");
    Ok(Outcome::Passed(Found::new(format!("404: {text}"))))
}

fn get(run: &Run<'_>, server: Ipv4Addr, path: &str, more: &[&str]) -> Result<Response> {
    let url = run.url(server, path);
    let mut arguments = vec!["--max-time", "15"];
    arguments.extend(more);
    run.station.clients()?.curl(&url, &arguments)
}

fn expect(response: &Response, status: u16) -> Result<()> {
    ensure!(
        response.status == status,
        "status {}, expected {status}: {}",
        response.status,
        one_line(&String::from_utf8_lossy(
            &response.body[..response.body.len().min(200)]
        ))
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_its_troubles_told() {
        let told = br#"{"board":"cm3","version":"0.1.0","uptime_seconds":42,"leases":3,
            "memory_free":1024,"troubles":[{"part":"card","text":"missing"}]}"#;
        let status = parse_status(told).unwrap();
        assert_eq!((status.uptime, &*status.board), (42, "cm3 0.1.0"));
        assert_eq!(status.troubles, "card: missing");
        assert!(status.rest.contains(", leases 3"), "{}", status.rest);
        assert!(status.rest.contains("memory_free 1024"), "{}", status.rest);
        for bad in [&b"up 3 s"[..], br#"{"uptime":3}"#] {
            assert!(parse_status(bad).is_err());
        }
    }
}
