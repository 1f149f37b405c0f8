//! What the replica costs, reckoned without asking AWS.

pub mod rates;

/// A gp3 volume of so many GiB that is there for so many hours, in USD.
pub fn volume(gib: u32, hours: f64) -> f64 {
    f64::from(gib) * rates::GP3_GIB_MONTH * hours / rates::HOURS_A_MONTH
}
