//! What is JSON, what is not, and how it reads.

use super::*;
use Reason::*;

#[test]
fn accepts() {
    let nested = [b"[".repeat(32), b"]".repeat(32)].concat();
    let table: &[&[u8]] = &[
        b"null",
        b" true ",
        b"false",
        b"0",
        b"-0",
        b"-0.5e+10",
        b"1E308",
        b"\"\"",
        b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        b"\"\x7f\xff\"",
        b"[]",
        b"[ ]",
        b"[1,[2,{}],\"\"]",
        b"{}",
        b"{\"\":{\"a\":[]}}",
        b"{\"a\":1,\"a\":2}\r\n\t",
        &nested,
    ];
    for text in table {
        assert!(parse(text).is_ok(), "{:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn rejects_with_line_and_reason() {
    let deep = b"[".repeat(33);
    let table: &[(&[u8], u32, Reason)] = &[
        (b"", 1, Expected("a value", None)),
        (b"\n\n", 3, Expected("a value", None)),
        (b"{\"a\":1,\n}", 2, TrailingComma),
        (b"[1,]", 1, TrailingComma),
        (b"[,]", 1, Expected("a value", Some(b','))),
        (b"[1 2]", 1, Expected("',' or ']'", Some(b'2'))),
        (b"{\"a\":1\n\"b\":2}", 2, Expected("',' or '}'", Some(b'"'))),
        (b"{\"a\" 1}", 1, Expected("':'", Some(b'1'))),
        (b"{a:1}", 1, Expected("a key in double quotes", Some(b'a'))),
        (b"{1:1}", 1, Expected("a key in double quotes", Some(b'1'))),
        (b"{\"a\":1", 1, Expected("',' or '}'", None)),
        (b"{\"a\":}", 1, Expected("a value", Some(b'}'))),
        (b"{} {}", 1, Expected("the end of the file", Some(b'{'))),
        (b"1]", 1, Expected("the end of the file", Some(b']'))),
        (b"# group\n{}", 1, Comment),
        (b"{\n// x\n}", 2, Comment),
        (b"'a'", 1, Expected("a value", Some(b'\''))),
        (b"\"a", 1, Expected("a closing '\"'", None)),
        (b"[\n\"a\nb\"]", 2, ControlCharacter),
        (b"\"\x00\"", 1, ControlCharacter),
        (b"\"\\x\"", 1, Escape),
        (b"\"\\u12g4\"", 1, Escape),
        (b"\"\\u12", 1, Escape),
        (b"01", 1, Number),
        (b"1.", 1, Number),
        (b".5", 1, Expected("a value", Some(b'.'))),
        (b"+1", 1, Expected("a value", Some(b'+'))),
        (b"-", 1, Number),
        (b"1e", 1, Number),
        (b"0x10", 1, Number),
        (b"1e999", 1, NumberRange),
        (
            b"nul",
            1,
            Expected("true, false, null or a quoted string", Some(b'n')),
        ),
        (b"True", 1, Expected("a value", Some(b'T'))),
        (b"NaN", 1, Expected("a value", Some(b'N'))),
        (b"\xef\xbb\xbf{}", 1, ByteOrderMark),
        (&deep, 1, TooDeep),
    ];
    for (text, line, reason) in table {
        let want = Error {
            line: *line,
            reason: *reason,
        };
        assert_eq!(
            parse(text),
            Err(want),
            "{:?}",
            String::from_utf8_lossy(text)
        );
    }
}

#[test]
fn strings_unescape_as_in_go() {
    let table: &[(&[u8], &str)] = &[
        (b"\"plain\"", "plain"),
        (b"\"a\\nb\\t\\\"\\\\\\/\"", "a\nb\t\"\\/"),
        (b"\"\\u0041\\u00e9\"", "Aé"),
        (b"\"\\ud83d\\ude00!\"", "😀!"),
        (b"\"\\ud83d!\"", "\u{fffd}!"),
        (b"\"\\ud83d\\u0041\"", "\u{fffd}A"),
        (b"\"\\ude00\"", "\u{fffd}"),
        (b"\"a\xff\xc3\"", "a\u{fffd}\u{fffd}"),
        ("\"žluť 😀\"".as_bytes(), "žluť 😀"),
    ];
    for (text, want) in table {
        let string = parse(text).unwrap().string().unwrap();
        assert_eq!(string.to_string(), *want);
        assert!(string == **want);
        assert_eq!(string.unescape(&mut [0; 32]), Some(*want));
    }
    let string = parse(b"\"12345\"").unwrap().string().unwrap();
    assert_eq!(string.unescape(&mut [0; 4]), None);
}

#[test]
fn members_before_an_error_are_read() {
    let mut reader = Reader::new(b"{\"a\": {\"x\": [1]},\n \"b\": 2\n \"c\": 3}");
    reader.begin_object().unwrap();
    assert!(reader.key().unwrap().unwrap() == *"a");
    assert_eq!(reader.value().unwrap().raw(), b"{\"x\": [1]}");
    assert!(reader.key().unwrap().unwrap().is_key("B"));
    assert_eq!(reader.value().unwrap().number(), Some(2.0));
    assert_eq!(reader.key().map(drop).unwrap_err().line, 3);
}

#[test]
fn values_are_walked() {
    use Kind::*;
    let value = parse(br#"{"a":[1,"x",null,[],{}], "b":true, "a":{"c":{}}}"#).unwrap();
    let keys: Vec<_> = value
        .members()
        .map(|(k, v)| (k.to_string(), v.kind()))
        .collect();
    assert_eq!(
        keys,
        [
            ("a".to_owned(), Array),
            ("b".to_owned(), Bool),
            ("a".to_owned(), Object)
        ]
    );
    let items: Vec<_> = value
        .members()
        .next()
        .unwrap()
        .1
        .items()
        .map(Value::kind)
        .collect();

    assert_eq!(items, [Number, String, Null, Array, Object]);
    assert_eq!(value.items().count(), 0);
    let (_, inner) = value.members().last().unwrap();
    let (_, innermost) = inner.members().next().unwrap();
    assert_eq!((inner.at(), innermost.at()), (39, 44));
}

#[test]
fn no_mutation_of_a_file_goes_wrong() {
    let file = br#"{"id":"n1","selector":{"mac":"52:54:00:12:34:56"},"metadata":{"a":[1,2.5e3,{"b":"\u00e9\n"}]}}"#;
    let mut noise = 1_u32;
    for _ in 0..20_000 {
        let mut text = file.to_vec();
        for _ in 0..3 {
            if text.is_empty() {
                break;
            }
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (noise >> 8) as usize % text.len();
            match noise >> 30 {
                0 => text[at] = (noise >> 16) as u8,
                1 => drop(text.remove(at)),
                2 => text.insert(at, b"{}[]\",:\\"[(noise >> 5) as usize % 8]),
                _ => text.truncate(at.max(1)),
            }
        }
        if let Ok(value) = parse(&text) {
            walk(value);
        }
        walk(Value::checked_before(&text, 0));
    }
}

fn walk(value: Value<'_>) {
    value.string().map(|s| s.to_string());
    value.number();
    for (key, value) in value.members() {
        key.to_string();
        walk(value);
    }
    value.items().for_each(walk);
}
