//! Media types by file name.

/// Extension (lower case) and media type.
///
/// UEFI HTTP Boot decides by these whether it got a program, a disc or a disk,
/// and EDK2 compares the whole field value: no parameters on the three.
const TYPES: &[(&str, &str)] = &[
    ("efi", "application/efi"),
    ("iso", "application/vnd.efi-iso"),
    ("img", "application/vnd.efi-img"),
    ("json", "application/json"),
    ("ign", "application/json"),
    ("yaml", "text/plain; charset=utf-8"),
    ("yml", "text/plain; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("ipxe", "text/plain; charset=utf-8"),
    ("cfg", "text/plain; charset=utf-8"),
    ("sig", "application/pgp-signature"),
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("gz", "application/gzip"),
    ("xz", "application/x-xz"),
    ("zst", "application/zstd"),
];

/// The media type of a file, by the extension of its name;
/// `application/octet-stream` for what is not known (RFC 9110 §8.3).
///
/// Compressed files are sent as they are, never as a `Content-Encoding`: the
/// initrd's client wants the compressed bytes.
pub fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.')
        .and_then(|(_, extension)| {
            TYPES
                .iter()
                .find(|(known, _)| extension.eq_ignore_ascii_case(known))
        })
        .map_or("application/octet-stream", |(_, media_type)| media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_extension() {
        for (path, want) in [
            ("/assets/ipxe.efi", "application/efi"),
            ("/assets/BOOTAA64.EFI", "application/efi"),
            ("/assets/metal-arm64.iso", "application/vnd.efi-iso"),
            ("/assets/v1.10.0/initramfs.xz", "application/x-xz"),
            ("/assets/v1.10.0/vmlinuz", "application/octet-stream"),
            ("/assets/controlplane.yaml", "text/plain; charset=utf-8"),
            ("/assets.json/kernel", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(content_type(path), want, "{path}");
        }
    }
}
