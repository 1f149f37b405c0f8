//! Whole folders, from files to answers.

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use ichor_hal::FileError;
use ichor_hal::fake::FakeFiles;

use super::*;

type Small = Catalog<16384, 8, 8, 8>;

const MAC: &str = "52:54:00:12:34:56";

/// Loads a folder; the problems come as text, warnings with a `~`.
fn load_into<const A: usize, const G: usize, const P: usize, const T: usize>(
    catalog: &mut Catalog<A, G, P, T>,
    files: &FakeFiles,
) -> (Summary, std::vec::Vec<String>) {
    let mut problems = std::vec::Vec::new();
    let mut report = |problem: Problem<'_>| {
        let mark = match problem.severity {
            Severity::Error => "",
            Severity::Warning => "~",
        };
        problems.push(format!("{mark}{problem}"));
    };
    let summary = {
        let mut load = pin!(catalog.load(files, &mut report));
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(summary) = load.as_mut().poll(&mut cx) {
                break summary;
            }
        }
    };
    (summary, problems)
}

fn folder(files: &[(&str, &str)]) -> FakeFiles {
    let folder = FakeFiles::new();
    for (path, text) in files {
        folder.put(path, text);
    }
    folder
}

fn load(files: &[(&str, &str)]) -> (Small, std::vec::Vec<String>) {
    let mut catalog = Small::new();
    let (_, problems) = load_into(&mut catalog, &folder(files));
    (catalog, problems)
}

fn labels(query: &[(&str, &str)]) -> Labels {
    Labels::from_query(query.iter().copied()).unwrap()
}

fn mac(mac: &str) -> Labels {
    labels(&[("mac", mac)])
}

/// The body of an answer, or the refusal after a `!`.
fn get(catalog: &Small, endpoint: Endpoint, labels: &Labels) -> String {
    match catalog.answer(endpoint, labels, "raw=1&x=%20") {
        Ok(answer) => {
            let mut body = String::new();
            answer.render(&mut body).unwrap();
            assert_eq!(body.len(), answer.len());
            body
        }
        Err(refusal) => {
            assert_eq!(refusal.status(), 404);
            format!("!{refusal}")
        }
    }
}

fn group(catalog: &Small, labels: &Labels) -> String {
    match catalog.select(labels) {
        Ok(selected) => selected.group.to_owned(),
        Err(refusal) => format!("!{refusal}"),
    }
}

const TALOS_PROFILE: &str = r#"{
  "id": "talos-cp",
  "name": "Talos control plane",
  "boot": {
    "kernel": "/assets/vmlinuz",
    "initrd": ["/assets/initramfs.xz"],
    "args": ["initrd=initramfs.xz", "init_on_alloc=1", "slab_nomerge", "pti=on", "console=tty0",
      "printk.devkmsg=on", "talos.platform=metal",
      "talos.config=http://192.0.2.1:8080/generic?mac=${mac:hexhyp}"]
  },
  "generic_id": "talos.yaml"
}"#;

const TALOS: &[(&str, &str)] = &[
    (
        "groups/cp1.json",
        r#"{"id":"cp1","name":"cp1","profile":"talos-cp","selector":{"mac":"52-54-00-12-34-56"},
            "metadata":{"hostname":"cp1","port":6443,"sans":["192.0.2.2","cp1.lan"],"install":{"disk":"/dev/sda","wipe":false}}}"#,
    ),
    (
        "groups/default.json",
        r#"{"id":"default","profile":"rescue"}"#,
    ),
    ("groups/README.md", "not a group"),
    ("profiles/talos-cp.json", TALOS_PROFILE),
    (
        "profiles/rescue.json",
        r#"{"id":"rescue","boot":{"kernel":"/assets/rescue"}}"#,
    ),
    ("profiles/notes.txt", "not a profile"),
    (
        "generic/talos.yaml",
        "machine:\n  network:\n    hostname: {{.hostname}}\n  certSANs:\n  {{- range .sans}}\n    - {{.}}\n  {{- end}}\n\
         {{- with .install}}\n  install: {disk: {{.disk}}{{if .wipe}}, wipe: true{{end}}}\n{{- end}}\n# {{.mac}} {{.port}} {{.request.raw_query}}\n",
    ),
    ("generic/unused", "{{ broken, but no profile names it"),
    ("assets/vmlinuz", "kernel"),
];

#[test]
fn a_talos_folder() {
    let (catalog, problems) = load(TALOS);
    assert!(problems.is_empty(), "{problems:?}");
    let cp1 = mac("52-54-00-12-34-56");
    assert_eq!(
        get(&catalog, Endpoint::Ipxe, &cp1),
        "#!ipxe\nkernel /assets/vmlinuz initrd=initramfs.xz init_on_alloc=1 slab_nomerge pti=on console=tty0 \
         printk.devkmsg=on talos.platform=metal talos.config=http://192.0.2.1:8080/generic?mac=${mac:hexhyp}\n\
         initrd /assets/initramfs.xz\nboot\n"
    );
    assert_eq!(
        get(&catalog, Endpoint::Generic, &cp1),
        "machine:\n  network:\n    hostname: cp1\n  certSANs:\n    - 192.0.2.2\n    - cp1.lan\n  \
         install: {disk: /dev/sda}\n# 52:54:00:12:34:56 6443 raw=1&x=%20\n"
    );
    assert_eq!(
        get(&catalog, Endpoint::Metadata, &cp1),
        "HOSTNAME=cp1\nINSTALL_DISK=/dev/sda\nINSTALL_WIPE=false\nMAC=52:54:00:12:34:56\nPORT=6443\n\
         REQUEST_QUERY_MAC=52:54:00:12:34:56\nREQUEST_RAW_QUERY=raw=1&x=%20\n"
    );
    let answer = catalog.answer(Endpoint::Ipxe, &cp1, "").unwrap();
    assert_eq!(answer.kernel().unwrap().to_string(), "/assets/vmlinuz");
    let initrds: std::vec::Vec<_> = answer.initrds().map(|i| i.to_string()).collect();
    assert_eq!(initrds, ["/assets/initramfs.xz"]);
    assert_eq!(answer.group(), Some("groups/cp1.json"));
    assert_eq!(answer.profile(), Some("profiles/talos-cp.json"));

    let other = mac("52:54:00:00:00:99");
    assert_eq!(
        get(&catalog, Endpoint::Ipxe, &other),
        "#!ipxe\nkernel /assets/rescue\nboot\n"
    );
    assert_eq!(
        get(&catalog, Endpoint::Generic, &other),
        "!profiles/rescue.json: no \"generic_id\": name a file of generic/"
    );
}

#[test]
fn a_flatcar_folder_that_installs_and_then_boots() {
    let ign = r#"{"ignition":{"version":"3.4.0"},"x":"{{not a template}}"}"#;
    let (catalog, problems) = load(&[
        (
            "groups/install.json",
            r#"{"id":"stage-0","name":"Flatcar install","profile":"install","metadata":{}}"#,
        ),
        (
            "groups/flatcar.json",
            r#"{"id":"stage-1","profile":"flatcar","selector":{"os":"installed"},"metadata":{}}"#,
        ),
        (
            "profiles/install.json",
            r#"{"id":"install","boot":{"kernel":"/assets/k","initrd":["--name main /assets/i","/assets/j"],"args":["a=b","c"]},
                "ignition_id":"install.ign"}"#,
        ),
        (
            "profiles/flatcar.json",
            r#"{"id":"flatcar","ignition_id":"flatcar.ign"}"#,
        ),
        ("ignition/install.ign", ign),
        ("ignition/flatcar.ign", "{}"),
        ("ignition/flatcar.yaml", "variant: flatcar"),
    ]);
    assert!(problems.is_empty(), "{problems:?}");
    let new = labels(&[("uuid", "a1b2c3"), ("mac", MAC)]);
    let installed = labels(&[("os", "installed")]);
    assert_eq!(
        get(&catalog, Endpoint::Ipxe, &new),
        "#!ipxe\nkernel /assets/k a=b c\ninitrd --name main /assets/i\ninitrd /assets/j\nboot\n"
    );
    assert_eq!(
        get(&catalog, Endpoint::Grub, &new),
        "default=0\nfallback=1\ntimeout=1\nmenuentry \"CoreOS (EFI)\" {\necho \"Loading kernel\"\n\
         linuxefi \"/assets/k\" a=b c\necho \"Loading initrd\"\ninitrdefi  \"--name main /assets/i\" \"/assets/j\"\n}\n\
         menuentry \"CoreOS (BIOS)\" {\necho \"Loading kernel\"\nlinux \"/assets/k\" a=b c\n\
         echo \"Loading initrd\"\ninitrd  \"--name main /assets/i\" \"/assets/j\"\n}\n"
    );
    assert_eq!(get(&catalog, Endpoint::Ignition, &new), ign);
    assert_eq!(get(&catalog, Endpoint::Ignition, &installed), "{}");
    assert_eq!(
        get(&catalog, Endpoint::Ipxe, &installed),
        "!profiles/flatcar.json: no \"kernel\" in \"boot\""
    );
    let types = [
        (Endpoint::Ipxe, "text/plain; charset=utf-8"),
        (Endpoint::Ignition, "application/json"),
        (Endpoint::Metadata, "plain/text"),
    ];
    for (endpoint, want) in types {
        let answer = catalog.answer(endpoint, &new, "").unwrap();
        assert_eq!(answer.content_type(), want);
    }
}

#[test]
fn everyone_may_ask_for_the_first_script() {
    let nobody = Small::new();
    let text = get(&nobody, Endpoint::BootIpxe, &labels(&[]));
    assert_eq!(
        text,
        "#!ipxe\nchain ipxe?uuid=${uuid}&mac=${mac:hexhyp}&domain=${domain}&hostname=${hostname}\
         &serial=${serial}&arch=${buildarch:uristring}\n"
    );
    assert_eq!(
        Endpoint::from_path("/boot.ipxe.0"),
        Some(Endpoint::BootIpxe)
    );
    assert_eq!(Endpoint::from_path("/boot"), None);
}

#[test]
fn selection_is_that_of_matchbox() {
    let group_of = |selector: &str| format!(r#"{{"profile":"p","selector":{selector}}}"#);
    let files = [
        ("groups/a.json", group_of(r#"{}"#)),
        ("groups/b.json", group_of(r#"{"region":"a"}"#)),
        ("groups/c.json", group_of(r#"{"region":"a","zone":"z"}"#)),
        ("groups/d.json", group_of(r#"{"zone":"z","uuid":"U"}"#)),
        ("groups/e.json", group_of(r#"{"MAC":"52:54:00:12:34:56"}"#)),
        ("groups/f.json", group_of(r#"{"serial":"","rack":"1"}"#)),
        (
            "profiles/p.json",
            r#"{"id":"other-than-the-file"}"#.to_owned(),
        ),
    ];
    let files: std::vec::Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let (catalog, problems) = load(&files);
    assert!(problems.is_empty(), "{problems:?}");
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[], "a"),
        (&[("region", "a")], "b"),
        (&[("region", "A")], "a"),
        (&[("Region", "a")], "a"),
        (&[("region", "a"), ("region", "b")], "b"),
        (&[("region", "b"), ("region", "a")], "a"),
        (&[("zone", "z"), ("region", "a"), ("x", "y")], "c"),
        // Equal numbers of selectors: "uuid=U,zone=z" comes before "region=a,zone=z".
        (&[("zone", "z"), ("region", "a"), ("uuid", "U")], "d"),
        (&[("mac", MAC)], "a"),
        (&[("MAC", "52-54-00-12-34-56")], "e"),
        (&[("MAC", "525400123456")], "a"),
        // An absent label equals an empty selector, and the selector counts.
        (&[("rack", "1")], "f"),
        (&[("rack", "1"), ("serial", "s")], "a"),
    ];
    for (query, want) in table {
        let want = format!("groups/{want}.json");
        assert_eq!(group(&catalog, &labels(query)), want, "{query:?}");
    }
}

/// Machine 1 has a group of its own, machine 2 only the default.
fn with_broken(file: &str) -> (Small, std::vec::Vec<String>) {
    load(&[
        ("groups/broken.json", file),
        ("groups/default.json", r#"{"profile":"p"}"#),
        (
            "groups/one.json",
            r#"{"profile":"p","selector":{"mac":"02:00:00:00:00:01"}}"#,
        ),
        (
            "groups/zone.json",
            r#"{"profile":"p","selector":{"zone":"z"}}"#,
        ),
        ("profiles/p.json", r#"{"id":"p","boot":{"kernel":"k"}}"#),
    ])
}

#[test]
fn a_broken_group_never_gives_its_machine_the_default() {
    let refused = "!groups/broken.json";
    // What machine 7 (of whom the file is), machine 1, one of zone z and any other get.
    let table = [
        // Broken, but whose it is is known: only machine 7 is refused.
        (
            r#"{"selector":{"mac":"02:00:00:00:00:07"},"profile":5}"#,
            refused,
            "groups/zone.json",
            "groups/default.json",
        ),
        (
            r#"{"selector":{"mac":"02:00:00:00:00:07"},"profile":"p",}"#,
            refused,
            "groups/zone.json",
            "groups/default.json",
        ),
        (
            r#"{"selector":{"mac":"02:00:00:00:00:07"},"profile":"gone"}"#,
            "!profiles/gone.json",
            "groups/zone.json",
            "groups/default.json",
        ),
        (
            r#"{"selector":{"mac":"02:00:00:00:00:07"}}"#,
            refused,
            "groups/zone.json",
            "groups/default.json",
        ),
        // Nobody knows whose it is: who is mentioned is refused, and who would get the default.
        (
            r#"{"profile":"p" "selector":{"mac":"02:00:00:00:00:07"}}"#,
            refused,
            "groups/zone.json",
            refused,
        ),
        (
            r#"{"selector":{"mac":"020000000007"},"profile":"p"}"#,
            refused,
            "groups/zone.json",
            refused,
        ),
        (
            r#"{"selector":{"mac":"02-00-00-00-00-07""#,
            refused,
            "groups/zone.json",
            refused,
        ),
        // Nothing at all is known: only who has a group of its own is safe.
        ("", refused, refused, refused),
        ("\u{feff}{}", refused, "groups/zone.json", refused),
    ];
    for (file, seven, zone, other) in table {
        let (catalog, problems) = with_broken(file);
        assert_eq!(problems.len(), 1, "{file}: {problems:?}");
        let check = |labels: &Labels, want: &str| {
            let got = group(&catalog, labels);
            assert!(got.starts_with(want), "{file}: wanted {want}, got {got}");
        };
        check(&mac("02:00:00:00:00:07"), seven);
        check(&mac("02:00:00:00:00:01"), "groups/one.json");
        check(&labels(&[("zone", "z")]), zone);
        check(&mac("02:00:00:00:00:02"), other);
    }
}

#[test]
fn refusals_say_what_to_do() {
    let (catalog, problems) =
        with_broken("{\"selector\":{\"mac\":\"02:00:00:00:00:07\"},\n\"profile\":\"p\",}");
    assert_eq!(
        problems,
        ["groups/broken.json:2: remove the comma before this bracket"]
    );
    assert_eq!(
        group(&catalog, &mac("02:00:00:00:00:07")),
        "!groups/broken.json:2: remove the comma before this bracket; \
         this is the machine's group, and it gets nothing until the file is repaired"
    );
    let (catalog, _) =
        with_broken("{\"profile\":\"p\",\n\"selector\":{\"mac\":\"02:00:00:00:00:07\"");
    let why = "groups/broken.json:2: expected ',' or '}', but the file ends";
    assert_eq!(
        group(&catalog, &mac("02:00:00:00:00:07")),
        format!(
            "!{why}; this file speaks of this machine, which gets nothing until it is repaired"
        )
    );
    assert_eq!(
        group(&catalog, &mac("02:00:00:00:00:02")),
        format!(
            "!{why}; it could be for this machine, so that no other group is taken until it is repaired"
        )
    );
    let (catalog, _) = load(&[("groups/one.json", r#"{"profile":"p","selector":{"a":"1"}}"#)]);
    assert_eq!(
        group(
            &catalog,
            &labels(&[("mac", MAC), ("arch", "arm64"), ("hostname", "")])
        ),
        "!no group for 52:54:00:12:34:56: add one to groups/ with this \"mac\" as selector, or one \
         without selectors for every machine (mac=52:54:00:12:34:56 arch=arm64)"
    );
    assert_eq!(
        group(&catalog, &labels(&[])),
        "!no group, and no ?mac= was sent: add the label to the request, or a group without selectors to groups/ (no labels)"
    );
    // With a uuid, too.
    let uuid = "4c4c4544-0043-5210-8054-b4c04f4e3332";
    let (catalog, _) = with_broken(&format!(
        "{{\"selector\":{{\"uuid\":\"{}\"",
        uuid.to_uppercase()
    ));
    let got = group(&catalog, &labels(&[("zone", "z"), ("uuid", uuid)]));
    assert!(got.contains("speaks of this machine"), "{got}");
}

#[test]
fn broken_profiles_and_templates_refuse_their_machines() {
    let files = |profile: &str, template: &str| {
        load(&[
            (
                "groups/one.json",
                r#"{"profile":"p","selector":{"mac":"52:54:00:12:34:56"}}"#,
            ),
            ("groups/default.json", r#"{"profile":"q"}"#),
            ("profiles/p.json", profile),
            ("profiles/q.json", r#"{"id":"q","boot":{"kernel":"k"}}"#),
            ("generic/t", template),
            ("ignition/t", template),
            ("cloud/t", template),
        ])
    };
    let profile = r#"{"id":"p","boot":{"kernel":"k"},"generic_id":"t"}"#;
    let ignition = r#"{"id":"p","ignition_id":"t"}"#;
    let cloud = r#"{"id":"p","cloud_id":"t"}"#;
    let table = [
        (
            r#"{"id":"p""#,
            "",
            Endpoint::Ipxe,
            "profiles/p.json:1: expected ',' or '}', but the file ends",
            "; it is the profile of groups/one.json",
        ),
        (
            "{}",
            "",
            Endpoint::Ipxe,
            "profiles/p.json: \"id\" is missing, and matchbox wants one",
            "; it is the profile of groups/one.json",
        ),
        (
            profile,
            "\n{{if .x}}",
            Endpoint::Generic,
            "generic/t:2: if without {{end}}",
            "; profiles/p.json names it as generic_id",
        ),
        (
            profile,
            "\n{{printf}}",
            Endpoint::Generic,
            "generic/t:2: not supported: function printf",
            "; profiles/p.json names it as generic_id",
        ),
        (
            r#"{"id":"p","generic_id":"../x"}"#,
            "",
            Endpoint::Generic,
            "profiles/p.json:1: \"../x\" is no file of generic/",
            "",
        ),
        (
            r#"{"id":"p","generic_id":"none"}"#,
            "",
            Endpoint::Generic,
            "generic/none: file not found, but profiles/p.json asks for it",
            "; profiles/p.json names it as generic_id",
        ),
        (
            ignition,
            "variant: fcos",
            Endpoint::Ignition,
            "ignition/t: Butane YAML is not translated here: convert it with `butane` to a .ign file and name that",
            "; profiles/p.json names it as ignition_id",
        ),
        // Only the machine's data shows these.
        (
            profile,
            "a\nb: {{.cluster}}",
            Endpoint::Generic,
            "",
            "generic/t:2: no value for .cluster; add it to \"metadata\" (group groups/one.json)",
        ),
        (
            profile,
            "{{.request.query.x}}",
            Endpoint::Generic,
            "",
            "generic/t:1: no value for .request.query.x; the request does not send it (group groups/one.json)",
        ),
        (
            cloud,
            "#cloud",
            Endpoint::Cloud,
            "",
            "cloud/t:1: a cloud-config must start with #cloud-config or #! (group groups/one.json)",
        ),
    ];
    for (profile, template, endpoint, problem, more) in table {
        let (catalog, problems) = files(profile, template);
        let reported: &[&str] = if problem.is_empty() { &[] } else { &[problem] };
        assert_eq!(problems, reported);
        assert_eq!(
            get(&catalog, endpoint, &mac(MAC)),
            format!("!{problem}{more}")
        );
        // Nobody else minds, and its metadata can still be read, as in matchbox.
        assert_eq!(
            group(&catalog, &mac("02:00:00:00:00:02")),
            "groups/default.json"
        );
        assert!(get(&catalog, Endpoint::Metadata, &mac(MAC)).starts_with("MAC="));
    }
    let fine = [
        (
            ignition,
            "{\"a\": \"{{.mac}}\"}",
            Endpoint::Ignition,
            "{\"a\": \"52:54:00:12:34:56\"}",
        ),
        (
            cloud,
            "#cloud-config  \nx: {{.mac}}",
            Endpoint::Cloud,
            "#cloud-config  \nx: 52:54:00:12:34:56",
        ),
        (cloud, "#!/bin/sh\n", Endpoint::Cloud, "#!/bin/sh\n"),
    ];
    for (profile, template, endpoint, want) in fine {
        let (catalog, problems) = files(profile, template);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(get(&catalog, endpoint, &mac(MAC)), want);
    }
}

#[test]
fn what_is_doubtful_is_warned_of() {
    let (catalog, problems) = load(&[
        ("groups/._a.json", "\0\u{5}\u{16}\u{7}"),
        (
            "groups/.b.json",
            r#"{"profile":"p","selector":{"hidden":"yes"}}"#,
        ),
        ("groups/a.json", r#"{"id":"x","profile":"p"}"#),
        ("groups/b.json", r#"{"id":"y","profile":"p"}"#),
        (
            "groups/c.json",
            r#"{"id":"x","profile":"sub/p","selector":{"a":"1"}}"#,
        ),
        (
            "groups/d.json",
            r#"{"id":"z","profile":"./p","selector":{"a":"1"}}"#,
        ),
        ("groups/nested/x.json", "{}"),
        ("groups/x.json.bak", "{"),
        ("profiles/p.json", r#"{"id":"p"}"#),
        ("profiles/unused.json", "{"),
        ("profiles/sub/p.json", r#"{"id":"p"}"#),
    ]);
    assert_eq!(
        problems,
        [
            "~groups/nested: folders inside groups/ are not read",
            "~groups/._a.json:1: expected '{', found byte 0x00",
            "~profiles/unused.json:1: expected a key in double quotes, but the file ends",
            "~groups/d.json: groups/c.json is for the same machines, and comes first",
            "~groups/b.json: groups/a.json is default group, too, and comes first",
            "~groups/a.json: groups/c.json has the same \"id\"",
        ]
    );
    assert_eq!(group(&catalog, &labels(&[])), "groups/a.json");
    assert_eq!(
        group(&catalog, &labels(&[("hidden", "yes")])),
        "groups/.b.json"
    );
    assert_eq!(
        catalog.select(&labels(&[("a", "1")])).unwrap().profile,
        "profiles/sub/p.json"
    );
}

#[test]
fn what_does_not_fit_or_open_is_told() {
    let files = folder(&[
        (
            "groups/a.json",
            r#"{"profile":"p","selector":{"mac":"02:00:00:00:00:01"}}"#,
        ),
        (
            "groups/b.json",
            r#"{"profile":"p","selector":{"zone":"z"}}"#,
        ),
        (
            "groups/c.json",
            r#"{"profile":"p","selector":{"mac":"02:00:00:00:00:02"}}"#,
        ),
        ("profiles/p.json", r#"{"id":"p","boot":{"kernel":"k"}}"#),
    ]);
    // Too many groups: only those who are named by another are safe.
    let mut few = Catalog::<4096, 2, 4, 4>::new();
    let (summary, problems) = load_into(&mut few, &files);
    assert_eq!(
        problems,
        ["groups/: no room for 1 more files: the catalog holds 2 groups"]
    );
    assert_eq!((summary.groups, summary.errors), (2, 1));
    assert!(few.select(&mac("02:00:00:00:00:01")).is_ok());
    for labels in [labels(&[("zone", "z")]), mac("02:00:00:00:00:02")] {
        let refusal = few.select(&labels).unwrap_err().to_string();
        assert!(
            refusal.starts_with("groups/: no room for 1 more"),
            "{refusal}"
        );
    }
    // Too large a file.
    files.put("groups/b.json", "x".repeat(4000));
    let mut catalog = Catalog::<2048, 4, 4, 4>::new();
    let (_, problems) = load_into(&mut catalog, &files);
    assert_eq!(
        problems,
        ["groups/b.json: no room: the catalog holds 2048 bytes and 113 are taken; remove files"]
    );
    assert!(catalog.select(&mac("02:00:00:00:00:01")).is_ok());
    assert!(catalog.select(&mac("02:00:00:00:00:09")).is_err());
    // Unreadable, and then repaired: a load starts anew.
    files.put(
        "groups/b.json",
        r#"{"profile":"p","selector":{"zone":"z"}}"#,
    );
    files.fail("groups/b.json", FileError::Denied);
    files.delay_reads(2);
    let (_, problems) = load_into(&mut catalog, &files);
    assert_eq!(problems, ["groups/b.json: permission denied"]);
    let (summary, problems) = load_into(&mut catalog, &FakeFiles::new());
    assert_eq!(summary.groups, 0);
    assert_eq!(
        problems,
        [
            "groups/: no such folder: create it for your groups",
            "profiles/: no such folder: create it for your profiles",
        ]
    );
    let refusal = catalog.select(&labels(&[])).unwrap_err().to_string();
    assert!(refusal.starts_with("groups/: no such folder"), "{refusal}");
}

#[test]
fn explain_tells_the_whole_decision() {
    let (catalog, _) = load(&[
        ("groups/broken.json", "{"),
        (
            "groups/cp1.json",
            r#"{"profile":"p","selector":{"mac":"52:54:00:12:34:56"}}"#,
        ),
        ("groups/default.json", r#"{"profile":"p"}"#),
        (
            "groups/rack.json",
            r#"{"profile":"p","selector":{"mac":"52:54:00:12:34:56","rack":"1"}}"#,
        ),
        (
            "groups/zone.json",
            r#"{"profile":"gone","selector":{"zone":"z"}}"#,
        ),
        (
            "profiles/p.json",
            r#"{"id":"p","boot":{"kernel":"/assets/k"},"generic_id":"g","cloud_id":"c"}"#,
        ),
        ("generic/g", "x"),
    ]);
    let explained = |labels: &Labels| {
        let mut text = String::new();
        catalog.explain(labels, &mut text).unwrap();
        text
    };
    assert_eq!(
        explained(&labels(&[("mac", MAC), ("zone", "y")])),
        "machine: mac=52:54:00:12:34:56 zone=y
group:   groups/cp1.json (mac=52:54:00:12:34:56)
profile: profiles/p.json
kernel:  /assets/k
cloud_id: broken: cloud/c: file not found, but profiles/p.json asks for it
generic_id: generic/g
groups, in the order in which they are tried:
  groups/rack.json (mac=52:54:00:12:34:56, rack=1)
    wants rack=1, machine has no rack
  groups/zone.json (zone=z)
    wants zone=z, machine has zone=y
  groups/cp1.json (mac=52:54:00:12:34:56)
    taken
  groups/default.json (default)
    fits, too
  groups/broken.json:1: expected a key in double quotes, but the file ends
    broken, and could be for any machine
"
    );
    let text = explained(&labels(&[("zone", "z")]));
    assert!(
        text.contains(
            "\nrefused: profiles/gone.json: file not found, but groups/zone.json asks for it; "
        ),
        "{text}"
    );
    let text = explained(&labels(&[]));
    assert!(
        text.starts_with("machine: no labels\nrefused: groups/broken.json:1: "),
        "{text}"
    );
}

#[test]
fn no_mutation_of_a_folder_goes_wrong() {
    let mut catalog = Small::new();
    let mut noise = 3_u32;
    let mut next = |n: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 8) as usize % n
    };
    for _ in 0..2_000 {
        let files = FakeFiles::new();
        for (path, text) in TALOS {
            let mut text = text.as_bytes().to_vec();
            if next(3) == 0 {
                let at = next(text.len());
                match next(3) {
                    0 => text[at] = next(256) as u8,
                    1 => text.truncate(at),
                    _ => text.extend_from_within(at..),
                }
            }
            files.put(path, text);
        }
        load_into(&mut catalog, &files);
        for labels in [mac(MAC), labels(&[])] {
            for path in [
                "/ipxe",
                "/grub",
                "/ignition",
                "/cloud",
                "/generic",
                "/metadata",
            ] {
                get(&catalog, Endpoint::from_path(path).unwrap(), &labels);
            }
            catalog.explain(&labels, &mut String::new()).unwrap();
        }
    }
}

#[test]
fn a_catalog_lives_in_a_static() {
    static EMPTY: Catalog<65536, 64, 64, 64> = Catalog::new();
    assert!(EMPTY.select(&labels(&[])).is_err());
}
