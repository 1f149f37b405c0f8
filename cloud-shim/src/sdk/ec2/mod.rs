//! EC2, by theme; here is what all of them need.

pub(super) mod addresses;
pub(super) mod endpoints;
pub(super) mod gateways;
pub(super) mod groups;
pub(super) mod images;
pub(super) mod instances;
pub(super) mod interfaces;
pub(super) mod routes;
pub(super) mod templates;
pub(super) mod vpc;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, ResourceType};

use super::{Answer, Name, need, plain};
use crate::api::{ApiError, CreateTags, DescribeTags, Filter, Request as _, TagLine, Tags};

/// A Describe call with filters: all its pages, each item translated.
macro_rules! list {
    ($function:ident($request:ident) -> $translate:path) => {
        pub(in crate::sdk) async fn $function(
            client: &aws_sdk_ec2::Client,
            request: $request,
        ) -> Answer<$request> {
            let pages = client
                .$function()
                .set_filters(crate::sdk::ec2::filters(request.filters))
                .into_paginator()
                .items()
                .send();
            crate::sdk::all($request::NAME, pages, $translate).await
        }
    };
}
use list;

/// Filters as EC2 takes them; none at all where there is none.
fn filters(filters: Vec<Filter>) -> Option<Vec<types::Filter>> {
    let filters: Vec<_> = filters
        .into_iter()
        .map(|Filter { name, values }| {
            types::Filter::builder()
                .name(name)
                .set_values(Some(values))
                .build()
        })
        .collect();
    (!filters.is_empty()).then_some(filters)
}

fn tag_list(tags: Tags) -> Vec<types::Tag> {
    tags.into_iter()
        .map(|(key, value)| types::Tag::builder().key(key).value(value).build())
        .collect()
}

/// The tags that a resource is to be born with. EC2 refuses an empty list.
fn tags_for(kind: ResourceType, tags: Tags) -> Option<Vec<types::TagSpecification>> {
    (!tags.is_empty()).then(|| {
        vec![
            types::TagSpecification::builder()
                .resource_type(kind)
                .set_tags(Some(tag_list(tags)))
                .build(),
        ]
    })
}

/// Tags out of an answer; a tag without a value has an empty one.
fn tags(tags: Option<Vec<types::Tag>>) -> Tags {
    tags.unwrap_or_default()
        .into_iter()
        .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
        .collect()
}

/// Translates each item of a list.
fn each<T, U>(
    call: Name,
    items: Option<Vec<T>>,
    translate: impl Fn(Name, T) -> Result<U, ApiError>,
) -> Result<Vec<U>, ApiError> {
    items
        .unwrap_or_default()
        .into_iter()
        .map(|item| translate(call, item))
        .collect()
}

fn tag_line(call: Name, tag: types::TagDescription) -> Result<TagLine, ApiError> {
    Ok(TagLine {
        resource: need!(call, tag.resource_id)?,
        kind: need!(call, tag.resource_type)?.as_str().to_owned(),
        key: need!(call, tag.key)?,
        value: tag.value.unwrap_or_default(),
    })
}

list!(describe_tags(DescribeTags) -> tag_line);

plain!(Client, create_tags(request: CreateTags) {
    resources: request.resource,
    set_tags: Some(tag_list(request.tags)),
});
