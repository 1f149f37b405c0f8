//! `ichor explain`: why a machine gets what it gets, without serving.

use std::io::Write as _;

use ichor::catalog::Labels;
use ichor_hal_linux::{DataFolder, Reactor, Symlinks};
use static_cell::ConstStaticCell;

use crate::capacity::BoardCatalog;
use crate::cli::Explain;
use crate::failure::{Failure, Kind};

static CATALOG: ConstStaticCell<BoardCatalog> = ConstStaticCell::new(BoardCatalog::new());

/// Prints the decision for one machine. Problems of the folder go to the log.
pub(crate) fn run(request: &Explain) -> Result<(), Failure> {
    let labels = labels(request)?;
    let failed = |error| {
        let folder = request.data.display();
        Failure::new(Kind::Config, format!("the data folder {folder}: {error}"))
    };
    let reactor = Reactor::new().map_err(failed)?;
    let files = DataFolder::open(&request.data, Symlinks::Follow, &reactor).map_err(failed)?;
    let catalog = CATALOG.take();
    // Reading from a disk never waits for the reactor.
    let summary =
        embassy_futures::block_on(catalog.load(&files, &mut |problem| log::warn!("{problem}")));
    log::debug!("{summary}");
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = catalog.explain(&labels, &mut text);
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(Kind::Other, format!("standard output: {error}")))
}

fn labels(request: &Explain) -> Result<Labels, Failure> {
    let mut labels = Labels::new();
    for (key, value) in &request.labels {
        labels
            .insert(key, value)
            .map_err(|error| Failure::new(Kind::Config, error))?;
        if labels.get(key).is_none() {
            let message = format!("--{key} {value}: not a hardware address like 52:54:00:12:34:56");
            return Err(Failure::new(Kind::Config, message));
        }
    }
    Ok(labels)
}
