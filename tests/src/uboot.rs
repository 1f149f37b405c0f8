//! Makes the script image that U-Boot's `bootcmd` asks its TFTP server for.

use crate::checksum::crc32;

/// The name that U-Boot asks for (`boot_script_dhcp` of its environment).
pub const SCRIPT: &str = "boot.scr.uimg";

/// U-Boot's TFTP client asks for windows when told to (RFC 7440). Several of
/// them, sent again, must fit into the 32 buffers of its virtio driver: once
/// all are full it receives nothing any more, as it never tells the device
/// which ones it has emptied.
const WINDOW: u8 = 4;
/// Milliseconds after which it repeats itself; it accepts no less.
const TIMEOUT_MS: u16 = 1000;
/// How often it may do so in one transfer; ten times by itself.
const TIMEOUTS: u16 = 1000;

/// A script that loads `kernel` and `initrd` by TFTP, from the server that
/// DHCP named, and starts them.
///
/// `args` may hold `${mac}`, which iPXE fills in: U-Boot's name for it is
/// `ethaddr`.
pub fn boot_script(kernel: &str, initrd: &str, args: &str) -> Vec<u8> {
    let args = args.replace("${mac}", "${ethaddr}");
    let text = format!(
        "setenv tftpwindowsize {WINDOW}\n\
         setenv tftptimeout {TIMEOUT_MS}\n\
         setenv tftptimeoutcountmax {TIMEOUTS}\n\
         tftpboot ${{kernel_addr_r}} {kernel} && \
         tftpboot ${{ramdisk_addr_r}} {initrd} && \
         setenv bootargs \"{args}\" && \
         booti ${{kernel_addr_r}} ${{ramdisk_addr_r}}:${{filesize}} ${{fdtcontroladdr}}\n"
    );
    script_image(text.as_bytes())
}

/// Wraps a script into U-Boot's legacy image format (`include/image.h`):
/// a header with two checksums, a table of one length, the text.
fn script_image(text: &[u8]) -> Vec<u8> {
    let mut data = (text.len() as u32).to_be_bytes().to_vec();
    data.extend([0; 4]); // end of the table
    data.extend(text);

    let mut header = Vec::with_capacity(64);
    for word in [0x2705_1956, 0, 0, data.len() as u32, 0, 0, crc32(&data)] {
        header.extend(u32::to_be_bytes(word));
    }
    header.extend([5, 22, 6, 0]); // Linux, arm64, script, not compressed
    header.extend(b"boot");
    header.resize(64, 0);
    let sum = crc32(&header).to_be_bytes();
    header[4..8].copy_from_slice(&sum);
    header.extend(data);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_names_the_files_and_the_machine() {
        let image = boot_script("assets/vmlinuz", "assets/initramfs", "x=${mac}");
        assert_eq!(image[..4], [0x27, 0x05, 0x19, 0x56]);
        let text = String::from_utf8(image[72..].to_vec()).unwrap();
        assert!(text.contains("tftpboot ${kernel_addr_r} assets/vmlinuz &&"));
        assert!(text.contains("setenv bootargs \"x=${ethaddr}\""));
        assert_eq!(image[64..68], (text.len() as u32).to_be_bytes());
    }
}
