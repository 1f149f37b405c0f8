//! What Auto Scaling takes and answers.

use super::{Id, Tags};

/// What a group is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// The template; its default version counts.
    pub template: Id,
    /// The zone. Not the subnet: a template with an existing interface has
    /// the subnet from it, and Auto Scaling then takes zones only.
    pub zone: String,
    /// Fewest instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// How many a group starts with; left alone by updates.
    pub desired: u32,
}

/// An Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoScalingGroup {
    /// Its name.
    pub name: String,
    /// What it does.
    pub settings: GroupSettings,
    /// Its instances.
    pub instances: Vec<Id>,
    /// `Delete in progress`, or nothing.
    pub status: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// A change of a group's size at set times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScheduledAction {
    /// Its name in the group.
    pub name: String,
    /// When, in cron's five fields: `0 18 * * *`.
    pub recurrence: String,
    /// IANA's name: `Europe/Dublin`.
    pub time_zone: String,
    /// Fewest instances from then on; `u32::MAX` if that is left as it is,
    /// which only somebody else's action does. So with the next two.
    pub min: u32,
    /// Most instances from then on.
    pub max: u32,
    /// How many from then on.
    pub desired: u32,
}

/// Something that a group did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// `Successful`, `Failed`, `InProgress`, …
    pub status: String,
    /// What it was.
    pub description: String,
    /// Why it failed.
    pub message: Option<String>,
}
