//! The lease log when the medium is full. Alone in its process, for which a
//! limit on the size of files plays the full disk.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod common;

use common::Scratch;
use embassy_futures::block_on;
use ichor_hal::{LeaseLog, LogError};
use ichor_hal_linux::LogFile;
use rustix::process::{Resource, Rlimit, setrlimit};

fn limit_files_to(bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_the_log_whole() {
    // The signal that comes with the error must not end the process.
    let ignored = std::sync::Arc::default();
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, ignored).unwrap();
    let scratch = Scratch::new("log-full");
    let mut log = LogFile::open(&scratch.0, false).unwrap();
    block_on(log.append(&[1; 100])).unwrap();
    block_on(log.commit()).unwrap();

    limit_files_to(Some(120));
    block_on(log.append(&[2; 50])).unwrap();
    assert_eq!(block_on(log.commit()), Err(LogError::Full));
    let file = scratch.0.join("leases.log");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 100);

    // The bytes were kept, in order, and the next commit brings them.
    limit_files_to(None);
    block_on(log.append(&[3; 10])).unwrap();
    block_on(log.commit()).unwrap();
    let want = [&[1; 100][..], &[2; 50], &[3; 10]].concat();
    assert_eq!(std::fs::read(&file).unwrap(), want);
}
