//! The data folder, as another implementation of FAT wrote it.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::poll_fn;

use common::{FakeCard, block_on, image, noise, put, run_beside};
use ichor_hal::{FileError, Files};
use ichor_hal_card::{BlockError, Card, CardFiles, MIN_MEMORY, MountError, Trouble, Volume};

const LARGE: usize = 3 * 1024 * 1024 + 77;

fn data_folder() -> FakeCard {
    image(|disk| {
        put(disk, "ichor.toml", b"mode = \"server\"\n");
        put(disk, "assets/talos/v1.7.0/vmlinuz", &noise(1, LARGE));
        put(disk, "assets/Größe mit langem Namen ♫.bin", b"umlaut");
        put(disk, "assets/empty", b"");
        put(disk, "KERNEL8.IMG", b"kernel");
        // Fragments: two files that grow in turns.
        let root = disk.root_dir();
        let mut a = root.create_file("assets/a.raw").unwrap();
        let mut b = root.create_file("assets/b.raw").unwrap();
        for (a_part, b_part) in noise(2, 300_000)
            .chunks(3000)
            .zip(noise(3, 300_000).chunks(3000))
        {
            std::io::Write::write_all(&mut a, a_part).unwrap();
            std::io::Write::write_all(&mut b, b_part).unwrap();
        }
        for n in (0..100).rev() {
            put(
                disk,
                &format!("groups/group-{n:03}.json"),
                format!("{n}").as_bytes(),
            );
        }
    })
}

async fn read<F: Files>(files: &F, path: &str, step: usize) -> Result<Vec<u8>, FileError> {
    let (file, metadata) = files.open(path).await?;
    let mut content = Vec::new();
    let mut buf = vec![0; step];
    loop {
        let offset = content.len() as u64;
        let n = poll_fn(|cx| files.poll_read_at(cx, &file, offset, &mut buf)).await?;
        if n == 0 {
            break;
        }
        content.extend_from_slice(&buf[..n]);
    }
    assert_eq!(content.len() as u64, metadata.len);
    Ok(content)
}

/// Does something with the files of a card, with so much memory for them.
fn with_files<T>(
    card: &FakeCard,
    memory: usize,
    act: impl AsyncFnOnce(&CardFiles<'_, '_, FakeCard>, &Volume<'_, FakeCard>) -> T,
) -> T {
    let before = card.0.borrow().writes.len();
    let shared = Card::new(card.clone());
    let mut memory = vec![0; memory];
    let partition = block_on(shared.partitions()).unwrap().fat().unwrap();
    let volume = block_on(Volume::mount(&shared, partition, &mut memory)).unwrap();
    let files = CardFiles::new(&volume);
    let result = run_beside(volume.run(), act(&files, &volume));
    assert_eq!(
        card.0.borrow().writes.len(),
        before,
        "reading changes nothing"
    );
    result
}

#[test]
fn files_are_read_whole_whatever_the_cache_holds() {
    let card = data_folder();
    for memory in [MIN_MEMORY, 16 * MIN_MEMORY] {
        with_files(&card, memory, async |files, _| {
            for step in [1460, 100_000] {
                let cases = [
                    ("ichor.toml", b"mode = \"server\"\n".to_vec()),
                    ("assets/talos/v1.7.0/vmlinuz", noise(1, LARGE)),
                    ("assets/Größe mit langem Namen ♫.bin", b"umlaut".to_vec()),
                    ("assets/empty", Vec::new()),
                    ("assets/a.raw", noise(2, 300_000)),
                    ("assets/b.raw", noise(3, 300_000)),
                    ("groups/group-042.json", b"42".to_vec()),
                    // As FAT is: no matter in which case, and by short names too.
                    ("ASSETS/TALOS/V1.7.0/VMLINUZ", noise(1, LARGE)),
                    ("kernel8.img", b"kernel".to_vec()),
                    ("assets/gRÖSSE MIT LANGEM NAMEN ♫.BIN", b"umlaut".to_vec()),
                ];
                for (path, expected) in cases {
                    let content = read(files, path, step).await;
                    assert!(content.as_ref() == Ok(&expected), "{path}");
                }
            }
            for path in [
                "absent",
                "assets",
                "assets/absent/vmlinuz",
                "ichor.toml/x",
                "",
                "/",
                "assets//empty",
                "assets/../ichor.toml",
                "./ichor.toml",
                "ICHOR",
            ] {
                assert_eq!(
                    read(files, path, 10).await,
                    Err(FileError::NotFound),
                    "{path}"
                );
            }
        });
    }
}

#[test]
fn any_range_can_be_read_in_any_order() {
    let card = data_folder();
    let (large, parts) = (noise(1, LARGE), noise(2, 300_000));
    with_files(&card, MIN_MEMORY, async |files, _| {
        let files_and_content = [
            ("assets/talos/v1.7.0/vmlinuz", &large),
            ("assets/a.raw", &parts),
        ];
        for (path, content) in files_and_content {
            let (file, _) = files.open(path).await.unwrap();
            let mut at = 12_345;
            for _ in 0..500 {
                at = (at * 7919 + 13) % (content.len() + 1000);
                let mut buf = [0; 700];
                let n = poll_fn(|cx| files.poll_read_at(cx, &file, at as u64, &mut buf));
                let n = n.await.unwrap();
                let expected = &content[at.min(content.len())..];
                assert!(n > 0 || expected.is_empty());
                assert_eq!(buf[..n], expected[..n]);
            }
            let mut buf = [0; 10];
            let n = poll_fn(|cx| files.poll_read_at(cx, &file, u64::MAX, &mut buf)).await;
            assert_eq!(n, Ok(0));
        }
    });
}

#[test]
fn the_card_is_read_in_large_pieces_and_once() {
    let card = data_folder();
    with_files(&card, 16 * MIN_MEMORY, async |files, volume| {
        while !volume.status().filled {
            embassy_futures::yield_now().await;
        }
        let status = volume.status();
        assert!(status.trouble.is_none());
        assert!(status.cached > LARGE as u64 && status.cached < status.capacity);
        let reads = card.0.borrow().reads.clone();
        // The partition table and the first block of the file system.
        let (single, large): (Vec<_>, Vec<_>) = reads.iter().partition(|(_, n)| *n == 1);
        assert_eq!(single.len(), 2);
        assert!(large.iter().all(|(_, n)| *n == 128));
        let mut places: Vec<_> = large.iter().map(|(first, _)| *first).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), large.len(), "a page was read twice");
        // Now the card could as well be gone.
        card.0.borrow_mut().error = Some(BlockError::Absent);
        let content = read(files, "assets/talos/v1.7.0/vmlinuz", 1460).await;
        assert!(content == Ok(noise(1, LARGE)));
        card.power_on();
    });
}

#[test]
fn folders_are_listed_in_byte_order() {
    let card = data_folder();
    with_files(&card, MIN_MEMORY, async |files, _| {
        let list = async |path: &str, limit: usize| {
            let mut seen = Vec::new();
            let mut each = |entry: ichor_hal::Entry<'_>| {
                seen.push((entry.name.to_owned(), entry.folder));
                seen.len() < limit
            };
            files.list(path, &mut each).await.map(|()| seen)
        };
        let root: Vec<_> = ["KERNEL8.IMG", "assets", "groups", "ichor.toml"]
            .map(|name| (name.to_owned(), !name.contains('.')))
            .into();
        assert_eq!(list("", 99).await, Ok(root));
        let groups: Vec<_> = (0..100)
            .map(|n| (format!("group-{n:03}.json"), false))
            .collect();
        assert_eq!(list("groups", 999).await, Ok(groups.clone()));
        assert_eq!(list("groups", 70).await, Ok(groups[..70].to_vec()));
        assert_eq!(
            list("assets/talos", 9).await,
            Ok(vec![("v1.7.0".to_owned(), true)])
        );
        assert_eq!(list("ichor.toml", 9).await, Err(FileError::NotFound));
        assert_eq!(list("absent", 9).await, Err(FileError::NotFound));
    });
}

#[test]
fn a_card_that_fails_fails_reads_and_recovers() {
    let card = data_folder();
    with_files(&card, MIN_MEMORY, async |files, volume| {
        let path = "assets/talos/v1.7.0/vmlinuz";
        let (file, _) = files.open(path).await.unwrap();
        for error in [BlockError::Absent, BlockError::Timeout] {
            card.0.borrow_mut().error = Some(error);
            // Somewhere in a file that the cache cannot hold.
            let mut failed = None;
            for at in (0..LARGE as u64).step_by(1000) {
                let mut buf = [0; 10];
                let read = poll_fn(|cx| files.poll_read_at(cx, &file, at, &mut buf)).await;
                failed = failed.or(read.err());
            }
            assert_eq!(failed, Some(FileError::Io));
            assert_eq!(volume.status().trouble, Some(Trouble::Card(error)));
            card.power_on();
            assert!(read(files, path, 5000).await == Ok(noise(1, LARGE)));
            assert_eq!(volume.status().trouble, None);
        }
    });
}

#[test]
fn the_first_change_number_comes_at_once() {
    let card = data_folder();
    with_files(&card, MIN_MEMORY, async |files, _| {
        let first = files.changed(0).await;
        assert_ne!(first, 0);
        let mut second = std::pin::pin!(files.changed(first));
        let poll = poll_fn(|cx| std::task::Poll::Ready(second.as_mut().poll(cx))).await;
        assert!(poll.is_pending());
    });
    let none = CardFiles::<FakeCard>::none();
    assert_eq!(block_on(none.changed(0)), 1);
    assert_eq!(block_on(none.open("x")).err(), Some(FileError::Io));
}

#[test]
fn what_cannot_be_mounted_says_why() {
    let mount = |change: &dyn Fn(&mut Vec<u8>), memory: usize| {
        let card = data_folder();
        change(&mut card.0.borrow_mut().bytes);
        let shared = Card::new(card);
        let mut memory = vec![0; memory];
        let partition = block_on(shared.partitions())?.fat()?;
        block_on(Volume::mount(&shared, partition, &mut memory)).map(drop)
    };
    let first = common::FAT_FIRST as usize * 512;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(|b| b[..512].fill(0)), "the card is blank"),
        (Box::new(|b| b[450] = 0x83), "no FAT32 partition"),
        (Box::new(|b| b[450] = 0xEE), "a GPT"),
        (Box::new(|b| b.truncate(1 << 20)), "larger than the card"),
        (
            Box::new(move |b| b[first + 3..first + 11].copy_from_slice(b"EXFAT   ")),
            "holds exFAT, not FAT32",
        ),
        (Box::new(move |b| b[first + 17] = 2), "holds FAT12 or FAT16"),
        (Box::new(move |b| b[first + 13] = 3), "holds nothing known"),
        (
            Box::new(move |b| b[first + 36] = 1),
            "its table is too short",
        ),
        (
            Box::new(move |b| b[first + 47] = 0x0F),
            "its root folder lies outside",
        ),
        (
            Box::new(move |b| b[first + 35] = 9),
            "larger than its partition",
        ),
    ];
    for (change, text) in cases {
        let error = mount(&change, MIN_MEMORY).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    assert_eq!(mount(&|_| {}, MIN_MEMORY), Ok(()));
    assert_eq!(
        mount(&|_| {}, MIN_MEMORY - 1),
        Err(MountError::TooLittleMemory)
    );
}

#[test]
fn damage_is_an_error_and_never_a_panic_or_a_loop() {
    let card = data_folder();
    // The first blocks of the table, the root folder and the folders after it.
    let whole = card.0.borrow().bytes.clone();
    let first = common::FAT_FIRST as usize * 512;
    let boot = &whole[first..first + 512];
    let reserved = usize::from(u16::from_le_bytes([boot[14], boot[15]]));
    let table = u32::from_le_bytes(boot[36..40].try_into().unwrap()) as usize;
    let areas = [
        first + reserved * 512..first + reserved * 512 + 4096,
        first + (reserved + 2 * table) * 512..first + (reserved + 2 * table) * 512 + 8192,
    ];
    let mut failed = 0;
    for round in 0..60_u64 {
        let area = areas[(round % 2) as usize].clone();
        let mut noise = noise(round, 4 * 40).into_iter();
        for _ in 0..40 {
            let at = usize::from(noise.next().unwrap()) << 8 | usize::from(noise.next().unwrap());
            let value = noise.next().unwrap();
            card.0.borrow_mut().bytes[area.start + at % area.len()] = value;
        }
        with_files_or_not(&card, &mut failed);
        card.0.borrow_mut().bytes.copy_from_slice(&whole);
    }
    assert!(failed > 0, "some of it was noticed");
}

fn with_files_or_not(card: &FakeCard, failed: &mut usize) {
    let shared = Card::new(card.clone());
    let mut memory = vec![0; MIN_MEMORY];
    let partition = block_on(shared.partitions()).unwrap().fat().unwrap();
    let Ok(volume) = block_on(Volume::mount(&shared, partition, &mut memory)) else {
        *failed += 1;
        return;
    };
    let files = CardFiles::new(&volume);
    run_beside(volume.run(), async {
        for path in [
            "assets/talos/v1.7.0/vmlinuz",
            "assets/a.raw",
            "groups/group-042.json",
        ] {
            // What is read may be anything, but it ends.
            *failed += usize::from(read(&files, path, 60_000).await.is_err());
        }
        for path in ["", "assets", "groups"] {
            let _ = files.list(path, &mut |_| true).await;
        }
    });
}
