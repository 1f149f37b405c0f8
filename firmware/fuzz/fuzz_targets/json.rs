//! Any bytes as JSON: nothing goes wrong, and what was accepted reads whole.
#![no_main]

use ichor::catalog::json::{self, Kind, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    match json::parse(text) {
        Ok(value) => walk(value, text),
        Err(error) => {
            let lines = text.iter().filter(|&&b| b == b'\n').count() + 1;
            assert!((1..=lines).contains(&(error.line as usize)));
            assert!(!error.to_string().is_empty());
        }
    }
});

/// Every value lies where it says, and is itself a text that is accepted.
fn walk(value: Value<'_>, text: &[u8]) {
    assert_eq!(&text[value.at()..][..value.raw().len()], value.raw());
    assert_eq!(json::parse(value.raw()).map(Value::kind), Ok(value.kind()));
    match value.kind() {
        Kind::Null => {}
        Kind::Bool => assert!(value.bool().is_some()),
        Kind::Number => assert!(value.number().is_some_and(f64::is_finite)),
        Kind::String => {
            let string = value.string().expect("a string by its kind");
            let shown = string.to_string();
            assert!(string == *shown.as_str());
            assert_eq!(
                string.unescape(&mut vec![0; shown.len()]),
                Some(shown.as_str())
            );
        }
        Kind::Array => value.items().for_each(|item| walk(item, text)),
        Kind::Object => value.members().for_each(|(_, member)| walk(member, text)),
    }
}
