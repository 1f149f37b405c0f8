//! An estimate as text: a line for every part, also for what is free.

use core::fmt;

use super::{Estimate, usd};

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&super::Item) -> &str| {
            let longest = self
                .items
                .iter()
                .map(|item| text(item).chars().count())
                .max();
            longest.unwrap_or_default()
        };
        let parts = width(|item| &item.part).max("part".len());
        let what = width(|item| &item.what).max("what is paid for".len());
        writeln!(
            f,
            "{:parts$}  {:what$}  {:>9}  {:>9}  how",
            "part", "what is paid for", "an hour", "a month"
        )?;
        for item in &self.items {
            writeln!(
                f,
                "{:parts$}  {:what$}  {:>9}  {:>9}  {}",
                item.part,
                item.what,
                usd(item.per_hour),
                usd(item.monthly),
                item.note
            )?;
        }
        let total = "total";
        writeln!(
            f,
            "{total:parts$}  {:what$}  {:>9}  {:>9}  {} without the free trial, which lasts until {}",
            "",
            usd(self.per_hour),
            usd(self.monthly),
            usd(self.monthly_after_trial),
            self.trial_until
        )
    }
}
