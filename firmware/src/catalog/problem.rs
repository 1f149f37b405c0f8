//! What is wrong with a file, in words for the person who wrote it.

use core::fmt;

use heapless::String;

use crate::cut::cut;

/// Longest reason in bytes; the rest is cut off.
pub const REASON_LEN: usize = 160;

/// A reason in words.
pub(super) type Reason = String<REASON_LEN>;

/// Formats a reason and cuts off what does not fit.
pub(super) fn reason(text: fmt::Arguments<'_>) -> Reason {
    cut(text)
}

/// An error in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Fault {
    /// Line from 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// What is wrong and, where that is not plain, what to do.
    pub reason: String<REASON_LEN>,
}

impl Fault {
    pub(super) fn new(line: u32, text: fmt::Arguments<'_>) -> Self {
        Self {
            line,
            reason: reason(text),
        }
    }

    /// A fault of the file as a whole.
    pub(super) fn whole(text: fmt::Arguments<'_>) -> Self {
        Self::new(0, text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.reason),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

impl core::error::Error for Fault {}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Severity {
    /// Some machine will be refused.
    Error,
    /// Every machine is answered, but perhaps not as the operator meant.
    Warning,
}

/// Something that [`Catalog::load`](super::Catalog::load) found wrong.
///
/// Displays as `groups/node1.json:3: expected ',' or '}', found '"'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or the folder with a `/` at its end.
    pub path: &'a str,
    /// Line from 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// What is wrong and what to do.
    pub reason: &'a str,
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Place(self.path, self.line).fmt(f)?;
        write!(f, ": {}", self.reason)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Problem<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

/// `path:line`, or the path alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a>(pub(super) &'a str, pub(super) u32);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => f.write_str(self.0),
            line => write!(f, "{}:{line}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_cuts() {
        let mut problem = Problem {
            severity: Severity::Error,
            path: "groups/a.json",
            line: 3,
            reason: "broken",
        };
        assert_eq!(problem.to_string(), "groups/a.json:3: broken");
        problem.line = 0;
        assert_eq!(problem.to_string(), "groups/a.json: broken");
        assert_eq!(cut::<4>(format_args!("ab{}", "cdé")), "abcd");
        assert_eq!(cut::<4>(format_args!("abcé{}", 1)), "abc");
    }
}
