//! Updates of files and of the firmware, cut off at any write.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::poll_fn;

use common::check::{Leftovers, check, fsck};
use common::{FakeCard, block_on, get, image, noise, put, run_beside};
use ichor_hal::{Files, Target, UpdateError, Updates};
use ichor_hal_card::{Card, CardFiles, CardUpdates, MIN_MEMORY, Volume};

const KERNEL: usize = 20_000;

fn data_folder() -> FakeCard {
    image(|disk| {
        put(disk, "KERNEL8.IMG", &noise(1, KERNEL));
        put(disk, "ichor.toml", b"mode = \"server\"\n");
        put(disk, "assets/vmlinuz", &noise(2, 30_000));
        put(disk, "assets/empty", b"");
        // Holes, so that new files are in pieces.
        for n in 0..20 {
            put(disk, &format!("filler-{n}"), &noise(n, 1500));
        }
        for n in (0..20).step_by(2) {
            disk.root_dir().remove(&format!("filler-{n}")).unwrap();
        }
    })
}

/// Does something with the updates and files of a card.
fn with_card<T>(
    card: &FakeCard,
    act: impl AsyncFnOnce(&mut CardUpdates<'_, '_, FakeCard>, &CardFiles<'_, '_, FakeCard>) -> T,
) -> Option<T> {
    let shared = Card::new(card.clone());
    let mut memory = vec![0; MIN_MEMORY];
    let partition = block_on(shared.partitions()).ok()?.fat().unwrap();
    let volume = block_on(Volume::mount(&shared, partition, &mut memory)).ok()?;
    let files = CardFiles::new(&volume);
    let mut updates = CardUpdates::new(&volume);
    Some(run_beside(volume.run(), act(&mut updates, &files)))
}

async fn update(
    updates: &mut impl Updates,
    target: Target<'_>,
    content: &[u8],
) -> Result<(), UpdateError> {
    updates.begin(target, content.len() as u64).await?;
    for part in content.chunks(1460) {
        updates.write(part).await?;
    }
    updates.commit().await
}

/// A sound file system, also in the eyes of fsck.fat where it is at hand.
fn assert_sound(card: &FakeCard) {
    assert_eq!(check(card), Leftovers::default());
    if let Some(lines) = fsck(card) {
        assert!(lines.is_empty(), "{lines:#?}");
    }
}

#[test]
fn files_are_replaced_and_made_with_their_folders() {
    let card = data_folder();
    let long = format!("assets/{}.xz", "a long name of a file ".repeat(8));
    let cases = [
        ("assets/vmlinuz", noise(10, 200_000)),
        ("ASSETS/VMLINUZ", noise(11, 10)),
        ("assets/empty", b"no more".to_vec()),
        ("ichor.toml", Vec::new()),
        ("assets/talos/v1.7.0/initramfs.xz", noise(12, 70_000)),
        ("assets/talos/v1.7.0/größer ♫.bin", noise(13, 65_536)),
        ("README", b"short".to_vec()),
        (&long, b"long".to_vec()),
    ];
    for (path, content) in cases {
        let done = with_card(&card, async |updates, files| {
            let seen = files.changed(0).await;
            update(updates, Target::File(path), &content).await?;
            assert_ne!(files.changed(seen).await, seen);
            Ok::<_, UpdateError>(())
        });
        assert_eq!(done, Some(Ok(())), "{path}");
        assert!(get(&card, path) == Some(content), "{path}");
        assert_sound(&card);
    }
    // Folders grow by clusters.
    with_card(&card, async |updates, _| {
        for n in 0..120 {
            let path = format!("groups/a group with a long name {n}.json");
            let done = update(updates, Target::File(&path), path.as_bytes()).await;
            assert_eq!(done, Ok(()));
        }
    });
    assert_sound(&card);
    for n in 0..120 {
        let path = format!("groups/a group with a long name {n}.json");
        assert!(get(&card, &path) == Some(path.into_bytes()));
    }
}

#[test]
fn the_firmware_is_replaced_and_the_old_one_kept() {
    let card = data_folder();
    for (old, new) in [(1, 20), (20, 21), (21, 22)] {
        with_card(&card, async |updates, _| {
            update(
                updates,
                Target::Firmware,
                &noise(new, 90_000 + new as usize),
            )
            .await
        });
        let len = |n: u64| if n == 1 { KERNEL } else { 90_000 + n as usize };
        assert!(get(&card, "kernel8.img") == Some(noise(new, len(new))));
        assert!(get(&card, "kernel8.old") == Some(noise(old, len(old))));
        assert_sound(&card);
    }
}

#[test]
fn an_open_file_keeps_its_content() {
    let card = data_folder();
    with_card(&card, async |updates, files| {
        let (file, before) = files.open("assets/vmlinuz").await.unwrap();
        let mut buf = [0; 100];
        for round in 0..3 {
            let target = Target::File("assets/vmlinuz");
            update(updates, target, &noise(30 + round, 30_000))
                .await
                .unwrap();
            let (_, after) = files.open("assets/vmlinuz").await.unwrap();
            assert_ne!(before.version, after.version);
            let n = poll_fn(|cx| files.poll_read_at(cx, &file, 25_000, &mut buf)).await;
            assert_eq!(n, Ok(100));
            assert_eq!(buf, noise(2, 30_000)[25_000..25_100]);
        }
        // Once it is closed, its clusters are freed.
        drop(file);
        for _ in 0..1000 {
            embassy_futures::yield_now().await;
        }
    });
    assert_sound(&card);
}

#[test]
fn what_cannot_be_is_refused_and_leaves_no_trace() {
    let card = data_folder();
    with_card(&card, async |updates, _| {
        let bad = [
            "",
            "assets",
            "assets/vmlinuz/x",
            "a//b",
            "../x",
            "assets/a:b",
            "x/..",
            "x.",
        ];
        for path in bad {
            let begun = updates.begin(Target::File(path), 5).await;
            assert_eq!(begun, Err(UpdateError::BadPath), "{path}");
        }
        let file = Target::File("assets/new");
        for len in [1 << 40, 100 << 20] {
            assert_eq!(updates.begin(file, len).await, Err(UpdateError::Full));
        }
        assert_eq!(updates.commit().await, Err(UpdateError::BadLength));
        assert_eq!(updates.write(b"x").await, Err(UpdateError::BadLength));
        updates.begin(file, 5).await.unwrap();
        assert_eq!(updates.write(b"123456").await, Err(UpdateError::BadLength));
        updates.write(b"1234").await.unwrap();
        assert_eq!(updates.commit().await, Err(UpdateError::BadLength));
        updates.begin(file, 200_000).await.unwrap();
        updates.write(&noise(1, 150_000)).await.unwrap();
        updates.abort().await;
    });
    assert_sound(&card);
    assert_eq!(get(&card, "assets/new"), None);
    let mut none = CardUpdates::<FakeCard>::none();
    let refused = block_on(none.begin(Target::Firmware, 1));
    assert_eq!(refused, Err(UpdateError::Unsupported));
}

#[test]
fn a_power_cut_at_any_write_leaves_the_old_file_or_the_new_one() {
    let fresh = data_folder();
    let cases: [(Target<'_>, &str, usize); 4] = [
        (Target::File("assets/vmlinuz"), "assets/vmlinuz", 9_000),
        (
            Target::File("assets/talos/v1.7.0/a new initramfs.xz"),
            "assets/talos/v1.7.0/a new initramfs.xz",
            9_000,
        ),
        (Target::File("assets/empty"), "assets/empty", 3_000),
        (Target::Firmware, "kernel8.img", 9_000),
    ];
    for (target, path, len) in cases {
        let (old, new) = (get(&fresh, path), Some(noise(40, len)));
        let mut states = [0, 0];
        for cut in 0.. {
            let card = fresh.copy();
            card.cut_after(cut, cut);
            let done = with_card(&card, async |updates, _| {
                update(updates, target, &noise(40, len)).await
            });
            let was_cut = card.0.borrow().error.is_some();
            card.power_on();
            let left = check(&card);
            let found = get(&card, path);
            assert!(found == old || found == new, "{path}, cut after {cut}");
            states[usize::from(found == new)] += 1;
            if done == Some(Ok(())) {
                assert!(found == new, "{path}: done is done");
            }
            for (path, content) in [
                ("ichor.toml", b"mode = \"server\"\n".to_vec()),
                ("filler-7", noise(7, 1500)),
            ] {
                assert!(get(&card, path) == Some(content), "{path}, cut after {cut}");
            }
            if let Some(lines) = fsck(&card) {
                judge(&lines, cut);
            }
            // Whatever was left, the next update works, and the copies of the
            // table agree again.
            let again = with_card(&card, async |updates, _| {
                update(updates, target, &noise(41, len)).await
            });
            assert_eq!(again, Some(Ok(())));
            assert!(get(&card, path) == Some(noise(41, len)));
            let after = check(&card);
            assert_eq!(after.unmirrored, 0);
            assert!(after.leaked <= left.leaked, "{path}, cut after {cut}");
            if !was_cut {
                assert_eq!(left, Leftovers::default());
                break;
            }
        }
        assert!(states[0] > 3 && states[1] >= 1, "{path}: {states:?}");
    }
}

/// What fsck.fat may say after a cut: clusters that belong to nobody, a wrong
/// count of free ones, and copies of the table that differ.
fn judge(lines: &[String], cut: u64) {
    let allowed = [
        "FATs differ",
        "Free cluster summary wrong",
        "Reclaimed ",
        "Orphaned ",
        "Unused cluster",
        "Auto-",
        "Automatically",
        "Leaving filesystem unchanged",
        "Using ",
        "  Auto",
        "Reclaiming unconnected clusters",
        "Not automatically",
    ];
    for line in lines {
        let fine = allowed
            .iter()
            .any(|start| line.trim_start().starts_with(start.trim_start()));
        assert!(fine, "cut after {cut}: {line}\n{lines:#?}");
    }
}
