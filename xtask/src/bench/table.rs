//! The bench's figures as a table for people: medians, spreads, ratios, and what they had to be.

use std::fmt::Write as _;

use super::row::{Bar, Limit, MIB, Of, Sample, Taken};
use super::summary::{median, spread};

/// Columns and their widths.
const ROW: usize = 18;
const CONTENDER: usize = 20;
const MEDIAN: usize = 12;
const SPREAD: usize = 15;
const RATIO: usize = 19;
const CPU: usize = 10;
const PER: usize = 17;

/// The table of all rows, and one of what they cost.
pub(super) fn table(rows: &[Taken]) -> String {
    let mut table = line(&[
        ("row", ROW),
        ("", CONTENDER),
        ("median", MEDIAN),
        ("spread", SPREAD),
        ("ichor ÷ this", RATIO),
        ("bar", 0),
    ]);
    table.extend(rows.iter().map(of_row));
    let costs: String = rows.iter().map(costs).collect();
    if !costs.is_empty() {
        table += "\n";
        table += &line(&[
            ("CPU seconds", ROW),
            ("", CONTENDER),
            ("server", CPU),
            ("machine", CPU),
            ("per", PER),
            ("peak memory", 0),
        ]);
        table += &costs;
    }
    table += "\n\
        Ratios are taken pair by pair: their median and spread. CPU: the server's process with\n\
        its children, and the whole machine with clients and kernel. The kernel may bill to a\n\
        sender what its receiver on the same machine costs.\n";
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
            (&verdict(taken, bar), 0),
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
                (&verdict(taken, bar.flatten()), 0),
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
            (&verdict(taken, Some(bar)), 0),
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

/// What processor time and memory each contender of a row took, if it was counted.
fn costs(taken: &Taken) -> String {
    let mut costs = String::new();
    let mut name = taken.row.name;
    for (number, contender) in taken.row.contenders.iter().enumerate() {
        let middle = |pick: fn(&Sample) -> Option<f64>, unit| {
            let found = taken.of(number, pick);
            let middle = (!found.is_empty()).then(|| figure(median(&found)) + unit);
            middle.unwrap_or_default()
        };
        let server = middle(|sample| sample.cpu.map(|cpu| cpu.server), "");
        let machine = middle(|sample| sample.cpu.map(|cpu| cpu.machine), "");
        let peak = middle(
            |sample| sample.peak_memory.map(|bytes| bytes as f64 / MIB),
            " MiB",
        );
        if server.is_empty() && peak.is_empty() {
            continue;
        }
        let per = if server.is_empty() { "" } else { taken.row.per };
        costs += &line(&[
            (name, ROW),
            (contender, CONTENDER),
            (&server, CPU),
            (&machine, CPU),
            (per, PER),
            (&peak, 0),
        ]);
        name = "";
    }
    costs
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

    fn words(table: &str) -> Vec<String> {
        let lines = table.lines();
        lines
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn a_row_shows_medians_ratios_and_bars() {
        let row = taken(&[4.0, 6.0, 5.0], &[2.0, 2.0, 4.0]);
        assert_eq!(
            words(&of_row(&row)),
            [
                "row-a ichor 5.00 MB/s 4.00–6.00",
                "slowest/fastest 1.25 1.25–1.25 ≤ 1.20 MISSED",
                "peer 2.00 MB/s 2.00–4.00 2.00 (1.25–3.00) ≥ 2.00 met",
                "slowest/fastest 1.25 1.25–1.25",
                "peak memory, MiB 2.00 2.00–2.00 ≤ 2.00 met",
            ]
        );
        assert_eq!(
            words(&costs(&row)),
            [
                "row-a ichor 0.50 1.50 GB 2.00 MiB",
                "peer 0.50 1.50 GB 2.00 MiB",
            ]
        );
        assert_eq!(costs(&taken(&[], &[])), "");
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
