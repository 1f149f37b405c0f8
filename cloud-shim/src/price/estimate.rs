//! Every part of a design with its price.

use serde::Serialize;

use super::{Compute, Usage, bastion_hours, compute, in_trial, rates, rounded, volume};
use crate::api::BLOCK_SIZE;
use crate::config::{Config, Egress};
use crate::design::parts;
use crate::engine::Part;
use crate::error::Result;
use crate::kinds::{Bucket, LoaderImage, Spec};

/// What a design costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Every part, and what comes with it.
    pub items: Vec<Item>,
    /// USD for an hour in which everything of it is there and runs.
    pub per_hour: f64,
    /// USD for a month.
    pub monthly: f64,
    /// USD for a month without the free trial.
    pub monthly_after_trial: f64,
    /// The trial's last day.
    pub trial_until: String,
    /// Whether the trial still lasts, and `monthly` counts on it.
    pub in_trial: bool,
}

/// A line of an estimate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// The part that it belongs to; `traffic` for what has none.
    pub part: String,
    /// What is paid for.
    pub what: String,
    /// USD for each hour in which it is there, or runs.
    pub per_hour: f64,
    /// USD for a month.
    pub monthly: f64,
    /// USD for a month without the free trial.
    pub monthly_after_trial: f64,
    /// How that comes about.
    pub note: String,
    /// The keys that change it.
    pub keys: &'static [&'static str],
}

impl Item {
    fn new(part: &Part, what: impl Into<String>, per_hour: f64, monthly: f64) -> Self {
        Self {
            part: part.to_string(),
            what: what.into(),
            per_hour: rounded(per_hour),
            monthly: rounded(monthly),
            monthly_after_trial: rounded(monthly),
            note: String::new(),
            keys: &[],
        }
    }

    fn free(part: &Part, what: impl Into<String>) -> Self {
        Self::new(part, what, 0.0, 0.0).note("free")
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn keys(mut self, keys: &'static [&'static str]) -> Self {
        self.keys = keys;
        self
    }
}

/// Prices every part, whether or not it is there already.
///
/// # Errors
///
/// An instance type whose price is not known.
pub fn estimate(config: &Config, parts: &[(Part, Spec)], usage: &Usage) -> Result<Estimate> {
    let mut items = Vec::new();
    for (part, spec) in parts {
        let name = spec.kind().name();
        match spec {
            Spec::NatGateway(_) => items.push(nat_gateway(part)),
            Spec::Address(address) => {
                let while_asked_for = address.interface.is_some();
                items.push(public_ipv4(part, while_asked_for, usage));
            }
            Spec::Bucket(bucket) => items.push(storage(part, bucket, config)),
            Spec::LoaderImage(image) => items.push(snapshot(part, image)),
            Spec::Group(_) => {
                items.push(Item::free(part, name));
                items.extend(bastion(part, config, usage)?);
            }
            Spec::Template(_) if *part == parts::NODE_TEMPLATE => {
                let note = "free; nodes are reckoned by the session";
                items.push(Item::free(part, name).note(note));
            }
            Spec::Vpc(_)
            | Spec::DhcpOptions(_)
            | Spec::Subnet(_)
            | Spec::InternetGateway(_)
            | Spec::EgressOnlyGateway(_)
            | Spec::SecurityGroup(_)
            | Spec::Interface(_)
            | Spec::RouteTable(_)
            | Spec::GatewayEndpoint(_)
            | Spec::ConnectEndpoint(_)
            | Spec::Role(_)
            | Spec::Profile(_)
            | Spec::Template(_)
            | Spec::ScheduleGroup(_) => items.push(Item::free(part, name)),
        }
    }
    items.push(traffic(config));
    let sum = |price: fn(&Item) -> f64| rounded(items.iter().map(price).sum());
    Ok(Estimate {
        per_hour: sum(|item| item.per_hour),
        monthly: sum(|item| item.monthly),
        monthly_after_trial: sum(|item| item.monthly_after_trial),
        trial_until: config.free_trial_until.to_string(),
        in_trial: in_trial(config, usage.today),
        items,
    })
}

fn nat_gateway(part: &Part) -> Item {
    let hour = rates::NAT_GATEWAY_HOUR;
    let note = format!(
        "all {:.0} h, and ${:.3}/GB",
        rates::HOURS_A_MONTH,
        rates::NAT_GATEWAY_GB
    );
    Item::new(part, "NAT gateway", hour, hour * rates::HOURS_A_MONTH)
        .note(note)
        .keys(&["egress"])
}

fn public_ipv4(part: &Part, while_asked_for: bool, usage: &Usage) -> Item {
    let hour = rates::PUBLIC_IPV4_HOUR;
    let month = hour * rates::HOURS_A_MONTH;
    let item = |monthly| Item::new(part, "public IPv4 address", hour, monthly).keys(&["egress"]);
    if while_asked_for {
        let hours = usage.ipv4_hours;
        item(hour * f64::from(hours)).note(format!(
            "{hours} h reckoned; ${month:.2} if it is left: cloud-up without --ipv4 ends it"
        ))
    } else {
        item(month).note(format!("all {:.0} h, used or idle", rates::HOURS_A_MONTH))
    }
}

/// The bucket: what it holds, and that each bastion reads all of it.
fn storage(part: &Part, bucket: &Bucket, config: &Config) -> Item {
    let bytes: u64 = bucket.objects.values().map(|content| content.len).sum();
    let held = gigabytes(bytes) * rates::S3_GB_MONTH;
    let starts = if config.bastion.schedule.always() {
        1.0
    } else {
        rates::DAYS_A_MONTH
    };
    let count = bucket.objects.len();
    let read = count as f64 * starts * rates::S3_GET;
    let megabytes = bytes as f64 / f64::from(1 << 20);
    Item::new(
        part,
        format!("S3, {megabytes:.1} MiB"),
        (held + read) / rates::HOURS_A_MONTH,
        held + read,
    )
    .note(format!(
        "{count} objects, read {starts:.0} times; no fee through the endpoint"
    ))
    .keys(&["bastion.data", "bastion.bundle"])
}

/// The loader's snapshot: of blocks without content nothing is kept.
fn snapshot(part: &Part, image: &LoaderImage) -> Item {
    let blocks = image.disk.chunks(BLOCK_SIZE);
    let written = blocks.filter(|block| block.iter().any(|byte| *byte != 0));
    let bytes = (written.count() * BLOCK_SIZE) as u64;
    let monthly = gigabytes(bytes) * rates::SNAPSHOT_GB_MONTH;
    let megabytes = bytes as f64 / f64::from(1 << 20);
    let what = format!("snapshot, {megabytes:.1} MiB");
    Item::new(part, what, monthly / rates::HOURS_A_MONTH, monthly)
        .note("blocks with content alone; the image itself is free")
}

/// What the Auto Scaling group runs.
fn bastion(part: &Part, config: &Config, usage: &Usage) -> Result<[Item; 2]> {
    let bastion = &config.bastion;
    let hours = bastion_hours(config);
    let name = &bastion.instance_type;
    let price = |hours| compute(config, usage.today, name, hours, rates::TRIAL_HOURS);
    let Compute { now, after } = price(hours)?;
    let hour = price(1.0)?;
    let mut machine = Item::new(part, name.as_str(), hour.now, now)
        .keys(&["bastion.schedule.hours", "bastion.instance_type"]);
    machine.monthly_after_trial = rounded(after);
    let note = if now < after {
        format!("{hours:.0} h of the trial's {:.0}", rates::TRIAL_HOURS)
    } else {
        format!("{hours:.0} h")
    };
    let gib = bastion.root_gib;
    let root = Item::new(
        part,
        format!("root volume, {gib} GiB gp3"),
        volume(gib, 1.0),
        volume(gib, hours),
    )
    .note(format!("{hours:.0} h: gone with the instance"))
    .keys(&["bastion.root_gib", "bastion.schedule.hours"]);
    Ok([machine.note(note), root])
}

/// What leaves AWS.
fn traffic(config: &Config) -> Item {
    let none = "free: none";
    let free = format!(
        "free: {:.0} GB a month, then ${:.2}/GB; what comes in is free",
        rates::EGRESS_FREE_GB,
        rates::EGRESS_GB
    );
    let note = match config.egress {
        Egress::None if !config.bastion.public_interface => none.to_owned(),
        _ => free,
    };
    Item::free(&Part::new("traffic"), "to the internet").note(note)
}

fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / rates::GB
}
