//! Kernel modules for an initrd, with what they depend on, in the order to load them.
//!
//! A kernel package has no `modules.dep` before it is installed, so the
//! dependencies are read from the modules themselves (`depends=` in `.modinfo`).

use std::collections::HashMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A module, ready for `insmod`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// With underscores, as the kernel names it.
    pub name: String,
    pub content: Vec<u8>,
}

/// Reads the modules `names` and everything they need from `folder`
/// (`lib/modules/<release>`), each after what it depends on. A module that is
/// built into this kernel is left out.
pub(super) fn read_with_dependencies(folder: &Path, names: &[&str]) -> Result<Vec<Module>> {
    let mut files = HashMap::new();
    index(&folder.join("kernel"), &mut files)?;
    let builtin = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    let builtin: Vec<String> = builtin
        .lines()
        .filter_map(|line| module_name(Path::new(line)))
        .collect();
    let mut loaded = Vec::new();
    for name in names {
        add(name, &files, &builtin, &mut loaded)?;
    }
    Ok(loaded)
}

fn add(
    name: &str,
    files: &HashMap<String, PathBuf>,
    builtin: &[String],
    loaded: &mut Vec<Module>,
) -> Result<()> {
    if builtin
        .iter()
        .chain(loaded.iter().map(|module| &module.name))
        .any(|known| known == name)
    {
        return Ok(());
    }
    let Some(path) = files.get(name) else {
        bail!("the kernel has no module {name}");
    };
    let content = read_module(path)?;
    for dependency in dependencies(&content) {
        add(&dependency, files, builtin, loaded)
            .with_context(|| format!("module {name} depends on {dependency}"))?;
    }
    loaded.push(Module {
        name: name.to_owned(),
        content,
    });
    Ok(())
}

/// Finds all modules under `folder` by name.
fn index(folder: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `kernel/drivers/net/virtio-net.ko.xz` → `virtio_net`.
fn module_name(path: &Path) -> Option<String> {
    let (name, suffix) = path.file_name()?.to_str()?.split_once('.')?;
    matches!(suffix, "ko" | "ko.xz").then(|| name.replace('-', "_"))
}

fn read_module(path: &Path) -> Result<Vec<u8>> {
    let unreadable = || format!("cannot read {}", path.display());
    if path.extension().is_some_and(|extension| extension == "xz") {
        let mut content = Vec::new();
        let file = fs::File::open(path).with_context(unreadable)?;
        lzma_rs::xz_decompress(&mut BufReader::new(file), &mut content)
            .map_err(|error| anyhow::anyhow!("{}: {error:?}", path.display()))?;
        Ok(content)
    } else {
        fs::read(path).with_context(unreadable)
    }
}

/// The names after `depends=` in the module's `.modinfo` section, a list of
/// NUL-terminated `key=value` strings.
fn dependencies(module: &[u8]) -> Vec<String> {
    module
        .split(|byte| *byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="))
        .map(|list| String::from_utf8_lossy(list).into_owned())
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        let cases: [(&[u8], &[&str]); 4] = [
            (
                b"\x7fELF\0license=GPL\0depends=net-failover,failover\0name=x\0",
                &["net_failover", "failover"],
            ),
            (b"\0depends=\0", &[]),
            (b"\0name=x\0", &[]),
            (b"", &[]),
        ];
        for (module, expected) in cases {
            assert_eq!(dependencies(module), expected);
        }
    }

    #[test]
    fn modules_are_named_as_the_kernel_does() {
        let cases = [
            ("kernel/drivers/net/virtio-net.ko.xz", Some("virtio_net")),
            ("failover.ko", Some("failover")),
            ("modules.order", None),
            ("README", None),
        ];
        for (path, expected) in cases {
            assert_eq!(module_name(Path::new(path)).as_deref(), expected, "{path}");
        }
    }
}
