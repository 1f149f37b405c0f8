//! The balance of the free tier, and Cost Explorer.

use std::collections::BTreeMap;

use aws_sdk_costexplorer::types::{
    DateInterval, Granularity, GroupDefinition, GroupDefinitionType,
};

use super::{Answer, Explained as _, all, need};
use crate::api::*;

/// Pages of costs that are asked for: each costs a cent.
const MOST_PAGES: usize = 5;

/// The costs as they were, before discounts and credits are spread.
const METRIC: &str = "UnblendedCost";

pub(super) async fn get_free_tier_usage(
    freetier: &aws_sdk_freetier::Client,
    _: GetFreeTierUsage,
) -> Answer<GetFreeTierUsage> {
    let pages = freetier
        .get_free_tier_usage()
        .into_paginator()
        .items()
        .send();
    all(
        GetFreeTierUsage::NAME,
        pages,
        |call, usage: aws_sdk_freetier::types::FreeTierUsage| {
            Ok(FreeTierUsage {
                service: need!(call, usage.service)?,
                usage_type: need!(call, usage.usage_type)?,
                description: usage.description.unwrap_or_default(),
                used: usage.actual_usage_amount,
                forecast: usage.forecasted_usage_amount,
                limit: usage.limit,
                unit: usage.unit.unwrap_or_default(),
            })
        },
    )
    .await
}

pub(super) async fn get_cost_and_usage(
    explorer: &aws_sdk_costexplorer::Client,
    request: GetCostAndUsage,
) -> Answer<GetCostAndUsage> {
    let call = GetCostAndUsage::NAME;
    let span = DateInterval::builder()
        .start(request.from)
        .end(request.until)
        .build()
        .map_err(|error| super::incomplete(call, &error))?;
    let by_service = GroupDefinition::builder()
        .r#type(GroupDefinitionType::Dimension)
        .key("SERVICE")
        .build();
    let mut costs = BTreeMap::<String, f64>::new();
    let mut next = None;
    for _ in 0..MOST_PAGES {
        let output = explorer
            .get_cost_and_usage()
            .time_period(span.clone())
            .granularity(Granularity::Monthly)
            .metrics(METRIC)
            .group_by(by_service.clone())
            .set_next_page_token(next)
            .send()
            .await
            .explained(call)?;
        let months = output.results_by_time.unwrap_or_default();
        for group in months.into_iter().flat_map(|month| month.groups).flatten() {
            let service = need!(call, group.keys)?.into_iter().next();
            let amount = group
                .metrics
                .and_then(|mut metrics| metrics.remove(METRIC))
                .and_then(|metric| metric.amount?.parse::<f64>().ok());
            let (service, usd) = service
                .zip(amount)
                .ok_or_else(|| ApiError::not_understood(call, "a cost has no service or amount"))?;
            *costs.entry(service).or_default() += usd;
        }
        next = output.next_page_token;
        if next.is_none() {
            let costs = costs.into_iter();
            return Ok(costs
                .map(|(service, usd)| ServiceCost { service, usd })
                .collect());
        }
    }
    Err(ApiError::not_understood(
        call,
        format!("more than {MOST_PAGES} pages, of which each costs $0.01"),
    ))
}
