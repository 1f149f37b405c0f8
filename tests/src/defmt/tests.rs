//! Serial lines as boards make them, by defmt's own encoder.

use object::write::{Object, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

use super::*;

/// Messages of a program: index, tag, format. The index of a message is where
/// it stands in the section `.defmt`.
const MESSAGES: [(u64, &str, &str); 4] = [
    (0x10, "defmt_info", "lease {=u8}.{=u8} to {=str}"),
    // An index that is a letter, in a frame that begins like text.
    (0x41, "defmt_warn", "card missing"),
    (0x42, "defmt_error", "gave up after {=u32} tries"),
    (0x43, "defmt_println", "plain {=bool}"),
];
const LEASE: u16 = 0x10;
const CARD: u16 = 0x41;
const TRIES: u16 = 0x42;
const PLAIN: u16 = 0x43;

/// The ELF file of a program with these messages, as a linker leaves it.
fn elf(encoding: &str) -> Vec<u8> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Aarch64, Endianness::Little);
    let section = object.add_section(Vec::new(), b".defmt".to_vec(), SectionKind::ReadOnlyData);
    object.append_section_data(section, &[0; 256], 1);
    let mut symbol = |name: String, value, section| {
        object.add_symbol(Symbol {
            name: name.into_bytes(),
            value,
            size: 1,
            kind: SymbolKind::Data,
            scope: SymbolScope::Linkage,
            weak: false,
            section,
            flags: SymbolFlags::None,
        });
    };
    symbol("_defmt_version_ = 4".into(), 0, SymbolSection::Absolute);
    symbol(
        format!("_defmt_encoding_ = {encoding}"),
        0,
        SymbolSection::Absolute,
    );
    let time = (0x01, "defmt_timestamp", "{=u64:us}");
    for (index, tag, data) in MESSAGES.into_iter().chain([time]) {
        let name = format!(
            r#"{{"package":"ichor","tag":"{tag}","data":"{data}","disambiguator":"{index}","crate_name":"ichor"}}"#
        );
        symbol(name, index, SymbolSection::Section(section));
    }
    object.write().unwrap()
}

fn program() -> Program {
    Program::parse(&elf("rzcobs")).unwrap()
}

/// A frame as the board's logger writes it, with the zero before and after.
fn frame(index: u16, micros: u64, arguments: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = defmt::Encoder::new();
    let mut write = |written: &[u8]| bytes.extend_from_slice(written);
    encoder.start_frame(&mut write);
    encoder.write(&index.to_le_bytes(), &mut write);
    encoder.write(&micros.to_le_bytes(), &mut write);
    encoder.write(arguments, &mut write);
    encoder.end_frame(&mut write);
    bytes
}

fn lease(micros: u64, name: &str) -> Vec<u8> {
    let len = u32::try_from(name.len()).unwrap().to_le_bytes();
    frame(
        LEASE,
        micros,
        &[&[2, 10][..], &len, name.as_bytes()].concat(),
    )
}

/// What is said, each as text, when the bytes come all at once and when they
/// come one by one: it must not matter.
fn decoded(bytes: &[u8]) -> Vec<String> {
    let text = |said: Vec<Said>| said.into_iter().map(|said| said.to_string());
    let mut decoder = Decoder::new(Some(program()));
    let mut at_once: Vec<String> = text(decoder.push(bytes)).collect();
    at_once.extend(text(decoder.end()));

    let mut decoder = Decoder::new(Some(program()));
    let mut one_by_one = Vec::new();
    for byte in bytes {
        one_by_one.extend(text(decoder.push(&[*byte])));
    }
    one_by_one.extend(text(decoder.end()));
    assert_eq!(at_once, one_by_one);
    at_once
}

#[test]
fn messages_come_with_time_and_level() {
    let line = [
        lease(1_002_003, "node-1"),
        frame(CARD, 2_000_000, &[]),
        frame(TRIES, 70_000_000, &3_u32.to_le_bytes()),
        frame(PLAIN, 70_000_001, &[1]),
    ]
    .concat();
    assert_eq!(
        decoded(&line),
        [
            "1.002003 INFO  lease 2.10 to node-1",
            "2.000000 WARN  card missing",
            "70.000000 ERROR gave up after 3 tries",
            "70.000001 plain true",
        ]
    );
}

#[test]
fn every_length_and_content_of_a_message_survives_its_framing() {
    for len in 0..300 {
        let name: String = ('!'..='~').cycle().take(len).collect();
        // Times with and without zeros among their bytes.
        for micros in [0, 0x0A0D_0A0D, 0x0102_0304_0506] {
            let said = Decoder::new(Some(program())).push(&lease(micros, &name));
            let [Said::Log(log)] = &said[..] else {
                panic!("{len} {micros}: {said:?}");
            };
            assert_eq!(log.message, format!("lease 2.10 to {name}"));
        }
    }
}

#[test]
fn text_before_between_and_after_frames_is_passed_through() {
    let line = [
        b"Raspberry Pi Bootcode\r\n\r\nFound SD card\nichor 0.1.0 on a CM3\r\n".to_vec(),
        lease(1, "a"),
        b"\0card pulled \xE2\x80\x93 serving from RAM\r\n\0".to_vec(),
        lease(2, "b"),
        b"\0\nPANIC: out of cheese\r\nat main.rs:1\r\n\0".to_vec(),
        b"Raspberry Pi Bootcode\r\n".to_vec(),
    ]
    .concat();
    assert_eq!(
        decoded(&line),
        [
            "Raspberry Pi Bootcode",
            "Found SD card",
            "ichor 0.1.0 on a CM3",
            "0.000001 INFO  lease 2.10 to a",
            "card pulled – serving from RAM",
            "0.000002 INFO  lease 2.10 to b",
            "PANIC: out of cheese",
            "at main.rs:1",
            "Raspberry Pi Bootcode",
        ]
    );
}

#[test]
fn text_is_shown_before_the_zero_that_ends_it() {
    let mut decoder = Decoder::new(Some(program()));
    assert_eq!(
        decoder.push(b"Found SD card\n").len(),
        1,
        "before any frame"
    );
    decoder.push(&lease(1, "a"));
    assert_eq!(
        decoder.push(b"EXCEPTION at 0x80000\r\n").len(),
        1,
        "a sure line"
    );
    assert_eq!(
        decoder.push(b"x0 1\n").len(),
        1,
        "in text, the short ones too"
    );

    decoder.push(b"\0");
    assert_eq!(decoder.push(b"help!\n"), [], "this could be a frame");
    assert_eq!(
        decoder.idle(),
        [Said::Text("help!".into())],
        "unless nothing follows"
    );
    assert_eq!(decoder.idle(), []);
}

#[test]
fn a_frame_cut_by_a_reset_costs_itself_alone() {
    let whole = lease(0x0102_0304_0506, "node-1");
    for cut in 2..whole.len() - 1 {
        let line = [
            &frame(CARD, 1, &[])[..],
            &whole[..cut],
            b"Raspberry Pi Bootcode\r\nok\r\n",
            &frame(CARD, 2, &[]),
        ]
        .concat();
        let said = decoded(&line);
        assert_eq!(said[0], "0.000001 WARN  card missing");
        let rest = &said[said.len() - 3..];
        assert!(
            rest[0].ends_with("Raspberry Pi Bootcode"),
            "{cut}: {said:?}"
        );
        assert_eq!(rest[1..], ["ok", "0.000002 WARN  card missing"], "{cut}");
        assert!(said.len() <= 5, "{cut}: {said:?}");
    }
}

#[test]
fn a_line_joined_in_the_middle_of_a_frame_starts_with_the_next() {
    let whole = lease(0x0102_0304_0506, "node-1");
    for from in 2..whole.len() - 1 {
        let line = [&whole[from..], &frame(CARD, 2, &[])].concat();
        let said = decoded(&line);
        assert_eq!(said.last().unwrap(), "0.000002 WARN  card missing");
        assert!(
            !said.iter().any(|said| said.contains("bytes that are")),
            "{from}: {said:?}"
        );
    }
}

#[test]
fn noise_is_counted_and_never_more_than_lost() {
    // A generator of Park and Miller's, for the same noise each time.
    let mut state = 1_u64;
    let mut random = move || {
        state = state * 48_271 % 0x7FFF_FFFF;
        state
    };
    let good = frame(CARD, 9, &[]);
    for _ in 0..20_000 {
        let mut noise = lease(0x0102_0304_0506, "node-number-1");
        for _ in 0..=random() % 4 {
            let at = usize::try_from(random()).unwrap() % noise.len();
            noise[at] = u8::try_from(random() % 256).unwrap();
        }
        let mut decoder = Decoder::new(Some(program()));
        decoder.push(&noise);
        let said = decoder.push(&good);
        let last = said.last().map(ToString::to_string);
        assert_eq!(
            last.as_deref(),
            Some("0.000009 WARN  card missing"),
            "{noise:02x?}"
        );
    }
    let mut lost = decoded(&[&[0][..], &[0x9B; 40], &[0], &good].concat());
    assert_eq!(
        lost.remove(0),
        "(40 bytes that are no text and no frame of this program)"
    );
}

#[test]
fn without_the_program_text_is_still_read() {
    let mut decoder = Decoder::new(None);
    let said = decoder.push(&[&b"banner\r\n"[..], &lease(1, "a"), b"\0oh no\r\n\0"].concat());
    let [Said::Text(banner), Said::Lost(_), Said::Text(text)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((&**banner, &**text), ("banner", "oh no"));
}

#[test]
fn a_reader_gives_lines_that_a_console_can_record() {
    let line = [
        b"banner\r\n".to_vec(),
        lease(1, "a"),
        b"last words".to_vec(),
    ]
    .concat();
    let mut text = String::new();
    Reader::new(&line[..], Some(program()))
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "banner\n0.000001 INFO  lease 2.10 to a\nlast words\n");
}

#[test]
fn a_program_that_cannot_be_decoded_says_why() {
    for (elf, says) in [
        (elf("raw"), "encoding-rzcobs"),
        (elf("morse"), "morse"),
        (b"no elf".to_vec(), ""),
    ] {
        let error = format!("{:#}", Program::parse(&elf).unwrap_err());
        assert!(error.contains(says), "{error}");
    }
    let empty = Object::new(BinaryFormat::Elf, Architecture::Aarch64, Endianness::Little);
    let error = Program::parse(&empty.write().unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no messages"), "{error}");
}
