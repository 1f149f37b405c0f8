//! The key that lets its holder send a board new programs and files.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Bytes of a key.
const KEY: usize = 32;

/// The key to put on a card, as 64 hexadecimal digits: the one in the file
/// `given`, else the one in `kept`, else a new one, which `kept` then holds.
pub(super) fn obtain(given: Option<&Path>, kept: &Path) -> Result<String> {
    if let Some(given) = given {
        return read(given);
    }
    // Cards that run already know it.
    if kept.exists() {
        return read(kept);
    }
    let mut bytes = [0; KEY];
    getrandom::fill(&mut bytes)
        .ok()
        .context("the system gives no random numbers to make a key of")?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write(kept, &key).with_context(|| format!("cannot write {}", kept.display()))?;
    Ok(key)
}

fn read(path: &Path) -> Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let key = text.trim().to_lowercase();
    ensure!(
        key.len() == 2 * KEY && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{}: not a key of {} hexadecimal digits",
        path.display(),
        2 * KEY
    );
    Ok(key)
}

/// Writes a file that nobody else can read, not even for a moment.
fn write(path: &Path, key: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    Ok(writeln!(options.open(path)?, "{key}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_readable_by_its_owner_alone() {
        let kept = std::env::temp_dir().join(format!("ichor-key-{}", std::process::id()));
        let key = obtain(None, &kept).unwrap();
        assert_eq!(key.len(), 64);
        assert_eq!(
            obtain(None, &kept).unwrap(),
            key,
            "the next card has the same"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&kept).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let other = kept.with_extension("other");
        assert_ne!(obtain(None, &other).unwrap(), key);
        for file in [&kept, &other] {
            fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn an_own_key_is_checked() {
        let own = std::env::temp_dir().join(format!("ichor-own-key-{}", std::process::id()));
        let kept = Path::new("/not/there");
        fs::write(&own, format!("{}\n", "AB".repeat(32))).unwrap();
        assert_eq!(obtain(Some(&own), kept).unwrap(), "ab".repeat(32));
        for bad in ["ab".repeat(31), "xy".repeat(32), String::new()] {
            fs::write(&own, &bad).unwrap();
            assert!(obtain(Some(&own), kept).is_err(), "{bad:?}");
        }
        fs::remove_file(&own).unwrap();
    }
}
