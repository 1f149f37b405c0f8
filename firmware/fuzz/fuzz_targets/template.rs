//! Any text as a template: it ends, it repeats, and what the check refuses never renders.
#![no_main]

use ichor::catalog::{Data, Labels, Window, json, template};
use libfuzzer_sys::fuzz_target;

const METADATA: &[u8] = br#"{
    "s": "text", "n": 3, "f": 2.5, "yes": true, "nil": null, "list": ["a", ["b"], {"c": 1}],
    "map": {"z": 1, "a": {"deep": "\u00e9\n"}}, "none": []
}"#;

fuzz_target!(|text: &str| {
    let checked = template::check(text);
    let labels = Labels::from_query([("mac", "52-54-00-12-34-56"), ("os", "x")]).expect("two fit");
    let metadata = json::parse(METADATA).expect("written by hand");
    let data = Data::new(metadata, &labels, "mac=52-54-00-12-34-56&os=x");
    let mut all = String::new();
    let rendered = template::render(text, &data, &mut all);
    if checked.is_err() {
        assert!(rendered.is_err());
    }
    let mut room = vec![0; all.len() + 1];
    let mut window = Window::new(0, &mut room);
    assert_eq!(template::render(text, &data, &mut window), rendered);
    assert_eq!(window.bytes(), all.as_bytes());
});
