//! The command line: `ichor serve` and `ichor explain`.
//!
//! The settings of `serve` come from one table, [`Config::KEYS`], which is
//! also what `ichor.toml` is read by: a flag is a key with two hyphens.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ichor::config::{Config, Key};

use crate::board::Board;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Serve(Serve),
    Explain(Explain),
}

/// `ichor serve`
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) data: PathBuf,
    pub(crate) log: LogFormat,
    /// Keys and values, in no order that matters.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// `ichor explain`
#[derive(Debug)]
pub(crate) struct Explain {
    pub(crate) data: PathBuf,
    /// Key and value of each label.
    pub(crate) labels: Vec<(String, String)>,
}

/// How the machines' timelines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

fn command() -> Command {
    let data = || {
        Arg::new("data")
            .long("data")
            .value_name("DIR")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("The matchbox folder: groups/, profiles/, assets/ … and ichor.toml")
    };
    let serve = Command::new("serve")
        .about("Serve DHCP, TFTP and HTTP until told to stop")
        .after_help(
            "Every setting is also a key of ichor.toml in the data folder; a flag wins over it.\n\
             \n\
             Exit codes: 0 ended by a signal, 2 wrong flag or setting, 3 no permission, \
             4 no such interface or NIC,\n\
             5 address used by another machine, 6 state folder in use or unusable, 1 anything else.",
        )
        .arg(data())
        .arg(
            Arg::new("log")
                .long("log")
                .value_parser(PossibleValuesParser::new(["text", "json"]))
                .default_value("text")
                .help("How the steps of each machine are printed on standard output"),
        )
        .args(Config::KEYS.iter().map(flag))
        .args(Board::KEYS.iter().map(flag));
    let explain = Command::new("explain")
        .about("Say which group and profile a machine gets, and why not the others")
        .arg(data())
        .arg(
            Arg::new("mac")
                .long("mac")
                .value_name("ADDRESS")
                .help("The machine's hardware address"),
        )
        .arg(
            Arg::new("label")
                .long("label")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("Another label that it sends, e.g. uuid=… or arch=arm64; may be repeated"),
        );
    Command::new("ichor")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Netboot server: DHCP, TFTP and HTTP in one process, from a matchbox folder")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args_override_self(true)
        .subcommands([serve, explain])
}

fn flag<T>(key: &Key<T>) -> Arg {
    let action = if key.repeats {
        ArgAction::Append
    } else {
        ArgAction::Set
    };
    Arg::new(key.name)
        .long(key.name)
        .value_name(key.value)
        .help(key.about)
        .action(action)
}

/// Reads the command line; prints help or what is wrong and exits if it asks
/// for nothing.
pub(crate) fn parse() -> Request {
    match command().get_matches().subcommand() {
        Some(("explain", matches)) => Request::Explain(explain(matches)),
        Some((_, matches)) => Request::Serve(serve(matches)),
        None => command()
            .error(clap::error::ErrorKind::MissingSubcommand, "no command")
            .exit(),
    }
}

fn serve(matches: &ArgMatches) -> Serve {
    let names = Config::KEYS
        .iter()
        .map(|key| key.name)
        .chain(Board::KEYS.iter().map(|key| key.name));
    let settings = names.flat_map(|name| {
        let values = matches.get_many::<String>(name).unwrap_or_default();
        values.map(move |value| (name, value.clone()))
    });
    let json = matches
        .get_one::<String>("log")
        .is_some_and(|format| format == "json");
    Serve {
        data: data(matches),
        log: if json {
            LogFormat::Json
        } else {
            LogFormat::Text
        },
        settings: settings.collect(),
    }
}

fn explain(matches: &ArgMatches) -> Explain {
    let mac = matches
        .get_one::<String>("mac")
        .map(|mac| ("mac".to_owned(), mac.clone()));
    let labels = matches
        .get_many::<String>("label")
        .unwrap_or_default()
        .map(|label| match label.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => command()
                .error(
                    clap::error::ErrorKind::ValueValidation,
                    format!("--label {label}: expected KEY=VALUE"),
                )
                .exit(),
        });
    Explain {
        data: data(matches),
        labels: mac.into_iter().chain(labels).collect(),
    }
}

fn data(matches: &ArgMatches) -> PathBuf {
    // The flag is required.
    matches
        .get_one::<PathBuf>("data")
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
