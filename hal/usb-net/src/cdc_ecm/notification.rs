//! What an adapter says unasked on its interrupt endpoint (CDC 1.2 §6.3).

const HEADER: usize = 8;
/// bmRequestType of a notification from an interface.
const FROM_INTERFACE: u8 = 0xA1;
const NETWORK_CONNECTION: u8 = 0x00;
const CONNECTION_SPEED_CHANGE: u8 = 0x2A;

/// Bytes of the longest one understood: header and two bit rates.
const LONGEST: usize = HEADER + 8;

/// News of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notification {
    /// Whether there is one.
    Connection(bool),
    /// Bits per second, from the network.
    Speed(u32),
}

/// Puts notifications together from transfers. An endpoint of eight bytes
/// gives a speed change in two.
#[derive(Debug, Default)]
pub(crate) struct Notifications {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Notifications {
    /// Takes what a transfer brought, at most [`LONGEST`] bytes of it.
    pub(crate) fn take(&mut self, transfer: &[u8]) -> Option<Notification> {
        if transfer.first() == Some(&FROM_INTERFACE) && transfer.len() >= HEADER {
            // A header: what came before is not going to be completed. (A bit
            // rate beginning with this byte would be an odd one, and the next
            // notification sets it right.)
            self.len = 0;
        }
        let room = &mut self.bytes[self.len..];
        let taken = transfer.len().min(room.len());
        room[..taken].copy_from_slice(&transfer[..taken]);
        self.len += taken;

        let &[kind, code, value, _, _, _, ..] = self.bytes.get(..self.len)? else {
            return None;
        };
        if kind != FROM_INTERFACE {
            self.len = 0;
            return None;
        }
        let news = match code {
            NETWORK_CONNECTION => Notification::Connection(value != 0),
            CONNECTION_SPEED_CHANGE => {
                let rate = self.bytes[..self.len].get(HEADER..HEADER + 4)?;
                Notification::Speed(u32::from_le_bytes(rate.try_into().ok()?))
            }
            // RESPONSE_AVAILABLE and what later editions define.
            _ => {
                self.len = 0;
                return None;
            }
        };
        self.len = 0;
        Some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: [u8; 8] = [0xA1, 0, 1, 0, 0, 0, 0, 0];
    const DOWN: [u8; 8] = [0xA1, 0, 0, 0, 0, 0, 0, 0];
    /// 100 Mbit/s both ways.
    const SPEED: [u8; 16] = [
        0xA1, 0x2A, 0, 0, 0, 0, 8, 0, 0, 0xE1, 0xF5, 0x05, 0, 0xE1, 0xF5, 0x05,
    ];

    #[test]
    fn whole_ones() {
        let mut notifications = Notifications::default();
        assert_eq!(
            notifications.take(&UP),
            Some(Notification::Connection(true))
        );
        assert_eq!(
            notifications.take(&SPEED),
            Some(Notification::Speed(100_000_000))
        );
        assert_eq!(
            notifications.take(&DOWN),
            Some(Notification::Connection(false))
        );
    }

    #[test]
    fn a_speed_in_two_packets() {
        let mut notifications = Notifications::default();
        assert_eq!(notifications.take(&SPEED[..8]), None);
        assert_eq!(
            notifications.take(&SPEED[8..]),
            Some(Notification::Speed(100_000_000))
        );
        // The second half lost: the next one is understood all the same.
        assert_eq!(notifications.take(&SPEED[..8]), None);
        assert_eq!(
            notifications.take(&DOWN),
            Some(Notification::Connection(false))
        );
    }

    #[test]
    fn nonsense_is_passed_over() {
        let mut notifications = Notifications::default();
        assert_eq!(notifications.take(&[]), None);
        assert_eq!(notifications.take(&[0xA1, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(notifications.take(&[0; 16]), None);
        assert_eq!(notifications.take(&[0x55; 40]), None);
        assert_eq!(
            notifications.take(&UP),
            Some(Notification::Connection(true))
        );
    }
}
