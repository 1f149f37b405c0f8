//! The record of what a set's folder holds: which packages, with their checksums.
//!
//! One line per package, written after that package is unpacked, so that an
//! interrupted set-up goes on where it stopped. The last line says `complete`.

use std::path::Path;

use anyhow::{Context, Result};

const HEAD: &str =
    "# What is unpacked here: name, version, architecture, bytes, sha256 of the package.";

/// A Debian package as its repository announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deb {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Size of the package file.
    pub bytes: u64,
    /// Of the package file, lower-case hexadecimal.
    pub sha256: String,
}

impl Deb {
    /// The file name that apt gives the downloaded package.
    pub(super) fn file_name(&self) -> String {
        format!(
            "{}_{}_{}.deb",
            self.name,
            self.version.replace(':', "%3a"),
            self.architecture
        )
    }
}

/// A set's manifest file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// What was asked for: release, architecture, package names.
    pub wanted: String,
    pub debs: Vec<Deb>,
    pub complete: bool,
}

impl Manifest {
    /// Reads the manifest; a missing or damaged one counts as empty.
    pub(super) fn read(path: &Path) -> Self {
        std::fs::read_to_string(path)
            .ok()
            .and_then(|text| Self::parse(&text))
            .unwrap_or_default()
    }

    /// Replaces the file in one step, so that a reader never sees half of it.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, self.to_string())
            .and_then(|()| std::fs::rename(&fresh, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether everything in `wanted` is unpacked.
    pub(super) fn satisfies(&self, wanted: &str) -> bool {
        self.complete && self.wanted == wanted
    }

    /// Whether the folder holds a package that `resolved` does not: then the
    /// folder is stale, since files of removed packages stay behind.
    pub(super) fn is_stale(&self, resolved: &[Deb]) -> bool {
        self.debs.iter().any(|deb| !resolved.contains(deb))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut manifest = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("wanted", wanted)) => manifest.wanted = wanted.to_owned(),
                Some(("package", fields)) => {
                    let fields: Vec<&str> = fields.split(' ').collect();
                    let [name, version, architecture, bytes, sha256] = fields[..] else {
                        return None;
                    };
                    manifest.debs.push(Deb {
                        name: name.to_owned(),
                        version: version.to_owned(),
                        architecture: architecture.to_owned(),
                        bytes: bytes.parse().ok()?,
                        sha256: sha256.to_owned(),
                    });
                }
                None if line == "complete" => manifest.complete = true,
                _ => return None,
            }
        }
        Some(manifest)
    }
}

impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEAD}\nwanted {}", self.wanted)?;
        for deb in &self.debs {
            let Deb {
                name,
                version,
                architecture,
                bytes,
                sha256,
            } = deb;
            writeln!(
                f,
                "package {name} {version} {architecture} {bytes} {sha256}"
            )?;
        }
        if self.complete {
            f.write_str("complete\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(name: &str, version: &str) -> Deb {
        Deb {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "arm64".to_owned(),
            bytes: 847_552,
            sha256: "c833be48".to_owned(),
        }
    }

    fn manifest(complete: bool) -> Manifest {
        Manifest {
            wanted: "trixie arm64 busybox-static ipxe".to_owned(),
            debs: vec![
                deb("busybox-static", "1:1.37.0-6+b9"),
                deb("ipxe", "1.21.1"),
            ],
            complete,
        }
    }

    #[test]
    fn reads_back_what_it_writes() {
        for complete in [false, true] {
            let manifest = manifest(complete);
            assert_eq!(Manifest::parse(&manifest.to_string()), Some(manifest));
        }
    }

    #[test]
    fn only_a_complete_manifest_of_the_same_list_satisfies() {
        let wanted = "trixie arm64 busybox-static ipxe";
        assert!(manifest(true).satisfies(wanted));
        assert!(!manifest(false).satisfies(wanted));
        assert!(!manifest(true).satisfies("trixie arm64 busybox-static"));
        assert!(!Manifest::default().satisfies(wanted));
    }

    #[test]
    fn a_package_no_longer_resolved_makes_the_folder_stale() {
        let cases = [
            (
                vec![
                    deb("busybox-static", "1:1.37.0-6+b9"),
                    deb("ipxe", "1.21.1"),
                ],
                false,
            ),
            (
                vec![
                    deb("busybox-static", "1:1.37.0-6+b9"),
                    deb("ipxe", "1.21.1"),
                    deb("x", "1"),
                ],
                false,
            ),
            (
                vec![deb("busybox-static", "1:1.38.0-1"), deb("ipxe", "1.21.1")],
                true,
            ),
            (vec![deb("ipxe", "1.21.1")], true),
        ];
        for (resolved, stale) in cases {
            assert_eq!(manifest(true).is_stale(&resolved), stale, "{resolved:?}");
        }
    }

    #[test]
    fn damage_is_not_mistaken_for_content() {
        for text in [
            "package too few fields",
            "package a 1 arm64 many 00",
            "rubbish",
            "complet",
        ] {
            assert_eq!(Manifest::parse(text), None, "{text}");
        }
    }

    #[test]
    fn file_names_are_those_of_apt() {
        assert_eq!(
            deb("busybox-static", "1:1.37.0-6+b9").file_name(),
            "busybox-static_1%3a1.37.0-6+b9_arm64.deb"
        );
    }
}
