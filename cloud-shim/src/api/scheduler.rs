//! What EventBridge Scheduler takes and answers.

use super::Id;

/// The termination of an instance at a set time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its name in the group.
    pub name: String,
    /// When, in UTC: `2026-11-25T22:05:00`.
    pub at: String,
    /// What is terminated (`ec2:TerminateInstances`). ListSchedules leaves it
    /// out: the name has it too.
    pub instance: Id,
    /// ARN of the role in whose name; ListSchedules leaves it out.
    pub role: Id,
}
