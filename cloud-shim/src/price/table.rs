//! Estimates as people read them.

use core::fmt;

use super::{Estimate, Item, Sessions, usd};

impl fmt::Display for Estimate {
    /// A line for each item, the dearest first, and the totals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items: Vec<&Item> = self.items.iter().collect();
        items.sort_by(|a, b| {
            let dearer = b.monthly.total_cmp(&a.monthly);
            dearer.then(b.monthly_after_trial.total_cmp(&a.monthly_after_trial))
        });
        let wide = |of: fn(&Item) -> &str, least: usize| {
            let widths = items.iter().map(|item| of(item).chars().count());
            widths.max().unwrap_or(0).max(least)
        };
        let part = wide(|item| &item.part, "after the trial".len());
        let what = wide(|item| &item.what, 4);
        let mut row = |part_name: &str, name: &str, hour: &str, month: &str, note: &str| {
            let line = format!("{part_name:part$}  {name:what$}  {hour:>9}  {month:>9}  {note}");
            writeln!(f, "{}", line.trim_end())
        };
        row("PART", "WHAT", "PER HOUR", "PER MONTH", "")?;
        for item in items {
            let (hour, month) = (usd(item.per_hour), usd(item.monthly));
            row(&item.part, &item.what, &hour, &month, &item.note)?;
        }
        let (hour, month) = (usd(self.per_hour), usd(self.monthly));
        row("total", "", &hour, &month, "")?;
        if self.in_trial {
            let month = usd(self.monthly_after_trial);
            let note = format!("from the day after {}", self.trial_until);
            row("after the trial", "", "", &month, &note)?;
        }
        Ok(())
    }
}

impl fmt::Display for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            nodes,
            hours,
            ..
        } = self;
        writeln!(
            f,
            "sessions, on top: {count} a month of {nodes} nodes x {hours} h: {} each, {} a month \
             ({} after the trial)",
            usd(self.each),
            usd(self.monthly),
            usd(self.monthly_after_trial)
        )?;
        writeln!(
            f,
            "within max_monthly_usd, with the plan: {} of them; all would use {:.0} of the \
             trial's {:.0} h",
            self.within_budget, self.trial_hours, self.trial_limit
        )
    }
}
