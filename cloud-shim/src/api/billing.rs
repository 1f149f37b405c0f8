//! What the free-tier API and Cost Explorer answer.

/// How much of a free allowance is used.
#[derive(Debug, Clone, PartialEq)]
pub struct FreeTierUsage {
    /// Such as `Amazon Elastic Compute Cloud - Compute`.
    pub service: String,
    /// Such as `EU-BoxUsage:t4g.small`.
    pub usage_type: String,
    /// Such as `750.0 Hrs are free for 12 months as part of AWS Free Usage Tier`.
    pub description: String,
    /// Used so far this month.
    pub used: f64,
    /// What the month will come to.
    pub forecast: f64,
    /// The allowance.
    pub limit: f64,
    /// Such as `Hrs`.
    pub unit: String,
}

/// What a service cost.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceCost {
    /// Such as `EC2 - Other`.
    pub service: String,
    /// In USD.
    pub usd: f64,
}
