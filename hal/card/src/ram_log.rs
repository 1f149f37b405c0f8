//! A lease log in RAM, for a board without a card: forgotten at power-off.

use heapless::Vec;
use ichor_hal::{LeaseLog, LogError};

/// Keeps the last `N` bytes' worth of leases in RAM.
///
/// It lets DHCP run without a card. The board must say so where people see
/// it: after a power cut, addresses may be given twice.
#[derive(Debug)]
pub struct RamLog<const N: usize> {
    bytes: Vec<u8, N>,
}

impl<const N: usize> RamLog<N> {
    /// An empty log.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }
}

impl<const N: usize> Default for RamLog<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> LeaseLog for RamLog<N> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, LogError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    async fn truncate(&mut self, len: u64) -> Result<(), LogError> {
        self.bytes
            .truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    /// Nothing is ever read back but by a restart, which forgets it all: so a
    /// full log starts over.
    async fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if self.bytes.extend_from_slice(bytes).is_err() {
            self.bytes.clear();
            self.bytes
                .extend_from_slice(bytes)
                .map_err(|_| LogError::Full)?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    async fn begin_rewrite(&mut self) -> Result<(), LogError> {
        self.bytes.clear();
        Ok(())
    }

    async fn finish_rewrite(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}
