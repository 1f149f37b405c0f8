//! What IAM answers.

use super::{Id, Tags};

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: Id,
    /// Who may take it: JSON, not URL-encoded.
    pub trust: String,
    /// Its tags. ListRoles leaves them out; GetRole has them.
    pub tags: Tags,
}

/// An instance profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceProfile {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: Id,
    /// Names of its roles: one at most.
    pub roles: Vec<String>,
    /// Its tags. ListInstanceProfiles leaves them out.
    pub tags: Tags,
}
