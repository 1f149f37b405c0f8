//! When a recurrence in cron's five fields comes due next.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Minutes, hours, days of the month, months and days of the week, each as
/// a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether both the days and the weekdays are restricted: then either will do.
    either_day: bool,
}

/// A leap day may be eight years away.
const HORIZON_DAYS: i64 = 8 * 366;

impl Cron {
    /// Five fields of numbers, lists, ranges and steps.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return None;
        };
        let mut cron = Self {
            minutes: field(minutes, 0, 59)?,
            hours: field(hours, 0, 23)?,
            days: field(days, 1, 31)?,
            months: field(months, 1, 12)?,
            weekdays: field(weekdays, 0, 7)?,
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        // 7 is Sunday as well as 0.
        cron.weekdays |= cron.weekdays >> 7;
        Some(cron)
    }

    /// The first time after `after`, in Unix seconds.
    pub(super) fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        let today = Timestamp::from_second(after)
            .ok()?
            .to_zoned(zone.clone())
            .date();
        for day in 0..HORIZON_DAYS {
            let date = today.checked_add(day.days()).ok()?;
            if !self.is_day(date) {
                continue;
            }
            for minute in 0..24 * 60_i16 {
                let (hour, minute) = ((minute / 60) as i8, (minute % 60) as i8);
                if self.hours >> hour & 1 == 0 || self.minutes >> minute & 1 == 0 {
                    continue;
                }
                let time = Time::constant(hour, minute, 0, 0);
                let zoned = date.to_datetime(time).to_zoned(zone.clone()).ok()?;
                let second = zoned.timestamp().as_second();
                if second > after {
                    return Some(second);
                }
            }
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let weekday = match date.weekday() {
            Weekday::Sunday => 0,
            other => other.to_monday_one_offset(),
        };
        let by_day = self.days >> date.day() & 1 == 1;
        let by_weekday = self.weekdays >> weekday & 1 == 1;
        let fits = if self.either_day {
            by_day || by_weekday
        } else {
            by_day && by_weekday
        };
        fits && self.months >> date.month() & 1 == 1
    }
}

/// A field's set: `*`, `*/5`, `1,2`, `8-18`, `8-18/2`.
fn field(text: &str, least: u32, most: u32) -> Option<u64> {
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            None => {
                let only = range.parse().ok()?;
                (only, only)
            }
        };
        if first < least || last > most || first > last {
            return None;
        }
        for value in (first..=last).step_by(step as usize) {
            set |= 1 << value;
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recurrence_is_five_fields() {
        for (text, good) in [
            ("0 18 * * *", true),
            ("*/15 8-18/2 1,15 * 1-5", true),
            ("0 18 * *", false),
            ("0 18 * * * *", false),
            ("60 18 * * *", false),
            ("0 24 * * *", false),
            ("0 18 0 * *", false),
            ("0 18 * 13 *", false),
            ("0 18 * * 8", false),
            ("0 8-6 * * *", false),
            ("*/0 * * * *", false),
            ("noon", false),
        ] {
            assert_eq!(Cron::parse(text).is_some(), good, "{text}");
        }
    }

    #[test]
    fn the_next_time_is_in_the_zone() {
        for (cron, zone, after, expected) in [
            (
                "0 18 * * *",
                "Europe/Dublin",
                "2026-11-25T12:00:00Z",
                "2026-11-25T18:00:00Z",
            ),
            (
                "0 18 * * *",
                "Europe/Dublin",
                "2026-11-25T18:00:00Z",
                "2026-11-26T18:00:00Z",
            ),
            (
                "0 18 * * *",
                "Europe/Dublin",
                "2026-07-01T12:00:00Z",
                "2026-07-01T17:00:00Z",
            ),
            (
                "0 18 * * *",
                "UTC",
                "2026-07-01T12:00:00Z",
                "2026-07-01T18:00:00Z",
            ),
            (
                "30 6 1 * *",
                "UTC",
                "2026-11-25T12:00:00Z",
                "2026-12-01T06:30:00Z",
            ),
            (
                "0 0 * * 0",
                "UTC",
                "2026-11-25T12:00:00Z",
                "2026-11-29T00:00:00Z",
            ),
            (
                "0 0 * * 7",
                "UTC",
                "2026-11-25T12:00:00Z",
                "2026-11-29T00:00:00Z",
            ),
            (
                "0 0 27 * 0",
                "UTC",
                "2026-11-25T12:00:00Z",
                "2026-11-27T00:00:00Z",
            ),
            (
                "0 0 29 2 *",
                "UTC",
                "2026-11-25T12:00:00Z",
                "2028-02-29T00:00:00Z",
            ),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            let after: Timestamp = after.parse().unwrap();
            let expected: Timestamp = expected.parse().unwrap();
            let next = Cron::parse(cron).unwrap().next(after.as_second(), &zone);
            assert_eq!(next, Some(expected.as_second()), "{cron}");
        }
    }
}
