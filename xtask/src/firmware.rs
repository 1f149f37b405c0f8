//! The promises of the firmware crate: no `unsafe`, no std, no allocation.
//!
//! The compiler holds most of them; this check sees that nobody tells it not to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::{cargo, workspace};

/// What the crate's root must say.
const REQUIRED: [&str; 2] = ["#![forbid(unsafe_code)]", "no_std"];
/// What no line may hold, comments aside.
const FORBIDDEN: [&str; 4] = [
    "unsafe ",
    "extern crate alloc",
    "extern crate std",
    "allow(unsafe",
];
/// Features of dependencies that bring std or an allocator.
const FORBIDDEN_FEATURES: [&str; 2] = ["std", "alloc"];

/// Checks the sources of `firmware`, and the features its dependencies are built with.
pub(crate) fn check() -> Result<()> {
    let sources = workspace().join("firmware/src");
    let mut broken = Vec::new();
    let root = read(&sources.join("lib.rs"))?;
    for line in REQUIRED {
        if !root.contains(line) {
            broken.push(format!("firmware/src/lib.rs: `{line}` is missing"));
        }
    }
    let mut files = Vec::new();
    rust_files(&sources, &mut files)?;
    for path in files {
        let name = path
            .strip_prefix(workspace())
            .unwrap_or(&path)
            .display()
            .to_string();
        for (line, found) in forbidden_lines(&read(&path)?) {
            broken.push(format!(
                "{name}:{line}: `{}` is not for the firmware",
                found.trim()
            ));
        }
    }
    for features in [&[][..], &["--features", "defmt"]] {
        let mut command = cargo();
        command
            .args([
                "tree",
                "--package",
                "ichor",
                "--edges",
                "normal,no-proc-macro",
            ])
            .args(["--prefix", "none", "--format", "{p}|{f}"])
            .args(features);
        let output = command.output().context("cannot run cargo tree")?;
        ensure!(
            output.status.success(),
            "cargo tree failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let tree = String::from_utf8_lossy(&output.stdout);
        broken.extend(
            hosted_dependencies(&tree)
                .into_iter()
                .map(|(package, feature)| {
                    format!("dependency {package} is built with its feature `{feature}`")
                }),
        );
    }
    broken.sort();
    broken.dedup();
    if !broken.is_empty() {
        bail!(
            "the firmware must do without unsafe, std and alloc:\n  {}",
            broken.join("\n  ")
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Numbers and texts of lines that hold something forbidden.
fn forbidden_lines(source: &str) -> Vec<(usize, &str)> {
    source
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            let code = line.split("//").next().unwrap_or_default();
            FORBIDDEN.iter().any(|forbidden| code.contains(forbidden))
        })
        .map(|(index, line)| (index + 1, line))
        .collect()
}

/// Packages of `cargo tree --format '{p}|{f}'` built with a forbidden feature.
fn hosted_dependencies(tree: &str) -> Vec<(&str, &str)> {
    tree.lines()
        .filter_map(|line| line.split_once('|'))
        .flat_map(|(package, features)| {
            let package = package.split_whitespace().next().unwrap_or_default();
            let features = features.trim_end_matches(" (*)").split(',');
            features
                .filter(|feature| FORBIDDEN_FEATURES.contains(feature))
                .map(move |feature| (package, feature))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_code_is_found_and_comments_are_not() {
        let cases = [
            ("unsafe { *pointer }", true),
            ("    pub unsafe fn f() {}", true),
            ("extern crate alloc;", true),
            ("#![allow(unsafe_code)]", true),
            ("#![forbid(unsafe_code)]", false),
            ("// unsafe code is forbidden", false),
            ("/// Without `unsafe` blocks.", false),
            ("let allocated = 1;", false),
        ];
        for (line, found) in cases {
            assert_eq!(!forbidden_lines(line).is_empty(), found, "{line}");
        }
    }

    #[test]
    fn features_that_allocate_are_found() {
        let tree =
            "smoltcp v0.13.1|alloc,async\nheapless v0.9.3|\nlog v0.4.1|std (*)\nx v1|stdio\n";
        assert_eq!(
            hosted_dependencies(tree),
            [("smoltcp", "alloc"), ("log", "std")]
        );
    }
}
