//! Roles, and the instance profile that gives one to the bastion.
//!
//! Their names are the account's, not the region's. Ours stand under a path of
//! their own; whose they are, their tags say.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{Context, Kind, Resource, gone_is_fine, part_of, unless_gone};
use crate::api::{
    AddRoleToInstanceProfile, CreateInstanceProfile, CreateRole, DeleteInstanceProfile, DeleteRole,
    DeleteRolePolicy, GetInstanceProfile, GetRole, GetRolePolicy, Id, InstanceProfile,
    ListInstanceProfiles, ListRolePolicies, ListRoles, PutRolePolicy,
    RemoveRoleFromInstanceProfile, UpdateAssumeRolePolicy,
};
use crate::engine::{Fields, Ids, LAB_TAG, Observed, Part, State, Value};
use crate::error::Result;

/// The path of all roles and profiles of ours.
const PATH: &str = "/ichor/";
/// Name of the one inline policy of a role.
const POLICY: &str = "ichor";

/// A role as it shall be, with one inline policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The service that may take it, such as `ec2.amazonaws.com`.
    pub service: &'static str,
    /// What it may do.
    pub policy: Json,
}

/// An instance profile as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its role.
    pub role: Part,
}

impl Role {
    /// Who may take it: its service alone.
    fn trust(&self) -> String {
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": self.service },
                "Action": "sts:AssumeRole",
            }],
        });
        trust.to_string()
    }
}

impl Resource for Role {
    const KIND: Kind = Kind::Role;
    const FIXED: &'static [&'static str] = &[];

    fn needs(&self) -> Vec<Part> {
        Vec::new()
    }

    fn fields(&self, _: &Ids, _: &Context) -> Fields {
        [
            ("trust", Value::set(lines(&self.trust()))),
            (
                "policies",
                Value::set(policy_lines(POLICY, &self.policy.to_string())),
            ),
        ]
        .into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let path = PATH.to_owned();
        let mut found = Vec::new();
        for role in context.caller.send(ListRoles { path }).await? {
            if !may_be_ours(context, &role.name) {
                continue;
            }
            let Some(role) = unless_gone(context.caller.send(GetRole { name: role.name }).await)?
            else {
                continue;
            };
            if !is_ours(context, &role.tags) {
                continue;
            }
            let policies = policies(context, &role.name).await?;
            let told = policies
                .iter()
                .flat_map(|(name, document)| policy_lines(name, document));
            let fields = [
                ("trust", Value::set(lines(&role.trust))),
                ("policies", Value::set(told)),
            ];
            found.push(Observed {
                kind: Kind::Role,
                part: part_of(&role.tags),
                id: role.name,
                state: State::Ready,
                fields: fields.into(),
                tags: role.tags,
            });
        }
        Ok(found)
    }

    async fn create(&self, context: &Context, part: &Part, _: &Ids, _: &str) -> Result<Id> {
        let request = CreateRole {
            name: context.name(part),
            path: PATH.to_owned(),
            trust: self.trust(),
            tags: context.tags(part),
        };
        Ok(context.caller.send(request).await?.name)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        _: &Ids,
    ) -> Result<()> {
        let caller = &context.caller;
        let role = || observed.id.clone();
        if fields.contains("trust") {
            let trust = self.trust();
            let request = UpdateAssumeRolePolicy {
                role: role(),
                trust,
            };
            caller.send(request).await?;
        }
        if fields.contains("policies") {
            let request = PutRolePolicy {
                role: role(),
                policy: POLICY.to_owned(),
                document: self.policy.to_string(),
            };
            caller.send(request).await?;
            remove_policies(context, &observed.id, Some(POLICY)).await?;
        }
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        remove_policies(context, &observed.id, None).await?;
        let role = observed.id.clone();
        gone_is_fine(context.caller.send(DeleteRole { role }).await)
    }
}

/// Inline policies of a role: name and document.
async fn policies(context: &Context, role: &Id) -> Result<Vec<(String, String)>> {
    let caller = &context.caller;
    let request = ListRolePolicies { role: role.clone() };
    let mut found = Vec::new();
    for policy in unless_gone(caller.send(request).await)?.unwrap_or_default() {
        let request = GetRolePolicy {
            role: role.clone(),
            policy: policy.clone(),
        };
        if let Some(document) = unless_gone(caller.send(request).await)? {
            found.push((policy, document));
        }
    }
    Ok(found)
}

/// Deletes the inline policies of a role, but for `kept`.
async fn remove_policies(context: &Context, role: &Id, kept: Option<&str>) -> Result<()> {
    let caller = &context.caller;
    let request = ListRolePolicies { role: role.clone() };
    let names = unless_gone(caller.send(request).await)?.unwrap_or_default();
    for policy in names {
        if kept != Some(policy.as_str()) {
            let role = role.clone();
            gone_is_fine(caller.send(DeleteRolePolicy { role, policy }).await)?;
        }
    }
    Ok(())
}

impl Resource for Profile {
    const KIND: Kind = Kind::Profile;
    const FIXED: &'static [&'static str] = &[];

    fn needs(&self) -> Vec<Part> {
        vec![self.role.clone()]
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        [("role", ids.told(&self.role).into())].into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let path = PATH.to_owned();
        let mut found = Vec::new();
        for profile in context.caller.send(ListInstanceProfiles { path }).await? {
            if !may_be_ours(context, &profile.name) {
                continue;
            }
            let Some(profile) = profile_by_name(context, &profile.name).await? else {
                continue;
            };
            if is_ours(context, &profile.tags) {
                found.push(Observed {
                    kind: Kind::Profile,
                    part: part_of(&profile.tags),
                    id: profile.name,
                    state: State::Ready,
                    fields: [("role", profile.roles.join(", ").into())].into(),
                    tags: profile.tags,
                });
            }
        }
        Ok(found)
    }

    async fn create(&self, context: &Context, part: &Part, _: &Ids, _: &str) -> Result<Id> {
        let request = CreateInstanceProfile {
            name: context.name(part),
            path: PATH.to_owned(),
            tags: context.tags(part),
        };
        Ok(context.caller.send(request).await?.name)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()> {
        if fields.contains("role") {
            let role = ids.told(&self.role);
            let there = remove_roles(context, &observed.id, Some(&role)).await?;
            if !there {
                let profile = observed.id.clone();
                let request = AddRoleToInstanceProfile { profile, role };
                context.caller.send(request).await?;
            }
        }
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        remove_roles(context, &observed.id, None).await?;
        let name = observed.id.clone();
        gone_is_fine(context.caller.send(DeleteInstanceProfile { name }).await)
    }
}

async fn profile_by_name(context: &Context, name: &str) -> Result<Option<InstanceProfile>> {
    let name = name.to_owned();
    unless_gone(context.caller.send(GetInstanceProfile { name }).await)
}

/// Takes the role out of a profile, but for `kept`, and says whether that is
/// in it. A profile has one role at most.
async fn remove_roles(context: &Context, profile: &Id, kept: Option<&str>) -> Result<bool> {
    let found = profile_by_name(context, profile).await?;
    let mut there = false;
    for role in found.map(|found| found.roles).unwrap_or_default() {
        if kept == Some(role.as_str()) {
            there = true;
        } else {
            let profile = profile.clone();
            let request = RemoveRoleFromInstanceProfile { profile, role };
            gone_is_fine(context.caller.send(request).await)?;
        }
    }
    Ok(there)
}

/// Whether a name is worth the call for its tags, which lists leave out.
fn may_be_ours(context: &Context, name: &str) -> bool {
    name.starts_with(&format!("ichor-{}-", context.lab))
}

fn is_ours(context: &Context, tags: &crate::api::Tags) -> bool {
    tags.get(LAB_TAG) == Some(&context.lab)
}

/// The lines of a policy under its name.
fn policy_lines(name: &str, document: &str) -> impl Iterator<Item = String> {
    lines(document)
        .into_iter()
        .map(move |line| format!("{name}: {line}"))
}

/// A policy document statement by statement, each as JSON of one spelling: so
/// white space and the order of keys do not matter, and a difference is shown
/// where it is. What is no policy is shown as it is.
fn lines(document: &str) -> Vec<String> {
    let Ok(Json::Object(mut document)) = serde_json::from_str(document) else {
        return vec![document.to_owned()];
    };
    let statements = match document.remove("Statement") {
        Some(Json::Array(statements)) => statements,
        other => other.into_iter().collect(),
    };
    let rest = document
        .into_iter()
        .map(|(key, value)| json!({ key: value }));
    let one_spelling = |mut value: Json| {
        value.sort_all_objects();
        value.to_string()
    };
    statements
        .into_iter()
        .chain(rest)
        .map(one_spelling)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_compared_by_what_they_say() {
        let spelled = |text: &str| BTreeSet::from_iter(lines(text));
        let one = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:B"}]}"#;
        let same = r#" { "Statement": { "Action": "a:B", "Effect": "Allow" },
            "Version": "2012-10-17" } "#;
        assert_eq!(spelled(one), spelled(same));
        for other in [
            r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"a:B"}]}"#,
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"a:B"}]}"#,
            r#"{"Version":"2012-10-17"}"#,
            "not JSON",
        ] {
            assert_ne!(spelled(one), spelled(other), "{other}");
        }
    }
}
