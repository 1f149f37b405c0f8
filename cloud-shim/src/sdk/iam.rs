//! Roles, their inline policies, and instance profiles.

use aws_sdk_iam::Client;
use aws_sdk_iam::types::{self, Tag};

use super::{Answer, Explained as _, Name, all, need, plain};
use crate::api::*;

/// Tags as IAM takes them. What cannot be built is a tag without a key.
fn tag_list(call: Name, tags: Tags) -> Result<Vec<Tag>, ApiError> {
    tags.into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect::<Result<_, _>>()
        .map_err(|error| super::incomplete(call, &error))
}

fn tags(tags: Option<Vec<Tag>>) -> Tags {
    let tags = tags.unwrap_or_default();
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

/// A policy out of an answer, where IAM has it URL-encoded (RFC 3986).
fn document(call: Name, encoded: &str) -> Result<String, ApiError> {
    if encoded.starts_with(['{', '[']) {
        return Ok(encoded.to_owned());
    }
    let unclear = || ApiError::not_understood(call, "a policy is not URL-encoded as expected");
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || {
                    let digit = char::from(rest.next()?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                let (high, low) = digit().zip(digit()).ok_or_else(unclear)?;
                high << 4 | low
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| unclear())
}

fn role(call: Name, role: types::Role) -> Result<Role, ApiError> {
    let trust = need!(call, role.assume_role_policy_document)?;
    Ok(Role {
        name: role.role_name,
        arn: role.arn,
        trust: document(call, &trust)?,
        tags: tags(role.tags),
    })
}

pub(super) async fn get_role(iam: &Client, request: GetRole) -> Answer<GetRole> {
    let call = GetRole::NAME;
    let output = iam
        .get_role()
        .role_name(request.name)
        .send()
        .await
        .explained(call)?;
    role(call, need!(call, output.role)?)
}

pub(super) async fn list_roles(iam: &Client, request: ListRoles) -> Answer<ListRoles> {
    let pages = iam
        .list_roles()
        .path_prefix(request.path)
        .into_paginator()
        .items()
        .send();
    all(ListRoles::NAME, pages, role).await
}

pub(super) async fn create_role(iam: &Client, request: CreateRole) -> Answer<CreateRole> {
    let call = CreateRole::NAME;
    let output = iam
        .create_role()
        .role_name(request.name)
        .path(request.path)
        .assume_role_policy_document(request.trust)
        .set_tags(Some(tag_list(call, request.tags)?))
        .send()
        .await
        .explained(call)?;
    role(call, need!(call, output.role)?)
}

plain!(Client, update_assume_role_policy(request: UpdateAssumeRolePolicy) {
    role_name: request.role,
    policy_document: request.trust,
});

pub(super) async fn list_role_policies(
    iam: &Client,
    request: ListRolePolicies,
) -> Answer<ListRolePolicies> {
    let pages = iam
        .list_role_policies()
        .role_name(request.role)
        .into_paginator()
        .items()
        .send();
    all(ListRolePolicies::NAME, pages, |_, name| Ok(name)).await
}

pub(super) async fn get_role_policy(iam: &Client, request: GetRolePolicy) -> Answer<GetRolePolicy> {
    let call = GetRolePolicy::NAME;
    let output = iam
        .get_role_policy()
        .role_name(request.role)
        .policy_name(request.policy)
        .send()
        .await
        .explained(call)?;
    document(call, &output.policy_document)
}

plain!(Client, put_role_policy(request: PutRolePolicy) {
    role_name: request.role,
    policy_name: request.policy,
    policy_document: request.document,
});

plain!(Client, delete_role_policy(request: DeleteRolePolicy) {
    role_name: request.role,
    policy_name: request.policy,
});

plain!(Client, delete_role(request: DeleteRole) {
    role_name: request.role,
});

fn instance_profile(_: Name, profile: types::InstanceProfile) -> Result<InstanceProfile, ApiError> {
    Ok(InstanceProfile {
        name: profile.instance_profile_name,
        arn: profile.arn,
        roles: profile
            .roles
            .into_iter()
            .map(|role| role.role_name)
            .collect(),
        tags: tags(profile.tags),
    })
}

pub(super) async fn get_instance_profile(
    iam: &Client,
    request: GetInstanceProfile,
) -> Answer<GetInstanceProfile> {
    let call = GetInstanceProfile::NAME;
    let output = iam
        .get_instance_profile()
        .instance_profile_name(request.name)
        .send()
        .await
        .explained(call)?;
    instance_profile(call, need!(call, output.instance_profile)?)
}

pub(super) async fn list_instance_profiles(
    iam: &Client,
    request: ListInstanceProfiles,
) -> Answer<ListInstanceProfiles> {
    let pages = iam
        .list_instance_profiles()
        .path_prefix(request.path)
        .into_paginator()
        .items()
        .send();
    all(ListInstanceProfiles::NAME, pages, instance_profile).await
}

pub(super) async fn create_instance_profile(
    iam: &Client,
    request: CreateInstanceProfile,
) -> Answer<CreateInstanceProfile> {
    let call = CreateInstanceProfile::NAME;
    let output = iam
        .create_instance_profile()
        .instance_profile_name(request.name)
        .path(request.path)
        .set_tags(Some(tag_list(call, request.tags)?))
        .send()
        .await
        .explained(call)?;
    instance_profile(call, need!(call, output.instance_profile)?)
}

plain!(Client, add_role_to_instance_profile(request: AddRoleToInstanceProfile) {
    instance_profile_name: request.profile,
    role_name: request.role,
});

plain!(Client, remove_role_from_instance_profile(request: RemoveRoleFromInstanceProfile) {
    instance_profile_name: request.profile,
    role_name: request.role,
});

plain!(Client, delete_instance_profile(request: DeleteInstanceProfile) {
    instance_profile_name: request.name,
});
