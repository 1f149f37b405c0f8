//! The machine's own package sources, read so that a private apt can use the same mirrors.
//!
//! Both notations are understood: deb822 (`*.sources`) and one-line (`*.list`),
//! as sources.list(5) describes them. Sources of third parties are left out:
//! they have nothing the lab needs, and one broken third party would otherwise
//! stop it.

use std::fmt::Write as _;
use std::path::Path;

/// One package source: a stanza of a `.sources` file or a line of a `.list` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub uris: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// Fields that say how to trust the source (`Signed-By`, `Trusted`, ...),
    /// values as written, line breaks included.
    pub trust: Vec<(String, String)>,
}

/// The fields taken over into a private source beside where and what.
const TRUST_FIELDS: [&str; 4] = ["Signed-By", "Trusted", "Check-Valid-Until", "Check-Date"];

/// Reads every source under `etc_apt` (`/etc/apt`), in apt's order.
/// Files that cannot be read are skipped, as for a user who may not see them.
pub(super) fn read_machine(etc_apt: &Path) -> Vec<Source> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = etc_apt.join("sources.list.d").read_dir() {
        let mut parts: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(parse_one_line(&text)),
            Some("sources") => sources.extend(parse_deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// Parses the one-line notation: `deb [option=value ...] uri suite component ...`.
fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None; // deb-src, or no source at all
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next()?;
    let suite = words.next()?;
    let trust = options
        .split_whitespace()
        .filter_map(|option| option.split_once('='))
        .filter_map(|(key, value)| {
            let field = TRUST_FIELDS
                .iter()
                .find(|field| field.eq_ignore_ascii_case(key))?;
            Some(((*field).to_owned(), value.replace(',', " ")))
        })
        .collect();
    Some(Source {
        uris: vec![uri],
        suites: vec![suite],
        components: words.collect(),
        trust,
    })
}

/// Parses the deb822 notation: stanzas of `Field: value`, continued by indented lines.
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(source_of_stanza(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    sources
}

fn source_of_stanza(fields: &[(String, String)]) -> Option<Source> {
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    };
    let list = |name| -> Vec<String> {
        field(name)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let enabled = !matches!(
        field("Enabled").map(str::to_ascii_lowercase).as_deref(),
        Some("no" | "false" | "without" | "off" | "disable")
    );
    if !enabled || !list("Types").iter().any(|kind| kind == "deb") {
        return None;
    }
    let trust = TRUST_FIELDS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), field(name)?.to_owned())))
        .collect();
    Some(Source {
        uris: list("URIs"),
        suites: list("Suites"),
        components: list("Components"),
        trust,
    })
}

impl Source {
    /// The part of this source that the distribution release `codename` itself
    /// publishes, or `None` for a third party's source.
    ///
    /// Distributions publish `main` under their codename or an alias, from a
    /// mirror whose address names them or from a mirror list.
    pub(super) fn of_distribution(&self, codename: &str) -> Option<Self> {
        let suites: Vec<String> = self
            .suites
            .iter()
            .filter(|suite| is_release_suite(suite, codename))
            .cloned()
            .collect();
        let uris: Vec<String> = self
            .uris
            .iter()
            .filter(|uri| names_mirror(uri))
            .cloned()
            .collect();
        let has_main = self.components.iter().any(|component| component == "main");
        (has_main && !suites.is_empty() && !uris.is_empty()).then(|| Self {
            uris,
            suites,
            ..self.clone()
        })
    }

    /// This stanza in deb822 notation, ready for a `.sources` file. Package
    /// lists alone are asked for: no translations, icons or file indexes.
    pub(super) fn to_deb822(&self) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\nTargets: Packages\n",
            self.uris.join(" "),
            self.suites.join(" "),
            self.components.join(" "),
        );
        for (key, value) in &self.trust {
            let _ = writeln!(text, "{key}: {value}");
        }
        text
    }
}

fn is_release_suite(suite: &str, codename: &str) -> bool {
    // Backports are left out: apt would not choose them unasked.
    [
        codename,
        "stable",
        "oldstable",
        "testing",
        "unstable",
        "sid",
    ]
    .iter()
    .any(|release| {
        suite
            .strip_prefix(release)
            .is_some_and(|rest| matches!(rest, "" | "-updates" | "-security" | "/updates"))
    })
}

fn names_mirror(uri: &str) -> bool {
    ["debian", "ubuntu", "mirror:", "mirror+"]
        .iter()
        .any(|name| uri.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suites: &[&str], components: &[&str], trust: &[(&str, &str)]) -> Source {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Source {
            uris: vec![uri.to_owned()],
            suites: own(suites),
            components: own(components),
            trust: trust
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn one_line_sources_as_debian_and_ubuntu_write_them() {
        let cases = [
            (
                "deb http://mirror.example/debian bookworm main contrib # the base",
                Some(source(
                    "http://mirror.example/debian",
                    &["bookworm"],
                    &["main", "contrib"],
                    &[],
                )),
            ),
            (
                "deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/a.gpg] http://ubuntu.example/ubuntu/ noble-updates main universe",
                Some(source(
                    "http://ubuntu.example/ubuntu/",
                    &["noble-updates"],
                    &["main", "universe"],
                    &[("Signed-By", "/usr/share/keyrings/a.gpg")],
                )),
            ),
            (
                "deb [trusted=yes] file:/srv/debian bookworm main",
                Some(source(
                    "file:/srv/debian",
                    &["bookworm"],
                    &["main"],
                    &[("Trusted", "yes")],
                )),
            ),
            ("deb-src http://mirror.example/debian bookworm main", None),
            ("# deb http://mirror.example/debian bookworm main", None),
            (
                "deb [signed-by=/a http://unclosed.example/ bookworm main",
                None,
            ),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse_line(line), expected, "{line}");
        }
    }

    #[test]
    fn deb822_sources_as_debian_and_ubuntu_write_them() {
        let debian = "\
Types: deb deb-src
# a comment within the stanza
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
";
        assert_eq!(
            parse_deb822(debian),
            [source(
                "http://mirror.example/debian",
                &["bookworm", "bookworm-updates"],
                &["main"],
                &[(
                    "Signed-By",
                    "/usr/share/keyrings/debian-archive-keyring.gpg"
                )],
            )]
        );

        let ubuntu = "\
Types: deb
URIs: mirror+file:/etc/apt/apt-mirrors.txt
Suites: noble noble-updates noble-backports
Components: main universe
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFufwdoBEADv

Types: deb-src
URIs: http://ubuntu.example/ubuntu
Suites: noble
Components: main
";
        let key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBFufwdoBEADv";
        let parsed = parse_deb822(ubuntu);
        assert_eq!(
            parsed,
            [source(
                "mirror+file:/etc/apt/apt-mirrors.txt",
                &["noble", "noble-updates", "noble-backports"],
                &["main", "universe"],
                &[("Signed-By", key)],
            )]
        );
        assert_eq!(
            parse_deb822(&parsed[0].to_deb822()),
            parsed,
            "what is written reads the same"
        );
    }

    #[test]
    fn third_party_sources_are_left_out() {
        let cases = [
            ("http://mirror.example/debian", "bookworm", "main", true),
            (
                "http://security.example/debian-security",
                "bookworm-security",
                "main",
                true,
            ),
            (
                "http://ports.example/ubuntu-ports",
                "bookworm-updates",
                "main",
                true,
            ),
            (
                "https://cache.example/apt/debian-remote",
                "oldstable",
                "main",
                true,
            ),
            (
                "https://download.docker.com/linux/debian",
                "bookworm",
                "stable",
                false,
            ),
            (
                "https://packages.cloud.example/apt",
                "cloud-sdk-bookworm",
                "main",
                false,
            ),
            ("https://apt.example/", "bookworm", "main", false),
            (
                "http://apt.postgresql.org/pub/repos/apt",
                "bookworm-pgdg",
                "main",
                false,
            ),
            (
                "http://mirror.example/debian",
                "bookworm-backports",
                "main",
                false,
            ),
        ];
        for (uri, suite, component, kept) in cases {
            let source = source(uri, &[suite], &[component], &[]);
            assert_eq!(
                source.of_distribution("bookworm").is_some(),
                kept,
                "{uri} {suite}"
            );
        }
    }

    #[test]
    fn only_the_releases_own_suites_remain() {
        let mixed = source(
            "http://mirror.example/debian",
            &["bookworm", "bookworm-backports"],
            &["main"],
            &[],
        );
        let kept = mixed.of_distribution("bookworm").expect("Debian's own");
        assert_eq!(kept.suites, ["bookworm"]);
    }
}
