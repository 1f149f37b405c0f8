//! How far a machine has come when it has fetched a file.

use crate::journal::Stage;

/// Judges a file by its name: boot program, kernel, initrd, or another.
///
/// An `.efi` that carries a whole system (a UKI) counts as a boot file: that
/// is what the client took it for.
pub fn stage_of(path: &str) -> Stage {
    const BOOT_FILE: [&str; 7] = [".efi", ".kpxe", ".kkpxe", ".pxe", ".lkrn", ".scr", ".uimg"];
    const KERNEL: [&str; 5] = ["vmlinu", "kernel", "image", "bzimage", "linux"];
    let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
    let ends = |end: &&str| {
        name.len()
            .checked_sub(end.len())
            .and_then(|at| name.get(at..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes()))
    };
    let starts = |start: &&str| {
        name.get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
    };
    if starts(&"initr") {
        Stage::Initrd
    } else if BOOT_FILE.iter().any(ends) || name == b"bootcode.bin" || name == b"pxelinux.0" {
        Stage::BootFile
    } else if KERNEL.iter().any(starts) {
        Stage::Kernel
    } else {
        Stage::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_by_name() {
        let table = [
            ("assets/ipxe-arm64.efi", Stage::BootFile),
            ("assets/undionly.kpxe", Stage::BootFile),
            ("assets/BOOTAA64.EFI", Stage::BootFile),
            ("assets/boot.scr", Stage::BootFile),
            ("assets/boot.scr.uimg", Stage::BootFile),
            ("assets/bootcode.bin", Stage::BootFile),
            ("assets/talos/vmlinuz-arm64", Stage::Kernel),
            ("assets/kernel8.img", Stage::Kernel),
            ("assets/Image", Stage::Kernel),
            ("assets/initramfs-arm64.xz", Stage::Initrd),
            ("assets/initrd.img", Stage::Initrd),
            ("assets/bcm2710-rpi-cm3.dtb", Stage::File),
            ("assets/start.elf", Stage::File),
            ("", Stage::File),
        ];
        for (path, want) in table {
            assert_eq!(stage_of(path), want, "{path}");
        }
    }
}
