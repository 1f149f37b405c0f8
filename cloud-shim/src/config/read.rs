//! Reads `cloud.toml`, and says what is wrong with it and where.

use core::ops::Range;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::Problem;
use super::{Bastion, Config};
use crate::error::{Error, Result};

/// The file that is read if none is named.
const FILE: &str = "cloud.toml";
/// A file of more bytes is not meant for us.
const MOST_BYTES: u64 = 1 << 20;

impl Config {
    /// Reads and checks a file. Without a path, `cloud.toml` in this folder if
    /// there is one, and the defaults if there is none. Paths in a file start
    /// from its folder.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with path, line, column and key, or [`Error::Io`].
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let file = path.unwrap_or(Path::new(FILE));
        match read_bounded(file) {
            Ok(text) => {
                let mut config = Self::parse(&file.display().to_string(), &text)?;
                config.start_from(file.parent().unwrap_or(Path::new("")));
                Ok(config)
            }
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(source) => Err(Error::io(file, source)),
        }
    }

    fn start_from(&mut self, folder: &Path) {
        let Bastion {
            data,
            ichor,
            bundle,
            ..
        } = &mut self.bastion;
        for path in [data, ichor].into_iter().chain(bundle) {
            *path = folder.join(&*path);
        }
    }

    /// Reads and checks a text; `name` is told in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with name, line, column and key.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let source = Source::new(name, text)?;
        let config: Self = toml::from_str(text).map_err(|error| source.explain(&error))?;
        let problems = config.problems();
        fail(problems.iter().map(|problem| source.tell(problem)))?;
        Ok(config)
    }

    /// Checks what no file says, such as flags.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the key.
    pub fn check(&self) -> Result<()> {
        let problems = self.problems();
        fail(problems.iter().map(ToString::to_string))
    }
}

/// Fails if there is anything to tell.
fn fail(lines: impl Iterator<Item = String>) -> Result<()> {
    let mut errors: Vec<Error> = lines.map(Error::Config).collect();
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => Err(Error::Several(errors)),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        let why = "more than 1 MiB: this is no cloud.toml";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(text)
}

/// A text, and where in it each key stands.
struct Source<'a> {
    name: &'a str,
    text: &'a str,
    places: BTreeMap<String, Place>,
}

/// Where a key and its value stand, in bytes.
struct Place {
    key: Range<usize>,
    value: Range<usize>,
}

impl<'a> Source<'a> {
    fn new(name: &'a str, text: &'a str) -> Result<Self> {
        let mut source = Self {
            name,
            text,
            places: BTreeMap::new(),
        };
        let table = DeTable::parse(text).map_err(|error| source.explain(&error))?;
        source.note("", table.get_ref())?;
        Ok(source)
    }

    /// Notes where the keys of a table stand. A date or time without quotes is
    /// TOML's own, which no key takes.
    fn note(&mut self, path: &str, table: &DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            let path = join(path, key.get_ref());
            let place = Place {
                key: key.span(),
                value: value.span(),
            };
            self.places.insert(path.clone(), place);
            self.note_value(&path, value)?;
        }
        Ok(())
    }

    fn note_value(&mut self, path: &str, value: &Spanned<DeValue<'_>>) -> Result<()> {
        match value.get_ref() {
            DeValue::Table(table) => self.note(path, table),
            DeValue::Datetime(time) => {
                let place = self.place(value.span().start);
                let why = format!("{place}: {path}: expected text in quotes: \"{time}\"");
                Err(Error::Config(why))
            }
            _ => Ok(()),
        }
    }

    /// `cloud.toml:3:7`.
    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before[start..].chars().count() + 1;
        format!("{}:{line}:{column}", self.name)
    }

    /// The innermost key that stands here, or whose value does.
    fn key_at(&self, span: &Range<usize>) -> Option<&str> {
        let holds = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
        self.places
            .iter()
            .filter(|(_, place)| holds(&place.key) || holds(&place.value))
            .max_by_key(|(path, _)| path.len())
            .map(|(path, _)| path.as_str())
    }

    /// A problem, with the place of its value; without one if the value is a
    /// default.
    fn tell(&self, problem: &Problem) -> String {
        match self.places.get(&problem.key) {
            Some(place) => format!("{}: {problem}", self.place(place.value.start)),
            None => format!("{}: {problem} (a default)", self.name),
        }
    }

    /// What the parser says, with place, key, and the key that was meant.
    fn explain(&self, error: &toml::de::Error) -> Error {
        // The parser's text is a line for each of its thoughts.
        let mut what = error.message().trim().replace('\n', "; ");
        let quoted: Vec<&str> = what.split('`').skip(1).step_by(2).collect();
        if let [wrong, known @ ..] = quoted.as_slice()
            && what.starts_with("unknown")
            && let Some(meant) = nearest(wrong, known)
        {
            what = format!("{what}; did you mean `{meant}`?");
        }
        let Some(span) = error.span() else {
            return Error::Config(format!("{}: {what}", self.name));
        };
        let place = self.place(span.start);
        Error::Config(match self.key_at(&span) {
            Some(key) => format!("{place}: {key}: {what}"),
            None => format!("{place}: {what}"),
        })
    }
}

/// The path of a key in a table, with quotes where TOML wants them.
fn join(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = if key.chars().all(bare) {
        key.to_owned()
    } else {
        format!("\"{key}\"")
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

/// The known word that a wrong one is a slip of, if there is one.
fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let slips = (wrong.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|word| (distance(wrong, word), *word))
        .filter(|(distance, _)| *distance <= slips)
        .min()
        .map(|(_, word)| word)
}

/// How many letters to put in, take out or change make one word the other
/// (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse("cloud.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_design() {
        assert_eq!(Config::parse("cloud.toml", "").unwrap(), Config::default());
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
            lab = "third-star"
            region = "eu-central-1"
            zone = "eu-central-1b"
            max_monthly_usd = 50
            egress = "nat-gateway"
            free_trial_until = "2025-12-31"
            [network]
            vpc = "10.30.0.0/16"
            public = "10.30.1.0/24"
            private = "10.30.13.0/24"
            [bastion]
            address = "10.30.13.140"
            stack_address = "10.30.13.141"
            instance_type = "t4g.medium"
            image = "ami-0a"
            root_gib = 4
            schedule = { start = "07:30", hours = 24, time_zone = "Europe/Vienna" }
            public_interface = true
            public_address = "10.30.1.7"
            ssh_from = ["2001:db8::/56"]
            data = "lab"
            ichor = "ichor"
            bundle = "bundle"
            [nodes]
            instance_type = "t4g.large"
            max = 1
            ttl_hours = 2
            root_gib = 3
            open = ["tcp 7000-7999"]
            [mirrors]
            "docker.io" = 6000
            [images]
            registry = "registry"
            pihole = "pihole"
        "#;
        let config = Config::parse("cloud.toml", text).unwrap();
        assert_eq!(config.max_monthly_usd, 50.0);
        assert_eq!(config.bastion.schedule.start.minute(), 30);
        assert_eq!(config.mirrors.len(), 1);
        let left_as_they_were = [
            config.lab == Config::default().lab,
            config.zone == Config::default().zone,
            config.network == Config::default().network,
            config.images == Config::default().images,
            config.nodes.open == Config::default().nodes.open,
            config.bastion.bundle == Config::default().bastion.bundle,
            config.bastion.image == Config::default().bastion.image,
        ];
        assert_eq!(left_as_they_were, [false; 7]);
    }

    #[test]
    fn says_where_and_what_was_meant() {
        for (text, wanted) in [
            (
                "[bastion]\nscheduel = 1",
                &[
                    "cloud.toml:2:1: bastion.scheduel: unknown field",
                    "did you mean `schedule`?",
                ][..],
            ),
            (
                "lab = \"home\"\negress = \"ipv5\"",
                &[
                    "cloud.toml:2:10: egress: unknown variant `ipv5`",
                    "did you mean `ipv6`?",
                ],
            ),
            (
                "[nodes]\nmax = \"three\"",
                &["cloud.toml:2:7: nodes.max: invalid type", "expected u32"],
            ),
            (
                "[network]\n  private = \"10.20.13.0\"",
                &["cloud.toml:2:13: network.private: "],
            ),
            ("lab = ", &["cloud.toml:1:"]),
            (
                "lab = 'a'\nlab = 'b'",
                &["cloud.toml:2:1: ", "duplicate key"],
            ),
            (
                "free_trial_until = 2026-12-31",
                &["cloud.toml:1:20: free_trial_until: ", "\"2026-12-31\""],
            ),
            (
                "[bastion.schedule]\nstart = \"25:00\"",
                &["cloud.toml:2:9: bastion.schedule.start: "],
            ),
            (
                "[nodes]\nopen = [\"tcp 1\", \"sctp 2\"]",
                &[
                    "cloud.toml:2:8: nodes.open: \"sctp 2\" ",
                    "expected \"tcp 7946\"",
                ],
            ),
            (
                "[bastion.schedule]\nhours = 25",
                &["cloud.toml:2:9: bastion.schedule.hours: 25: expected 1 to 24"],
            ),
            (
                "[bastion.schedule]\ntime_zone = \"Europe/Dubln\"",
                &["cloud.toml:2:13: bastion.schedule.time_zone: no time zone"],
            ),
            (
                "[mirrors]\n\"docker.io\" = 22",
                &["cloud.toml:2:15: mirrors.\"docker.io\": "],
            ),
            // Not the key that was changed, but the default that it breaks.
            (
                "[network]\nprivate = \"10.20.14.0/24\"",
                &["cloud.toml: bastion.address: 10.20.13.140", "(a default)"],
            ),
        ] {
            let error = error(text);
            for part in wanted {
                assert!(error.contains(part), "{text}\n{error}\nlacks {part}");
            }
        }
    }

    #[test]
    fn every_problem_has_a_line() {
        let text = "lab = \"Home\"\nmax_monthly_usd = -1\n[nodes]\nmax = 0";
        let error = error(text);
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 3, "{error}");
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let path = Path::new("no/such/cloud.toml");
        let error = Config::read(Some(path)).unwrap_err();
        assert!(error.to_string().contains("no/such/cloud.toml"), "{error}");
    }

    #[test]
    fn only_a_slip_is_corrected() {
        let known = ["schedule", "address", "data"];
        for (wrong, meant) in [
            ("scheduel", Some("schedule")),
            ("adress", Some("address")),
            ("date", Some("data")),
            ("colour", None),
        ] {
            assert_eq!(nearest(wrong, &known), meant, "{wrong}");
        }
    }
}
