//! The data folder on a real file system: ranges, links that try to leave,
//! and changes.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration as StdDuration;

use common::{Scratch, run};
use embassy_futures::block_on;
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Timer};
use ichor_hal::{FileError, Files};
use ichor_hal_linux::{DataFolder, Reactor, Symlinks};

/// A data folder `data` and, beside it, what nobody must get at.
fn lay_out(root: &Path) {
    fs::create_dir_all(root.join("data/assets/talos")).unwrap();
    fs::create_dir_all(root.join("data/groups")).unwrap();
    fs::create_dir_all(root.join("elsewhere")).unwrap();
    fs::write(root.join("secret"), "secret").unwrap();
    fs::write(root.join("elsewhere/vmlinuz"), "kernel").unwrap();
    fs::write(root.join("data/assets/talos/vmlinuz"), "0123456789").unwrap();
    symlink("talos", root.join("data/assets/latest")).unwrap();
    symlink("../../secret", root.join("data/assets/leak")).unwrap();
    symlink(root.join("elsewhere"), root.join("data/assets/big")).unwrap();
    symlink("loop", root.join("data/assets/loop")).unwrap();
}

fn open(root: &Path, symlinks: Symlinks) -> DataFolder {
    DataFolder::open(root.join("data"), symlinks, &Reactor::new().unwrap()).unwrap()
}

fn read(files: &DataFolder, path: &str) -> Result<Vec<u8>, FileError> {
    let (file, meta) = block_on(files.open(path))?;
    let mut cx = Context::from_waker(Waker::noop());
    let (mut content, mut buf) = (Vec::new(), [0; 4]);
    loop {
        match files.poll_read_at(&mut cx, &file, content.len() as u64, &mut buf) {
            Poll::Ready(Ok(0)) => break,
            Poll::Ready(Ok(n)) => content.extend_from_slice(&buf[..n]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(content.len() as u64, meta.len);
    Ok(content)
}

#[test]
fn files_are_read_and_nothing_outside_is() {
    let scratch = Scratch::new("files-escape");
    lay_out(&scratch.0);
    let inside = open(&scratch.0, Symlinks::StayInside);
    let follow = open(&scratch.0, Symlinks::Follow);
    let missing = Err(FileError::NotFound);
    let kernel = Ok(b"0123456789".to_vec());
    let cases = [
        ("assets/talos/vmlinuz", kernel.clone(), kernel.clone()),
        ("assets/latest/vmlinuz", kernel.clone(), kernel),
        ("assets/leak", missing.clone(), Ok(b"secret".to_vec())),
        (
            "assets/big/vmlinuz",
            missing.clone(),
            Ok(b"kernel".to_vec()),
        ),
        ("assets/loop", missing.clone(), missing.clone()),
        ("assets/talos", missing.clone(), missing.clone()),
        ("assets/absent", missing.clone(), missing.clone()),
        ("../secret", missing.clone(), missing.clone()),
        ("assets/../../secret", missing.clone(), missing.clone()),
        ("/etc/passwd", missing.clone(), missing.clone()),
        ("", missing.clone(), missing),
    ];
    for (path, stay, followed) in cases {
        assert_eq!(read(&inside, path), stay, "{path}, links stay inside");
        assert_eq!(read(&follow, path), followed, "{path}, links are followed");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_named_pipe_does_not_block() {
    let scratch = Scratch::new("files-pipe");
    lay_out(&scratch.0);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        scratch.0.join("data/assets/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let files = open(&scratch.0, Symlinks::StayInside);
    assert_eq!(read(&files, "assets/pipe"), Err(FileError::NotFound));
}

#[test]
fn an_open_file_keeps_its_content_and_a_new_one_has_a_new_version() {
    let scratch = Scratch::new("files-version");
    lay_out(&scratch.0);
    let files = open(&scratch.0, Symlinks::StayInside);
    let path = scratch.0.join("data/assets/talos/vmlinuz");
    let (old, before) = block_on(files.open("assets/talos/vmlinuz")).unwrap();
    fs::write(path.with_extension("new"), "abcdefghij").unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    let (_, after) = block_on(files.open("assets/talos/vmlinuz")).unwrap();
    assert_ne!(before.version, after.version);
    let mut buf = [0; 10];
    let mut cx = Context::from_waker(Waker::noop());
    let n = files.poll_read_at(&mut cx, &old, 8, &mut buf);
    assert_eq!((n, &buf[..2]), (Poll::Ready(Ok(2)), &b"89"[..]));
}

#[test]
fn listings_are_sorted_and_stop_when_told() {
    let scratch = Scratch::new("files-list");
    lay_out(&scratch.0);
    let files = open(&scratch.0, Symlinks::StayInside);
    let list = |path: &str, limit: usize| {
        let mut seen = Vec::new();
        block_on(files.list(path, &mut |entry| {
            seen.push((entry.name.to_owned(), entry.folder));
            seen.len() < limit
        }))
        .map(|()| seen)
    };
    assert_eq!(
        list("", 9),
        Ok(vec![("assets".into(), true), ("groups".into(), true)])
    );
    assert_eq!(list("assets", 1), Ok(vec![("big".into(), true)]));
    assert_eq!(list("assets/talos", 9), Ok(vec![("vmlinuz".into(), false)]));
    assert_eq!(list("assets/big", 9), Err(FileError::NotFound));
    assert_eq!(list("absent", 9), Err(FileError::NotFound));
}

#[test]
fn changes_to_the_catalog_are_noticed_once_they_settle() {
    let scratch = Scratch::new("files-change");
    lay_out(&scratch.0);
    let data = scratch.0.join("data");
    run(|reactor, _| async move {
        let files = DataFolder::open(&data, Symlinks::StayInside, &reactor).unwrap();
        let first = files.changed(0).await;
        assert_ne!(first, 0);
        // Assets do not matter.
        fs::write(data.join("assets/initrd"), "initrd").unwrap();
        let nothing = select(files.changed(first), Timer::after_millis(400)).await;
        assert!(matches!(nothing, Either::Second(())), "{nothing:?}");
        // Many files in a row are one change.
        let writer = std::thread::spawn({
            let data = data.clone();
            move || {
                for n in 0..10 {
                    fs::write(data.join(format!("groups/{n}.json")), "{}").unwrap();
                    std::thread::sleep(StdDuration::from_millis(20));
                }
                fs::create_dir_all(data.join("generic/deep")).unwrap();
            }
        });
        let second = {
            // Two tasks that wait both learn of it.
            let both = embassy_futures::join::join(files.changed(first), files.changed(first));
            let (a, b) = both.await;
            assert_eq!(a, b);
            a
        };
        assert_ne!(second, first);
        assert!(writer.is_finished());
        // Folders that came later are watched too.
        let mut change = pin!(files.changed(second));
        let nothing = select(&mut change, Timer::after_millis(400)).await;
        assert!(matches!(nothing, Either::Second(())), "{nothing:?}");
        fs::write(data.join("generic/deep/new.tmpl"), "x").unwrap();
        let third = select(change, Timer::after(Duration::from_secs(3))).await;
        assert!(matches!(third, Either::First(_)));
        drop(scratch);
    });
}
