//! What the pages say, and that they can be read whatever is in them.

use super::*;
use crate::update::KeyError;

const IDENTITY: Identity = Identity {
    board: "cm3",
    version: "0.1.0",
};

fn problem(severity: Severity, path: &str, reason: &str, tell: impl Fn(&Problem<'_>)) {
    tell(&Problem {
        severity,
        path,
        line: 3,
        reason,
    });
}

/// A board that has everything to tell.
fn troubled() -> Health {
    let health = Health::new(IDENTITY);
    health.set_address(Ipv4Addr::new(192, 0, 2, 1));
    health.set_leases(12);
    health.trouble("usb", format_args!("no adapter"));
    health.trouble("card", format_args!("broken"));
    health.trouble(
        "card",
        format_args!("missing: serving DHCP from RAM, leases are lost at power-off"),
    );
    health.catalog_loading();
    problem(Severity::Error, "groups/a.json", "no \"profile\"", |p| {
        health.catalog_problem(p);
    });
    health.catalog_loaded(Summary {
        groups: 2,
        profiles: 1,
        templates: 0,
        errors: 1,
        warnings: 2,
        bytes: 300,
    });
    health
}

#[test]
fn a_status_for_people() {
    let health = troubled();
    let page = health.page(
        Format::Text,
        Instant::from_secs(273_906),
        Some(State::Ready),
    );
    assert_eq!(
        page,
        "ichor 0.1.0 on cm3, up 3 d 04:05:06\n\
         address: 192.0.2.1\n\
         leases in use: 12\n\
         updates: ready\n\
         troubles: 2\n\
         \x20 usb: no adapter\n\
         \x20 card: missing: serving DHCP from RAM, leases are lost at power-off\n\
         catalog: 2 groups, 1 profiles, 0 templates (300 bytes); 1 errors, 2 warnings\n\
         \x20 error: groups/a.json:3: no \"profile\"\n\
         \x20 and 2 more, see the log\n"
    );
    health.well("usb");
    health.well("card");
    let page = health.page(Format::Text, Instant::from_secs(61), None);
    assert!(page.contains("up 00:01:01\n"), "{page}");
    assert!(page.contains("troubles: 0\ncatalog"), "{page}");
}

#[test]
fn a_status_for_programs() {
    let page = troubled().page(Format::Json, Instant::from_secs(61), Some(State::Busy));
    assert_eq!(
        page,
        concat!(
            r#"{"board":"cm3","version":"0.1.0","uptime_seconds":61,"#,
            r#""address":"192.0.2.1","leases":12,"updates":"an update is under way","#,
            r#""troubles":[{"part":"usb","text":"no adapter"},"#,
            r#"{"part":"card","text":"missing: serving DHCP from RAM, leases are lost at power-off"}],"#,
            r#""catalog":{"groups":2,"profiles":1,"templates":0,"errors":1,"warnings":2,"#,
            r#""problems":[{"severity":"error","path":"groups/a.json","line":3,"#,
            r#""reason":"no \"profile\""}]}}"#,
            "\n"
        )
    );
    let page = Health::new(IDENTITY).page(Format::Json, Instant::from_secs(0), None);
    assert_eq!(
        page,
        concat!(
            r#"{"board":"cm3","version":"0.1.0","uptime_seconds":0,"address":null,"#,
            r#""leases":null,"updates":null,"troubles":[],"catalog":{"problems":[]}}"#,
            "\n"
        )
    );
}

#[test]
fn errors_are_shown_before_warnings() {
    let health = Health::new(IDENTITY);
    for n in 0..PROBLEMS + 2 {
        let path = format!("profiles/w{n}.json");
        problem(Severity::Warning, &path, "odd", |p| {
            health.catalog_problem(p);
        });
    }
    for path in ["groups/e1.json", "groups/e2.json"] {
        problem(Severity::Error, path, "broken", |p| {
            health.catalog_problem(p);
        });
    }
    let page = health.page(Format::Text, Instant::from_secs(0), None);
    for shown in ["w0.json", "w1.json", "e1.json", "e2.json"] {
        assert!(page.contains(shown), "{page}");
    }
    assert!(!page.contains("w2.json"), "{page}");
}

/// Brackets in balance outside of strings, and no raw control character: what
/// a parser of JSON would stumble over first.
fn is_well_formed(json: &str) -> bool {
    let (mut open, mut string, mut escaped) = (Vec::<char, 16>::new(), false, false);
    for c in json.trim_end_matches('\n').chars() {
        match c {
            '\0'..' ' => return false,
            _ if escaped => escaped = false,
            '\\' if string => escaped = true,
            '"' => string = !string,
            _ if string => {}
            '{' | '[' => open.push(c).unwrap(),
            '}' if open.pop() == Some('{') => {}
            ']' if open.pop() == Some('[') => {}
            '}' | ']' => return false,
            _ => {}
        }
    }
    open.is_empty() && !string
}

#[test]
fn the_longest_pages_leave_out_items_and_stay_whole() {
    for fill in ["x", "\"", "\n", "é", "\\\r"] {
        let health = Health::new(IDENTITY);
        health.set_address(Ipv4Addr::BROADCAST);
        health.set_leases(usize::MAX);
        let parts = ["a", "b", "c", "d", "e", "f", "g", "h", "one too many"];
        for part in parts {
            health.trouble(part, format_args!("{}", fill.repeat(500)));
        }
        for _ in 0..PROBLEMS + 1 {
            let (path, reason) = (fill.repeat(300), fill.repeat(300));
            problem(Severity::Error, &path, &reason, |p| {
                health.catalog_problem(p);
            });
        }
        health.catalog_loaded(Summary {
            groups: usize::MAX,
            profiles: usize::MAX,
            templates: usize::MAX,
            errors: PROBLEMS + 1,
            warnings: 0,
            bytes: usize::MAX,
        });
        let state = Some(State::NoKey(KeyError::Missing));
        let json = health.page(Format::Json, Instant::MAX, state);
        assert!(is_well_formed(&json), "{json}");
        assert!(json.contains(r#""errors":5,"#), "{json}");
        assert!(json.ends_with("]}}\n"), "{json}");
        let text = health.page(Format::Text, Instant::MAX, state);
        assert!(text.contains("troubles: 8\n"), "{text}");
        assert!(text.contains("catalog: "), "{text}");
        assert!(!text.contains('\r'), "{text}");
        for line in text.lines() {
            let known = ["ichor ", "address: ", "leases ", "updates: ", "troubles: "];
            let known = known.iter().any(|begin| line.starts_with(begin));
            assert!(
                known || line.starts_with("  ") || line.starts_with("catalog: "),
                "{line}"
            );
        }
    }
}
