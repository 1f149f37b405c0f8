//! IAM: roles, their inline policies, and instance profiles.

use core::time::Duration;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{Account, Answer, Fake, Quota, Refusal, check, refuse};
use crate::api::*;

/// A role, its path and its inline policies.
#[derive(Debug, Clone)]
pub(super) struct RoleState {
    role: Role,
    path: String,
    policies: BTreeMap<String, String>,
}

/// A profile, its path, and from when on EC2 takes it.
#[derive(Debug, Clone)]
pub(super) struct ProfileState {
    profile: InstanceProfile,
    path: String,
    usable: Duration,
}

/// What names may have besides letters and digits.
const SIGNS: &str = "_+=,.@-";
/// Characters of all inline policies of a role, without white space.
const MAX_POLICIES: usize = 10_240;

impl Account {
    // ---- Roles

    fn role_mut(&mut self, name: &str) -> Answer<&mut RoleState> {
        let now = self.now;
        self.roles
            .get_mut(name, now)
            .ok_or_else(|| no_entity("role", name))
    }

    pub(super) fn get_role(&mut self, c: GetRole) -> Answer<Role> {
        Ok(self.role_mut(&c.name)?.role.clone())
    }

    pub(super) fn list_roles(&mut self, c: ListRoles) -> Answer<Vec<Role>> {
        let roles = self
            .roles
            .listed(self.now)
            .filter(|(_, it)| it.path.starts_with(&c.path));
        Ok(roles
            .map(|(_, it)| Role {
                tags: Tags::new(),
                ..it.role.clone()
            })
            .collect())
    }

    pub(super) fn create_role(&mut self, c: CreateRole) -> Answer<Role> {
        name(&c.name, "roleName", 64)?;
        path(&c.path)?;
        iam_tags(&c.tags)?;
        document(&c.trust, &["Principal"])?;
        if self
            .roles
            .all()
            .any(|(other, _)| other.eq_ignore_ascii_case(&c.name))
        {
            return exists(format!("Role with name {} already exists.", c.name));
        }
        self.script
            .within(Quota::Roles, self.roles.all().count(), 1)
            .map_err(conflict)?;
        let role = Role {
            arn: format!("arn:aws:iam::{}:role{}{}", Fake::ACCOUNT, c.path, c.name),
            name: c.name,
            trust: c.trust,
            tags: c.tags,
        };
        let birth = self.birth();
        let state = RoleState {
            role: role.clone(),
            path: c.path,
            policies: BTreeMap::new(),
        };
        self.roles.put(birth, &role.name, state);
        Ok(role)
    }

    pub(super) fn update_trust(&mut self, c: UpdateAssumeRolePolicy) -> Answer<()> {
        document(&c.trust, &["Principal"])?;
        self.role_mut(&c.role)?.role.trust = c.trust;
        Ok(())
    }

    pub(super) fn list_role_policies(&mut self, c: ListRolePolicies) -> Answer<Vec<String>> {
        Ok(self.role_mut(&c.role)?.policies.keys().cloned().collect())
    }

    pub(super) fn get_role_policy(&mut self, c: GetRolePolicy) -> Answer<String> {
        let policy = self.role_mut(&c.role)?.policies.get(&c.policy).cloned();
        policy.ok_or_else(|| no_entity("role policy", &c.policy))
    }

    pub(super) fn put_role_policy(&mut self, c: PutRolePolicy) -> Answer<()> {
        name(&c.policy, "policyName", 128)?;
        document(&c.document, &["Resource", "NotResource"])?;
        let role = self.role_mut(&c.role)?;
        let others = role.policies.iter().filter(|(name, _)| **name != c.policy);
        let size = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
        let total = others.map(|(_, text)| size(text)).sum::<usize>() + size(&c.document);
        if total > MAX_POLICIES {
            return Err(conflict(Refusal::new(
                409,
                "LimitExceeded",
                format!(
                    "Maximum policy size of {MAX_POLICIES} bytes exceeded for role {}",
                    c.role
                ),
            )));
        }
        role.policies.insert(c.policy, c.document);
        Ok(())
    }

    pub(super) fn delete_role_policy(&mut self, c: DeleteRolePolicy) -> Answer<()> {
        match self.role_mut(&c.role)?.policies.remove(&c.policy) {
            Some(_) => Ok(()),
            None => Err(no_entity("role policy", &c.policy)),
        }
    }

    pub(super) fn delete_role(&mut self, c: DeleteRole) -> Answer<()> {
        let has_policies = !self.role_mut(&c.role)?.policies.is_empty();
        if self
            .profiles
            .all()
            .any(|(_, it)| it.profile.roles.contains(&c.role))
        {
            return in_use("Cannot delete entity, must remove roles from instance profile first.");
        }
        if has_policies {
            return in_use("Cannot delete entity, must delete policies first.");
        }
        self.roles.take(&c.role);
        Ok(())
    }

    /// Whether the service may take the role of this ARN.
    pub(super) fn is_trusted(&self, arn: &str, service: &str) -> bool {
        self.roles
            .listed(self.now)
            .any(|(_, it)| it.role.arn == arn && it.role.trust.contains(service))
    }

    /// Whether an inline policy of the role names the action. What else it
    /// says is not looked at.
    pub(super) fn names_action(&self, arn: &str, action: &str) -> bool {
        self.roles.all().any(|(_, it)| {
            it.role.arn == arn && it.policies.values().any(|policy| policy.contains(action))
        })
    }

    // ---- Instance profiles

    fn profile_mut(&mut self, name: &str) -> Answer<&mut ProfileState> {
        let now = self.now;
        self.profiles
            .get_mut(name, now)
            .ok_or_else(|| no_entity("Instance Profile", name))
    }

    pub(super) fn get_profile(&mut self, c: GetInstanceProfile) -> Answer<InstanceProfile> {
        Ok(self.profile_mut(&c.name)?.profile.clone())
    }

    pub(super) fn list_profiles(
        &mut self,
        c: ListInstanceProfiles,
    ) -> Answer<Vec<InstanceProfile>> {
        let all = self
            .profiles
            .listed(self.now)
            .filter(|(_, it)| it.path.starts_with(&c.path));
        Ok(all
            .map(|(_, it)| InstanceProfile {
                tags: Tags::new(),
                ..it.profile.clone()
            })
            .collect())
    }

    pub(super) fn create_profile(&mut self, c: CreateInstanceProfile) -> Answer<InstanceProfile> {
        name(&c.name, "instanceProfileName", 128)?;
        path(&c.path)?;
        iam_tags(&c.tags)?;
        if self
            .profiles
            .all()
            .any(|(other, _)| other.eq_ignore_ascii_case(&c.name))
        {
            return exists(format!("Instance Profile {} already exists.", c.name));
        }
        let profile = InstanceProfile {
            arn: format!(
                "arn:aws:iam::{}:instance-profile{}{}",
                Fake::ACCOUNT,
                c.path,
                c.name
            ),
            name: c.name,
            roles: Vec::new(),
            tags: c.tags,
        };
        let birth = self.birth();
        let usable = self.soon_usable();
        let state = ProfileState {
            profile: profile.clone(),
            path: c.path,
            usable,
        };
        self.profiles.put(birth, &profile.name, state);
        Ok(profile)
    }

    /// When EC2 will know what IAM knows now.
    fn soon_usable(&mut self) -> Duration {
        if self.foreign {
            return self.now;
        }
        let span = self.timing.profile;
        self.now + self.part_of(span)
    }

    pub(super) fn add_role(&mut self, c: AddRoleToInstanceProfile) -> Answer<()> {
        self.role_mut(&c.role)?;
        let usable = self.soon_usable();
        let state = self.profile_mut(&c.profile)?;
        if !state.profile.roles.is_empty() {
            return Err(Refusal::new(
                409,
                "LimitExceeded",
                "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
            ));
        }
        state.profile.roles.push(c.role);
        state.usable = state.usable.max(usable);
        Ok(())
    }

    pub(super) fn remove_role(&mut self, c: RemoveRoleFromInstanceProfile) -> Answer<()> {
        let roles = &mut self.profile_mut(&c.profile)?.profile.roles;
        match roles.iter().position(|role| *role == c.role) {
            Some(position) => {
                roles.remove(position);
                Ok(())
            }
            None => Err(no_entity("role", &c.role)),
        }
    }

    pub(super) fn delete_profile(&mut self, c: DeleteInstanceProfile) -> Answer<()> {
        if !self.profile_mut(&c.name)?.profile.roles.is_empty() {
            return in_use("Cannot delete entity, must remove roles from instance profile first.");
        }
        self.profiles.take(&c.name);
        Ok(())
    }

    /// Refuses a profile that EC2 does not know (yet), or that has no role.
    pub(super) fn usable_profile(&self, name: &str) -> Answer<()> {
        match self.profiles.at(name) {
            Some(it) if it.usable > self.now => unknown_profile(name),
            None => unknown_profile(name),
            Some(it) if it.profile.roles.is_empty() => refuse(
                "InvalidParameterValue",
                format!(
                    "IAM Instance Profile \"{}\" has no associated IAM Roles",
                    it.profile.arn
                ),
            ),
            Some(_) => Ok(()),
        }
    }
}

fn unknown_profile<T>(name: &str) -> Answer<T> {
    check::bad_value(
        name,
        "iamInstanceProfile.name",
        "Invalid IAM Instance Profile name",
    )
}

fn no_entity(what: &str, name: &str) -> Refusal {
    Refusal::new(
        404,
        "NoSuchEntity",
        format!("The {what} with name {name} cannot be found."),
    )
}

fn exists<T>(message: String) -> Answer<T> {
    Err(Refusal::new(409, "EntityAlreadyExists", message))
}

fn in_use<T>(message: &str) -> Answer<T> {
    Err(Refusal::new(409, "DeleteConflict", message))
}

/// IAM answers 409 where EC2 answers 400.
fn conflict(mut refusal: Refusal) -> Refusal {
    refusal.status = 409;
    refusal
}

fn name(text: &str, parameter: &str, longest: usize) -> Answer<()> {
    if check::is_text(text, 1..=longest, SIGNS) {
        return Ok(());
    }
    refuse(
        "ValidationError",
        format!(
            "The specified value for {parameter} is invalid. It must contain only alphanumeric \
             characters and/or the following: +=,.@_-, and at most {longest} of them"
        ),
    )
}

fn path(text: &str) -> Answer<()> {
    let is_path = text == "/" || (text.len() > 2 && text.starts_with('/') && text.ends_with('/'));
    if is_path && text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    refuse(
        "ValidationError",
        "The specified value for path is invalid. It must begin and end with /",
    )
}

fn iam_tags(tags: &Tags) -> Answer<()> {
    check::tags(tags).map_err(|refusal| match refusal.code.as_str() {
        "TagLimitExceeded" => Refusal::new(409, "LimitExceeded", refusal.message),
        _ => Refusal::new(400, "InvalidInput", refusal.message),
    })
}

/// Refuses what is no policy: JSON with statements, each with Effect, Action
/// and one of `needed`.
fn document(text: &str, needed: &[&str]) -> Answer<()> {
    let flawed = |why: &str| refuse("MalformedPolicyDocument", format!("{why}: {text}"));
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else {
        return flawed("This policy contains invalid Json");
    };
    let statements = match policy.get("Statement") {
        Some(Value::Array(all)) => all.clone(),
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => Vec::new(),
    };
    if statements.is_empty() {
        return flawed("Missing required field Statement");
    }
    for statement in &statements {
        let has = |field: &str| statement.get(field).is_some();
        if !matches!(
            statement.get("Effect").and_then(Value::as_str),
            Some("Allow" | "Deny")
        ) {
            return flawed("Invalid effect");
        }
        if !["Action", "NotAction"].iter().any(|field| has(field)) {
            return flawed("Missing required field Action");
        }
        if !needed.iter().any(|field| has(field)) {
            return flawed("Missing required field of a statement");
        }
        // A trust policy is about its own role, an inline one about its own holder.
        let prohibited = if needed.contains(&"Principal") {
            "Resource"
        } else {
            "Principal"
        };
        if has(prohibited) {
            return flawed("Has a prohibited field");
        }
    }
    Ok(())
}
