//! What a machine says of itself: the labels that selectors are compared with.

use core::fmt;

use heapless::{String, Vec};

/// Most labels of one request. iPXE sends six.
pub const MAX_LABELS: usize = 24;

/// Most bytes of all keys and values of one request together.
pub const LABEL_BYTES: usize = 1024;

/// The longest hardware address: the 20 bytes of IP over InfiniBand (RFC 4391).
const MAC_TEXT: usize = 59;

/// The labels of one request.
///
/// Rules of matchbox: the first value of a repeated key counts; the value of
/// `mac` (in any case) becomes lower-case with colons, and one that is no
/// hardware address is as good as absent.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    text: String<LABEL_BYTES>,
    entries: Vec<Entry, MAX_LABELS>,
}

#[derive(Debug, Clone)]
struct Entry {
    start: u16,
    key_end: u16,
    value_end: u16,
    /// A bad MAC address: the key is taken, but the label is not there.
    dropped: bool,
}

/// The request has more labels than a catalog looks at.
///
/// None may be left out: a machine could match another group then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LabelsFull;

impl fmt::Display for LabelsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "query too long: at most {MAX_LABELS} labels with {LABEL_BYTES} bytes in all"
        )
    }
}

impl core::error::Error for LabelsFull {}

impl Labels {
    /// No labels.
    pub const fn new() -> Self {
        Self {
            text: String::new(),
            entries: Vec::new(),
        }
    }

    /// The labels of a query whose keys and values are decoded already.
    pub fn from_query<'q>(
        query: impl IntoIterator<Item = (&'q str, &'q str)>,
    ) -> Result<Self, LabelsFull> {
        let mut labels = Self::new();
        for (key, value) in query {
            labels.insert(key, value)?;
        }
        Ok(labels)
    }

    /// Adds a label, unless there is one with this key.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), LabelsFull> {
        if self.entries.iter().any(|entry| self.key(entry) == key) {
            return Ok(());
        }
        let mac = is_mac_key(key).then(|| normal_mac(value));
        let (value, dropped) = match &mac {
            None => (value, false),
            Some(Some(mac)) => (mac.as_str(), false),
            Some(None) => ("", true),
        };
        let start = self.text.len();
        self.text.push_str(key).map_err(|_| LabelsFull)?;
        let key_end = self.text.len();
        self.text.push_str(value).map_err(|_| LabelsFull)?;
        let entry = Entry {
            start: start as u16,
            key_end: key_end as u16,
            value_end: self.text.len() as u16,
            dropped,
        };
        self.entries.push(entry).map_err(|_| LabelsFull)
    }

    /// The value of a label; keys are compared case-sensitively.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// All labels in the order of the query.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .filter(|entry| !entry.dropped)
            .map(|entry| (self.key(entry), self.value(entry)))
    }

    fn key(&self, entry: &Entry) -> &str {
        let range = usize::from(entry.start)..usize::from(entry.key_end);
        self.text.get(range).unwrap_or_default()
    }

    fn value(&self, entry: &Entry) -> &str {
        let range = usize::from(entry.key_end)..usize::from(entry.value_end);
        self.text.get(range).unwrap_or_default()
    }
}

impl fmt::Display for Labels {
    /// `mac=52:54:00:12:34:56 arch=arm64`; empty values are left out, since
    /// iPXE sends every label it knows of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (key, value) in self.iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, "{space}{key}={value}")?;
            space = " ";
        }
        if space.is_empty() {
            f.write_str("no labels")?;
        }
        Ok(())
    }
}

/// Whether values of this label and selector are hardware addresses.
pub(super) fn is_mac_key(key: &str) -> bool {
    key.eq_ignore_ascii_case("mac")
}

/// A hardware address in lower case with colons.
///
/// Takes what matchbox takes (Go's `net.ParseMAC`): 6, 8 or 20 bytes with
/// colons or hyphens between bytes, or dots between pairs of bytes. Twelve
/// bare digits are not an address to it.
pub(super) fn normal_mac(text: &str) -> Option<String<MAC_TEXT>> {
    let bytes = text.as_bytes();
    let (separator, group) = match (bytes.get(2), bytes.get(4)) {
        (Some(separator @ (b':' | b'-')), _) => (*separator, 2),
        (_, Some(b'.')) => (b'.', 4),
        _ => return None,
    };
    let mut mac = String::new();
    let mut digits = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if at % (group + 1) == group {
            if byte != separator {
                return None;
            }
        } else {
            if !byte.is_ascii_hexdigit() {
                return None;
            }
            if digits > 0 && digits % 2 == 0 {
                mac.push(':').ok()?;
            }
            mac.push(char::from(byte.to_ascii_lowercase())).ok()?;
            digits += 1;
        }
    }
    let whole = bytes.len() % (group + 1) == group;
    (whole && matches!(digits, 12 | 16 | 40)).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_go_reads_them() {
        let long = "00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01";
        let table = [
            ("52:54:00:AB:cd:ef", Some("52:54:00:ab:cd:ef")),
            ("52-54-00-ab-cd-ef", Some("52:54:00:ab:cd:ef")),
            ("5254.00AB.cdef", Some("52:54:00:ab:cd:ef")),
            ("02:00:5e:10:00:00:00:01", Some("02:00:5e:10:00:00:00:01")),
            (long, Some(long)),
            ("525400abcdef", None),
            ("52:54:00:ab:cd", None),
            ("52:54:00:ab:cd:ef:", None),
            ("52:54:00:ab:cd:ef:00", None),
            ("52:54-00:ab:cd:ef", None),
            ("5:54:00:ab:cd:ef", None),
            ("x:x:x:x:x:x", None),
            ("${mac:hexhyp}", None),
            ("é:é:é:é:é:é", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(normal_mac(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn labels_follow_the_rules_of_matchbox() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[], "no labels"),
            (&[("uuid", "a1b2c3")], "uuid=a1b2c3"),
            (&[("mac", "52-DA-00-89-D8-10")], "mac=52:da:00:89:d8:10"),
            (&[("MAC", "52-DA-00-89-D8-10")], "MAC=52:da:00:89:d8:10"),
            (&[("a", "1"), ("a", "2"), ("b", "")], "a=1"),
            (&[("mac", "x:x:x:x:x:x")], "no labels"),
            (&[("mac", "bad"), ("mac", "52-da-00-89-d8-10")], "no labels"),
        ];
        for (query, want) in table {
            let labels = Labels::from_query(query.iter().copied()).unwrap();
            assert_eq!(labels.to_string(), *want);
        }
        let labels = Labels::from_query([("A", ""), ("b", "2")]).unwrap();
        assert_eq!((labels.get("A"), labels.get("a")), (Some(""), None));
        assert_eq!(labels.get("b"), Some("2"));
    }

    #[test]
    fn no_label_is_left_out_silently() {
        let mut labels = Labels::new();
        assert_eq!(
            labels.insert("a", &"x".repeat(LABEL_BYTES)),
            Err(LabelsFull)
        );
        let mut labels = Labels::new();
        for n in 0..MAX_LABELS {
            labels.insert(&n.to_string(), "").unwrap();
        }
        assert_eq!(labels.insert("more", ""), Err(LabelsFull));
    }
}
