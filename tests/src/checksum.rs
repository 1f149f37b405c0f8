//! SHA-256 of files and answers, as `sha256sum` prints it; CRC-32 of frames and images.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// The SHA-256 of all that `content` gives, in lower-case hexadecimal.
///
/// # Errors
/// Those of reading.
pub fn sha256(mut content: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// CRC-32 as in Ethernet and zlib, bit by bit: an emulated machine takes longer
/// over a frame than this does.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn sums_are_those_of_sha256sum() -> io::Result<()> {
        // FIPS 180-2, appendix B.1, and the empty message.
        assert_eq!(
            sha256(&b"abc"[..])?,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            sha256(io::empty())?,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        Ok(())
    }
}
