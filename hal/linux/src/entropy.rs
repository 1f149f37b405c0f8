//! Random seeds from the kernel.

use std::io;

use ichor_hal::Entropy;

/// The kernel's random number generator.
#[derive(Debug)]
pub struct OsEntropy {
    _private: (),
}

impl OsEntropy {
    /// Asks the kernel once, so that a system without random numbers is
    /// noticed at start.
    pub fn new() -> io::Result<Self> {
        random()?;
        Ok(Self { _private: () })
    }
}

impl Entropy for OsEntropy {
    fn seed(&mut self) -> u64 {
        random().expect("the kernel gave random numbers before and does so until the end")
    }
}

#[cfg(target_os = "linux")]
fn random() -> io::Result<u64> {
    let mut seed = [0; 8];
    // Up to 256 bytes come whole and uninterrupted (getrandom(2)).
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(seed))
}

#[cfg(not(target_os = "linux"))]
fn random() -> io::Result<u64> {
    use std::io::Read;
    let mut seed = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(u64::from_ne_bytes(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ() {
        let mut entropy = OsEntropy::new().unwrap();
        assert_ne!(entropy.seed(), entropy.seed());
    }
}
