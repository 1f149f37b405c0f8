//! What AWS takes in eu-west-1, in USD, as of 2026-11.

/// Hours in a month, as AWS counts.
pub const HOURS_A_MONTH: f64 = 730.0;
/// Days in such a month.
pub const DAYS_A_MONTH: f64 = HOURS_A_MONTH / 24.0;
/// The region that these are the prices of.
pub const REGION: &str = "eu-west-1";

/// NAT gateway, for each hour.
pub const NAT_GATEWAY_HOUR: f64 = 0.048;
/// NAT gateway, for each GB that goes through.
pub const NAT_GATEWAY_GB: f64 = 0.048;
/// Public IPv4 address, used or idle, for each hour.
pub const PUBLIC_IPV4_HOUR: f64 = 0.005;
/// gp3 volume, for each GiB and month.
pub const GP3_GIB_MONTH: f64 = 0.088;
/// Snapshot, for each GB and month.
pub const SNAPSHOT_GB_MONTH: f64 = 0.05;
/// S3 standard, for each GB and month.
pub const S3_GB_MONTH: f64 = 0.023;
/// S3, for each GET or HEAD. (Not in the facts: from S3's price list, not
/// checked again.)
pub const S3_GET: f64 = 0.000_000_4;
/// To the internet, for each GB above [`EGRESS_FREE_GB`].
pub const EGRESS_GB: f64 = 0.09;
/// To the internet each month for nothing.
pub const EGRESS_FREE_GB: f64 = 100.0;
/// One request to Cost Explorer, one page of its answer.
pub const COST_EXPLORER_PAGE: f64 = 0.01;
/// Hours of [`TRIAL_TYPE`] each month for nothing, all instances together,
/// while the trial lasts.
pub const TRIAL_HOURS: f64 = 750.0;
/// What the trial covers.
pub const TRIAL_TYPE: &str = "t4g.small";

/// Bytes in a GB, as storage is billed.
pub const GB: f64 = (1_u64 << 30) as f64;

/// An instance type whose price is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstanceType {
    /// Such as `t4g.small`.
    pub name: &'static str,
    /// USD for each hour, on demand.
    pub hour: f64,
    /// Memory in GiB.
    pub memory_gib: f64,
}

const fn t4g(name: &'static str, smalls: f64) -> InstanceType {
    InstanceType {
        name,
        hour: 0.0184 * smalls,
        memory_gib: 2.0 * smalls,
    }
}

/// Types whose price is known. Each t4g is twice the one before it, in memory
/// and price.
pub const INSTANCE_TYPES: &[InstanceType] = &[
    t4g("t4g.nano", 0.25),
    t4g("t4g.micro", 0.5),
    t4g("t4g.small", 1.0),
    t4g("t4g.medium", 2.0),
    t4g("t4g.large", 4.0),
    t4g("t4g.xlarge", 8.0),
    t4g("t4g.2xlarge", 16.0),
];

/// The type of this name.
pub fn instance_type(name: &str) -> Option<InstanceType> {
    let mut types = INSTANCE_TYPES.iter();
    types.find(|known| known.name == name).copied()
}
