//! Finding programs, and running those that are unpacked but not installed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that tells the dynamic linker where libraries are.
pub(super) const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// Where packages put programs.
const PROGRAM_FOLDERS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// The program of that name under `root`.
pub(super) fn program_under(root: &Path, program: &str) -> Option<PathBuf> {
    PROGRAM_FOLDERS
        .iter()
        .map(|folder| root.join(folder).join(program))
        .find(|path| path.is_file())
}

/// The program of that name on `PATH`.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        // Where `ip` and `dhclient` are; not on every user's PATH.
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A command for a program unpacked under `root`, told where its libraries and data are.
pub(super) fn command_under(root: &Path, program: &Path) -> Command {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut command = if name == "valgrind" {
        // Debian's is a script that starts the one installed on the system.
        let mut command = Command::new(program.with_file_name("valgrind.bin"));
        command.env("VALGRIND_LIB", root.join("usr/libexec/valgrind"));
        command
    } else {
        Command::new(program)
    };
    command.env(LIBRARY_PATH, library_path(&[root]));
    let python = root.join("usr/lib/python3/dist-packages");
    if python.is_dir() {
        command.env("PYTHONPATH", python);
    }
    if name.starts_with("qemu-system") {
        for data in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(root.join(data));
        }
        let mut modules = library_folders(root)
            .into_iter()
            .map(|lib| lib.join("qemu"));
        if let Some(modules) = modules.find(|folder| folder.is_dir()) {
            command.env("QEMU_MODULE_DIR", modules);
        }
    }
    command
}

/// The dynamic linker's search path: the libraries under `roots`, then what it was.
pub(super) fn library_path(roots: &[&Path]) -> OsString {
    let mut folders: Vec<PathBuf> = roots
        .iter()
        .flat_map(|root| library_folders(root))
        .collect();
    if let Some(existing) = env::var_os(LIBRARY_PATH) {
        folders.extend(env::split_paths(&existing));
    }
    // Fails if the workspace's path holds a colon: then the programs' own
    // error, a library not found, says enough.
    env::join_paths(folders).unwrap_or_default()
}

/// `lib` and `usr/lib` and their multiarch folders under `root`.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for lib in [root.join("usr/lib"), root.join("lib")] {
        let entries = lib.read_dir().into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path()).filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().contains("-linux-gnu"))
        }));
        folders.push(lib);
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn qemu_is_told_where_its_libraries_and_roms_are() -> std::io::Result<()> {
        let root = env::temp_dir().join(format!("ichor-programs-{}", std::process::id()));
        fs::create_dir_all(root.join("usr/bin"))?;
        fs::create_dir_all(root.join("usr/lib/x86_64-linux-gnu/qemu"))?;
        fs::write(root.join("usr/bin/qemu-system-aarch64"), "")?;

        let program = program_under(&root, "qemu-system-aarch64").expect("it is there");
        let command = command_under(&root, &program);
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments[0], "-L");
        assert_eq!(arguments[1], root.join("usr/share/qemu"));
        let variable = |name: &str| {
            command
                .get_envs()
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value)
        };
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        assert_eq!(
            variable("QEMU_MODULE_DIR"),
            Some(libraries.join("qemu").as_os_str())
        );
        let path = variable(LIBRARY_PATH).expect("it is set");
        assert_eq!(env::split_paths(path).next(), Some(libraries));
        assert_eq!(program_under(&root, "absent"), None);
        fs::remove_dir_all(root)
    }
}
