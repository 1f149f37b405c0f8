//! The bench's figures as a table for people: medians, spreads, ratios, and what they had to be.

use std::fmt::Write as _;

use super::row::{Bar, Limit, MIB, Of, Taken};
use super::summary::{median, spread};

/// Columns to the left, and their widths.
const ROW: usize = 18;
const CONTENDER: usize = 20;
const MEDIAN: usize = 14;
const SPREAD: usize = 16;
const RATIO: usize = 19;
const BAR: usize = 16;

/// The table of all rows.
pub(super) fn table(rows: &[Taken]) -> String {
    let mut table = line(&[
        ("row", ROW),
        ("", CONTENDER),
        ("median", MEDIAN),
        ("least–greatest", SPREAD),
        ("ichor ÷ this", RATIO),
        ("bar", BAR),
        ("CPU s: server, machine; peak memory", 0),
    ]);
    for row in rows {
        table += &of_row(row);
    }
    table += "\n\
        Ratios are taken pair by pair; their median and spread are shown. CPU: seconds of the server's process \
        and its children,\nand of the whole machine with clients and kernel. The kernel may bill to a sender what \
        its receiver on the same machine costs.\n";
    table
}

/// `12.3 MB/s`.
pub(super) fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", figure(value))
}

/// Three or four digits that count.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn of_row(taken: &Taken) -> String {
    let row = taken.row;
    let mut table = String::new();
    let mut bars: Vec<&Bar> = row.bars.iter().collect();
    for (number, contender) in row.contenders.iter().enumerate() {
        let values = taken.values(number);
        if values.is_empty() {
            continue;
        }
        let (name, ratio, of) = if number == 0 {
            (row.name, String::new(), Of::Value)
        } else {
            ("", range(&taken.ratios(number)), Of::Ratio(contender))
        };
        let bar = take_bar(&mut bars, of);
        table += &line(&[
            (name, ROW),
            (contender, CONTENDER),
            (&with_unit(median(&values), row.unit.symbol), MEDIAN),
            (&from_to(&values), SPREAD),
            (&ratio, RATIO),
            (&verdict(taken, bar), BAR),
            (&costs(taken, number), 0),
        ]);
        let figures = taken.samples[number].first();
        for (name, _) in figures.into_iter().flat_map(|sample| &sample.figures) {
            let values = taken.of(number, |sample| {
                let mut figures = sample.figures.iter();
                figures.find(|(figure, _)| figure == name).map(|it| it.1)
            });
            let bar = (number == 0).then(|| take_bar(&mut bars, Of::Figure(name)));
            table += &line(&[
                ("", ROW),
                (&format!("  {name}"), CONTENDER),
                (&figure(median(&values)), MEDIAN),
                (&from_to(&values), SPREAD),
                ("", RATIO),
                (&verdict(taken, bar.flatten()), BAR),
            ]);
        }
    }
    // What has no line of its own: peak memory, or what was not measured.
    for bar in bars {
        let of = match bar.of {
            Of::Value => "value",
            Of::Ratio(to) => to,
            Of::Figure(name) => name,
            Of::PeakMemory => "peak memory, MiB",
        };
        let found = taken.looked_at(bar.of);
        let (middle, spread) = if found.is_empty() {
            ("not measured".to_owned(), String::new())
        } else {
            (figure(median(&found)), from_to(&found))
        };
        table += &line(&[
            (
                if taken.values(0).is_empty() {
                    row.name
                } else {
                    ""
                },
                ROW,
            ),
            (&format!("  {of}"), CONTENDER),
            (&middle, MEDIAN),
            (&spread, SPREAD),
            ("", RATIO),
            (&verdict(taken, Some(bar)), BAR),
        ]);
    }
    if let Some(error) = &taken.error {
        // Writing to a String cannot fail.
        let error = error.lines().next().unwrap_or_default();
        let _ = writeln!(table, "{:ROW$}not measured further: {error}", row.name);
    }
    table
}

fn take_bar<'a>(bars: &mut Vec<&'a Bar>, of: Of) -> Option<&'a Bar> {
    let at = bars.iter().position(|bar| bar.of == of)?;
    Some(bars.remove(at))
}

/// `≥ 1.00  met`.
fn verdict(taken: &Taken, bar: Option<&Bar>) -> String {
    let Some(bar) = bar else {
        return String::new();
    };
    let found = taken.looked_at(bar.of);
    let met = match found.is_empty() {
        true => "",
        false if bar.limit.is_met_by(median(&found)) => "  met",
        false => "  MISSED",
    };
    match bar.limit {
        Limit::AtLeast(limit) => format!("≥ {}{met}", figure(limit)),
        Limit::AtMost(limit) => format!("≤ {}{met}", figure(limit)),
    }
}

/// `0.60, 1.80 per GB; 8.1 MiB`.
fn costs(taken: &Taken, contender: usize) -> String {
    let pick = |pick: fn(&super::row::Cpu) -> f64| {
        let times = taken.of(contender, |sample| sample.cpu.as_ref().map(pick));
        (!times.is_empty()).then(|| figure(median(&times)))
    };
    let cpu = pick(|cpu| cpu.server).zip(pick(|cpu| cpu.machine));
    let cpu = cpu.map(|(server, machine)| format!("{server}, {machine} per {}", taken.row.per));
    let peaks = taken.of(contender, |sample| {
        sample.peak_memory.map(|it| it as f64 / MIB)
    });
    let peak = (!peaks.is_empty()).then(|| with_unit(median(&peaks), "MiB"));
    let costs: Vec<String> = cpu.into_iter().chain(peak).collect();
    costs.join("; ")
}

/// Ratios as `1.02 (0.99–1.05)`; one alone without its spread.
pub(super) fn range(ratios: &[f64]) -> String {
    let middle = median(ratios);
    let (least, greatest) = spread(ratios);
    match ratios.len() {
        0 => String::new(),
        1 => format!("{middle:.2}"),
        _ => format!("{middle:.2} ({least:.2}–{greatest:.2})"),
    }
}

fn from_to(values: &[f64]) -> String {
    if values.len() < 2 {
        return String::new();
    }
    let (least, greatest) = spread(values);
    format!("{}–{}", figure(least), figure(greatest))
}

/// Cells, each padded to its width and kept apart from the next.
fn line(cells: &[(&str, usize)]) -> String {
    let mut line = String::new();
    for (text, width) in cells {
        let pad = width.saturating_sub(1);
        let _ = write!(line, "{text:pad$} ");
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::taken;

    #[test]
    fn figures_have_the_digits_that_count() {
        for (value, want) in [
            (18_101.4, "18101"),
            (99.96, "100"),
            (12.34, "12.3"),
            (1.0, "1.00"),
            (0.0, "0.00"),
            (0.039_51, "0.0395"),
        ] {
            assert_eq!(figure(value), want);
        }
    }

    #[test]
    fn a_row_shows_medians_ratios_bars_and_costs() {
        let table = of_row(&taken(&[4.0, 6.0, 5.0], &[2.0, 2.0, 4.0]));
        let lines: Vec<String> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "row-a ichor 5.00 MB/s 4.00–6.00 0.50, 1.50 per GB; 2.00 MiB",
                "slowest/fastest 1.25 1.25–1.25 ≤ 1.20 MISSED",
                "peer 2.00 MB/s 2.00–4.00 2.00 (1.25–3.00) ≥ 2.00 met 0.50, 1.50 per GB; 2.00 MiB",
                "slowest/fastest 1.25 1.25–1.25",
                "peak memory, MiB 2.00 2.00–2.00 ≤ 2.00 met",
            ]
        );
    }

    #[test]
    fn what_was_not_measured_says_so() {
        let mut row = taken(&[], &[]);
        row.error = Some("nginx: no such file\nand more".to_owned());
        let table = of_row(&row);
        assert!(
            table.contains("peer") && table.contains("≥ 2.00\n"),
            "{table}"
        );
        assert!(
            !table.contains("met") && !table.contains("MISSED"),
            "{table}"
        );
        let last = table.lines().last().unwrap();
        assert!(last.ends_with("not measured further: nginx: no such file"));
        assert!(table.starts_with("row-a"), "{table}");
    }
}
