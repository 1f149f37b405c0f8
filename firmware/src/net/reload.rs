//! The catalog follows the data folder.

use ichor_hal::Files;

use super::shelf::Shelf;
use super::status::Health;
use crate::catalog::{Catalog, Severity};

/// Reads the data folder into the catalog that is not in use, and shows it.
/// What is wrong goes to the log and to the status page.
#[expect(
    clippy::await_holding_refcell_ref,
    reason = "nobody else can see the spare catalog while it is filled"
)]
pub async fn load<F: Files, const A: usize, const G: usize, const P: usize, const T: usize>(
    files: &F,
    catalogs: &Shelf<Catalog<A, G, P, T>>,
    health: &Health,
) {
    health.catalog_loading();
    let summary = {
        let mut catalog = catalogs.spare().await;
        catalog
            .load(files, &mut |problem| {
                health.catalog_problem(&problem);
                match problem.severity {
                    Severity::Error => error!("{}", problem),
                    _ => warn!("{}", problem),
                }
            })
            .await
    };
    catalogs.show();
    health.catalog_loaded(summary);
    info!("catalog: {}", summary);
}

/// [`load`]s the catalog whenever the data folder changes after `seen`, for
/// ever.
pub async fn follow<F: Files, const A: usize, const G: usize, const P: usize, const T: usize>(
    files: &F,
    catalogs: &Shelf<Catalog<A, G, P, T>>,
    health: &Health,
    mut seen: u32,
) -> ! {
    loop {
        seen = files.changed(seen).await;
        load(files, catalogs, health).await;
    }
}
