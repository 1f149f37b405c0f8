//! The lease log on a card whose power fails at any write.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    FAT_BLOCKS, FAT_FIRST, FakeCard, LEASES_BLOCKS, LEASES_FIRST, block_on, image, noise,
};
use ichor_hal::fake::FakeEntropy;
use ichor_hal::{Entropy, LeaseLog};
use ichor_hal_card::{BLOCK, BlockError, Card, CardLog, OpenLogError, Partition, RamLog};

const PARTITION: Partition = Partition {
    first: LEASES_FIRST,
    count: LEASES_BLOCKS,
};

fn card() -> FakeCard {
    image(|disk| common::put(disk, "ichor.toml", b"mode = \"server\"\n"))
}

/// What a log holds that is opened now.
fn content(card: &FakeCard) -> Vec<u8> {
    let shared = Card::new(card.clone());
    let mut log = block_on(CardLog::open(&shared, PARTITION)).unwrap();
    let content = read_all(&mut log);
    assert_eq!(log.len(), content.len() as u64);
    content
}

fn read_all(log: &mut impl LeaseLog) -> Vec<u8> {
    let mut content = Vec::new();
    let mut buf = [0; 100];
    loop {
        match block_on(log.read(content.len() as u64, &mut buf)).unwrap() {
            0 => return content,
            n => content.extend_from_slice(&buf[..n]),
        }
    }
}

#[test]
fn what_was_committed_is_there_again() {
    let card = card();
    let bytes = noise(1, 10_000);
    {
        let shared = Card::new(card.clone());
        let mut log = block_on(CardLog::open(&shared, PARTITION)).unwrap();
        assert!(log.is_empty());
        block_on(log.append(&bytes[..9_000])).unwrap();
        block_on(log.commit()).unwrap();
        block_on(log.append(&bytes[9_000..])).unwrap();
        assert_eq!(read_all(&mut log), bytes);
        let mut buf = [0; 10];
        let n = block_on(log.read(8_995, &mut buf)).unwrap();
        assert_eq!(buf[..n], bytes[8_995..8_995 + n]);
    }
    assert_eq!(content(&card), bytes[..9_000]);
}

#[test]
fn a_commit_is_one_write_of_one_block_and_no_block_is_written_again() {
    let card = card();
    let shared = Card::new(card.clone());
    let mut log = block_on(CardLog::open(&shared, PARTITION)).unwrap();
    card.0.borrow_mut().writes.clear();
    for n in 0..500_u32 {
        block_on(log.append(&[n as u8; 66])).unwrap();
        block_on(log.commit()).unwrap();
        block_on(log.commit()).unwrap();
    }
    let mut places: Vec<_> = card.0.borrow().writes.iter().map(|(at, _)| *at).collect();
    assert_eq!(places.len(), 500);
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 500);
}

#[test]
fn a_full_area_is_packed_into_the_other_one() {
    let card = card();
    let shared = Card::new(card.clone());
    let mut log = block_on(CardLog::open(&shared, PARTITION)).unwrap();
    let mut expected = Vec::new();
    // More commits than an area has blocks, three times.
    for n in 0..1600_u32 {
        let record = n.to_le_bytes().repeat(10);
        block_on(log.append(&record)).unwrap();
        block_on(log.commit()).unwrap();
        expected.extend(record);
    }
    assert_eq!(read_all(&mut log), expected);
    assert_eq!(content(&card), expected);
    // It is not packed for ever.
    let full = (0..100_000)
        .any(|_| block_on(log.append(&[1; 400])).is_err() || block_on(log.commit()).is_err());
    assert!(full);
    assert!(content(&card).starts_with(&expected));
}

/// What the log may hold after a power cut.
struct Model {
    /// All that was appended, and how much of it was committed.
    bytes: Vec<u8>,
    committed: usize,
    /// What a replacement that was being finished would hold.
    other: Option<Vec<u8>>,
}

/// Does something random; false when the power is gone.
fn step<B: ichor_hal_card::Blocks>(
    log: &mut CardLog<'_, B>,
    model: &mut Model,
    random: &mut FakeEntropy,
) -> bool {
    match random.seed() % 40 {
        0 => {
            // A replacement of any length, now and then given up.
            let new = noise(random.seed(), random.seed() as usize % 12_000);
            if block_on(log.begin_rewrite()).is_err() {
                return false;
            }
            for part in new.chunks(700) {
                if block_on(log.append(part)).is_err() {
                    return false;
                }
            }
            if random.seed().is_multiple_of(3) && block_on(log.begin_rewrite()).is_err() {
                return false;
            } else if log.is_empty() {
                // Begun anew: with nothing in it.
                model.other = Some(Vec::new());
            } else {
                model.other = Some(new);
            }
            if block_on(log.finish_rewrite()).is_err() {
                return false;
            }
            model.bytes = model.other.take().unwrap();
            model.committed = model.bytes.len();
            true
        }
        1 => {
            let len = model.bytes.len() - random.seed() as usize % 50.min(model.bytes.len() + 1);
            model.other = Some(model.bytes[..len].to_vec());
            if block_on(log.truncate(len as u64)).is_err() {
                return false;
            }
            model.other = None;
            model.bytes.truncate(len);
            model.committed = model.committed.min(len);
            true
        }
        _ => {
            let bytes = noise(random.seed(), 1 + random.seed() as usize % 900);
            model.bytes.extend(&bytes);
            if block_on(log.append(&bytes)).is_err() {
                return false;
            }
            if !random.seed().is_multiple_of(3) {
                if block_on(log.commit()).is_err() {
                    return false;
                }
                model.committed = model.bytes.len();
            }
            true
        }
    }
}

#[test]
fn after_a_cut_at_any_write_it_holds_a_prefix_with_all_that_was_committed() {
    let mut random = FakeEntropy(7);
    let card = card();
    let mut model = Model {
        bytes: Vec::new(),
        committed: 0,
        other: None,
    };
    let mut cuts = 0;
    for epoch in 0..3000 {
        let shared = Card::new(card.clone());
        card.cut_after(random.seed() % 70, epoch);
        // The power may fail while the log is being opened, too.
        if let Ok(mut log) = block_on(CardLog::open(&shared, PARTITION)) {
            while step(&mut log, &mut model, &mut random) {
                // Keeps within what an area can hold.
                if model.bytes.len() > 60_000 {
                    block_on(log.begin_rewrite()).ok();
                    if block_on(log.finish_rewrite()).is_err() {
                        model.other = Some(Vec::new());
                        break;
                    }
                    model.bytes.clear();
                    model.committed = 0;
                }
            }
            cuts += 1;
        }
        card.power_on();
        let found = content(&card);
        let is_prefix = model.bytes.starts_with(&found) && found.len() >= model.committed;
        let replaced = model.other.take().is_some_and(|other| found == other);
        assert!(
            is_prefix || replaced,
            "epoch {epoch}: {} bytes, {} of {} committed",
            found.len(),
            model.committed,
            model.bytes.len()
        );
        model.bytes = found;
        model.committed = model.bytes.len();
    }
    assert!(cuts > 2000);
}

#[test]
fn a_write_that_fails_can_be_tried_again() {
    let card = card();
    let shared = Card::new(card.clone());
    let mut log = block_on(CardLog::open(&shared, PARTITION)).unwrap();
    let mut expected = Vec::new();
    let mut random = FakeEntropy(3);
    for n in 0..400 {
        let bytes = noise(n, 1 + random.seed() as usize % 1500);
        if random.seed().is_multiple_of(3) {
            card.cut_after(random.seed() % 4, n);
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            // An append that fails took an unknown part: only small ones are
            // sure to be taken whole or not at all.
            let (now, later) = rest.split_at(rest.len().min(8));
            if block_on(log.append(now)).is_err() {
                card.power_on();
                block_on(log.append(now)).unwrap();
            }
            expected.extend_from_slice(now);
            rest = later;
        }
        if block_on(log.commit()).is_err() {
            card.power_on();
            if random.seed().is_multiple_of(2) {
                continue;
            }
            block_on(log.commit()).unwrap();
        }
        card.power_on();
        block_on(log.commit()).unwrap();
        if expected.len() > 50_000 {
            // Also replacements that fail, after which the old log goes on.
            block_on(log.begin_rewrite()).unwrap();
            block_on(log.append(b"new")).unwrap();
            card.cut_after(random.seed() % 5, n);
            let finished = block_on(log.finish_rewrite());
            card.power_on();
            if finished.is_ok() {
                expected = b"new".to_vec();
            }
        }
    }
    block_on(log.commit()).unwrap();
    assert_eq!(read_all(&mut log), expected);
    assert_eq!(content(&card), expected);
}

#[test]
fn a_damaged_block_costs_what_is_in_it() {
    let card = card();
    {
        let shared = Card::new(card.clone());
        let mut log = block_on(CardLog::open(&shared, PARTITION)).unwrap();
        for n in 0..100 {
            block_on(log.append(&[n; 50])).unwrap();
            block_on(log.commit()).unwrap();
        }
    }
    let last = card.0.borrow().writes.last().unwrap().0;
    let first = last - 99;
    let whole: Vec<u8> = (0..100).flat_map(|n| [n; 50]).collect();
    for bad in [first, first + 1, first + 50, last] {
        let expected: Vec<u8> = whole
            .chunks(50)
            .enumerate()
            .filter(|(n, _)| first + *n as u32 != bad)
            .flat_map(|(_, record)| record.to_vec())
            .collect();
        // Unreadable, or readable and wrong.
        let unreadable = card.copy();
        unreadable.0.borrow_mut().bad.push(bad);
        assert_eq!(content(&unreadable), expected);
        let wrong = card.copy();
        wrong.0.borrow_mut().bytes[bad as usize * BLOCK + 40] ^= 1;
        assert_eq!(content(&wrong), expected);
    }
}

#[test]
fn one_of_the_two_copies_of_a_head_is_enough() {
    let card = card();
    {
        let shared = Card::new(card.clone());
        let mut log = block_on(CardLog::open(&shared, PARTITION)).unwrap();
        block_on(log.append(b"lease")).unwrap();
        block_on(log.commit()).unwrap();
    }
    let area = LEASES_BLOCKS / 2;
    for head in [LEASES_FIRST, LEASES_FIRST + area - 1] {
        let damaged = card.copy();
        damaged.0.borrow_mut().bytes[head as usize * BLOCK] ^= 1;
        assert_eq!(content(&damaged), b"lease");
        damaged.0.borrow_mut().bad.push(head);
        assert_eq!(content(&damaged), b"lease");
    }
}

#[test]
fn what_is_no_log_is_not_overwritten() {
    let open = |card: &FakeCard, partition| {
        let shared = Card::new(card.clone());
        block_on(CardLog::open(&shared, partition)).map(drop)
    };
    let foreign = card();
    let start = LEASES_FIRST as usize * BLOCK;
    foreign.0.borrow_mut().bytes[start..start + 9].copy_from_slice(b"my thesis");
    assert_eq!(open(&foreign, PARTITION), Err(OpenLogError::Foreign));
    assert!(foreign.0.borrow().writes.is_empty());
    let erased = card();
    let end = start + LEASES_BLOCKS as usize * BLOCK;
    erased.0.borrow_mut().bytes[start..end].fill(0xFF);
    assert_eq!(open(&erased, PARTITION), Ok(()));
    let small = Partition {
        count: 100,
        ..PARTITION
    };
    let error = open(&card(), small).unwrap_err();
    assert!(error.to_string().contains("less than 64 KiB"), "{error}");
    let absent = card();
    absent.0.borrow_mut().error = Some(BlockError::Absent);
    assert_eq!(
        open(&absent, PARTITION),
        Err(OpenLogError::Card(BlockError::Absent))
    );
}

#[test]
fn nothing_outside_of_its_partition_is_written() {
    let card = card();
    let before = card.bytes(0, FAT_FIRST + FAT_BLOCKS);
    let shared = Card::new(card.clone());
    let mut log = block_on(CardLog::open(&shared, PARTITION)).unwrap();
    for n in 0..2000_u32 {
        block_on(log.append(&n.to_le_bytes())).unwrap();
        block_on(log.commit()).unwrap();
    }
    assert!(card.bytes(0, FAT_FIRST + FAT_BLOCKS) == before);
    let writes = &card.0.borrow().writes;
    assert!(writes.iter().all(|(at, _)| *at >= LEASES_FIRST));
}

#[test]
fn without_a_card_leases_are_kept_in_ram() {
    let mut log = RamLog::<256>::new();
    for n in 0..100 {
        block_on(log.append(&[n; 10])).unwrap();
        block_on(log.commit()).unwrap();
    }
    let content = read_all(&mut log);
    assert!(!content.is_empty() && content.ends_with(&[99; 10]));
    block_on(log.begin_rewrite()).unwrap();
    block_on(log.append(b"all")).unwrap();
    block_on(log.finish_rewrite()).unwrap();
    assert_eq!(read_all(&mut log), b"all");
}
