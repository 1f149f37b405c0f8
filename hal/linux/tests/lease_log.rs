//! The lease log on a real file system: what survives which end of a process.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod common;

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::Scratch;
use embassy_futures::block_on;
use ichor_hal::{LeaseLog, LogError};
use ichor_hal_linux::LogFile;

/// Set in the process that is killed.
const VICTIM: &str = "ICHOR_TEST_LEASE_FOLDER";

fn content(log: &mut LogFile) -> Vec<u8> {
    let (mut bytes, mut buf) = (Vec::new(), [0; 7]);
    loop {
        match wait(log.read(bytes.len() as u64, &mut buf)) {
            0 => return bytes,
            n => bytes.extend_from_slice(&buf[..n]),
        }
    }
}

fn wait<T>(operation: impl Future<Output = Result<T, LogError>>) -> T {
    block_on(operation).unwrap()
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let scratch = Scratch::new("log-reopen");
    let mut log = LogFile::open(&scratch.0, true).unwrap();
    assert!(log.is_empty());
    wait(log.append(b"one "));
    wait(log.append(b"two "));
    assert_eq!((log.len(), content(&mut log)), (8, b"one two ".to_vec()));
    wait(log.commit());
    wait(log.append(b"lost"));
    assert_eq!(content(&mut log), b"one two lost");
    drop(log);
    let mut log = LogFile::open(&scratch.0, false).unwrap();
    assert_eq!(content(&mut log), b"one two ");
    wait(log.truncate(4));
    wait(log.append(b"three"));
    wait(log.commit());
    assert_eq!(content(&mut log), b"one three");
}

#[test]
fn a_replacement_counts_once_it_is_finished() {
    let scratch = Scratch::new("log-replace");
    let mut log = LogFile::open(&scratch.0, false).unwrap();
    wait(log.append(b"a long history"));
    wait(log.commit());

    wait(log.begin_rewrite());
    assert!(log.is_empty());
    wait(log.append(b"half"));
    wait(log.commit());
    drop(log);
    let mut log = LogFile::open(&scratch.0, false).unwrap();
    assert_eq!(content(&mut log), b"a long history");

    wait(log.begin_rewrite());
    wait(log.append(b"short"));
    wait(log.finish_rewrite());
    wait(log.append(" and more".as_bytes()));
    wait(log.commit());
    drop(log);
    let mut log = LogFile::open(&scratch.0, false).unwrap();
    assert_eq!(content(&mut log), b"short and more");
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 1);
}

#[test]
fn a_second_instance_is_told_where_the_first_one_is() {
    let scratch = Scratch::new("log-second");
    let first = LogFile::open(&scratch.0, false).unwrap();
    let error = LogFile::open(&scratch.0, false).unwrap_err().to_string();
    assert!(error.contains("another ichor"), "{error}");
    assert!(error.contains(scratch.0.to_str().unwrap()), "{error}");
    drop(first);
    LogFile::open(&scratch.0, false).unwrap();
}

/// Not a test of its own: the process that gets killed runs it.
#[test]
fn victim() {
    let Ok(folder) = std::env::var(VICTIM) else {
        return;
    };
    let mut log = LogFile::open(folder, false).unwrap();
    for n in 0..1_000_000_u32 {
        wait(log.append(&n.to_be_bytes()));
        wait(log.commit());
        // What the parent reads is promised.
        println!("\ncommitted {n}");
    }
}

#[test]
fn every_commit_survives_kill_9() {
    let scratch = Scratch::new("log-kill");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--nocapture", "--test-threads=1"])
        .env(VICTIM, &scratch.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut promised = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(n) = line.strip_prefix("committed ") {
            promised = n.parse::<u32>().unwrap();
            if promised == 500 {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(promised >= 500);
    let mut log = LogFile::open(&scratch.0, false).unwrap();
    let bytes = content(&mut log);
    assert!(bytes.len() > promised as usize * 4);
    for (n, record) in bytes.chunks_exact(4).enumerate() {
        assert_eq!(record, (n as u32).to_be_bytes());
    }
}
