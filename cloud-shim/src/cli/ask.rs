//! The question before anything is done.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::account::Account;
use super::args::Common;
use crate::error::{Error, Result};

/// Asks whether to go on, naming account and region; `--yes` answers it.
///
/// # Errors
///
/// If the answer is no, or nobody is there to give one.
pub(super) fn before(account: &Account, common: &Common, what: &str) -> Result<()> {
    let region = account.context.caller.region();
    let number = &account.context.account;
    eprintln!(
        "lab \"{}\" in account {number} ({}), region {region}: {what}",
        account.config.lab, account.arn
    );
    if common.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::refused(
            "nobody is there to say yes: add --yes to go on without the question",
        ));
    }
    eprint!("Go on? [y/N] ");
    let mut answer = String::new();
    let read = io::stderr()
        .flush()
        .and_then(|()| io::stdin().lock().read_line(&mut answer));
    match read {
        Ok(_) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
        Ok(_) => Err(Error::refused("nothing was done")),
        Err(error) => Err(Error::io("standard input", error)),
    }
}
