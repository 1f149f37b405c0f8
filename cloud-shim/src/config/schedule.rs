//! When the bastion runs: so many hours a day, by the clock of a time zone.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

use crate::error::{Error, Result};

/// When the bastion runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Starts daily at this time, `18:00`.
    pub start: Time,
    /// For so many hours, 1–24; 24 is always.
    pub hours: u8,
    /// In this time zone, by its IANA name.
    pub time_zone: String,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            start: jiff::civil::time(18, 0, 0, 0),
            hours: 5,
            time_zone: "Europe/Dublin".to_owned(),
        }
    }
}

impl Schedule {
    /// Whether it never ends.
    pub fn always(&self) -> bool {
        self.hours >= 24
    }

    /// When it ends, by the clock: after midnight if it must be.
    pub fn end(&self) -> Time {
        self.start.wrapping_add(i64::from(self.hours).hours())
    }

    /// Whether the bastion shall run at this time.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an unknown time zone.
    pub fn runs_at(&self, now: Timestamp) -> Result<bool> {
        let minute = |time: Time| i32::from(time.hour()) * 60 + i32::from(time.minute());
        let now = now.to_zoned(self.zone()?).time();
        let since_start = (minute(now) - minute(self.start)).rem_euclid(24 * 60);
        Ok(self.always() || since_start < i32::from(self.hours) * 60)
    }

    /// The time zone's rules.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if there is none of that name.
    pub fn zone(&self) -> Result<TimeZone> {
        let name = &self.time_zone;
        let known = TimeZone::get(name).map_err(|_| {
            Error::Config(format!(
                "no time zone is called \"{name}\"; expected an IANA name such as \
                 \"Europe/Dublin\""
            ))
        })?;
        // AWS takes the name as it is written, and minds the case.
        match known.iana_name() {
            Some(written) if written != name => Err(Error::Config(format!(
                "\"{name}\" is written \"{written}\""
            ))),
            _ => Ok(known),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_by_the_clock_of_its_zone() {
        let dublin = Schedule::default();
        let late = Schedule {
            start: jiff::civil::time(22, 30, 0, 0),
            ..Schedule::default()
        };
        let always = Schedule {
            hours: 24,
            ..Schedule::default()
        };
        for (schedule, now, runs) in [
            // Winter: Dublin is UTC.
            (&dublin, "2026-11-25T17:59:59Z", false),
            (&dublin, "2026-11-25T18:00:00Z", true),
            (&dublin, "2026-11-25T22:59:59Z", true),
            (&dublin, "2026-11-25T23:00:00Z", false),
            // Summer: an hour ahead.
            (&dublin, "2026-07-01T17:00:00Z", true),
            (&dublin, "2026-07-01T22:00:00Z", false),
            // Over midnight.
            (&late, "2026-11-25T22:29:00Z", false),
            (&late, "2026-11-26T00:00:00Z", true),
            (&late, "2026-11-26T03:30:00Z", false),
            (&always, "2026-11-26T12:00:00Z", true),
        ] {
            let at: Timestamp = now.parse().unwrap();
            assert_eq!(schedule.runs_at(at).unwrap(), runs, "{now} {schedule:?}");
        }
        assert_eq!(late.end(), jiff::civil::time(3, 30, 0, 0));
    }

    #[test]
    fn a_zone_that_is_none_is_named() {
        for (zone, says) in [
            ("Europe/Dubln", "no time zone is called \"Europe/Dubln\""),
            ("", "no time zone"),
            ("europe/dublin", "is written \"Europe/Dublin\""),
        ] {
            let nowhere = Schedule {
                time_zone: zone.to_owned(),
                ..Schedule::default()
            };
            let error = nowhere.runs_at(Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
