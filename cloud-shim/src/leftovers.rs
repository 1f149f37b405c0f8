//! What is left of a lab: by its tag, inside its VPC, and by its names.
//!
//! A scan asks AWS afresh and shares nothing with what was made or deleted
//! before, so it also finds what a half-failed run left without its tags.

use core::fmt;
use std::collections::BTreeSet;

use crate::api::{
    DescribeEgressOnlyInternetGateways, DescribeImages, DescribeInstances,
    DescribeInternetGateways, DescribeLaunchTemplates, DescribeNatGateways,
    DescribeNetworkInterfaces, DescribeRouteTables, DescribeSecurityGroups, DescribeSnapshots,
    DescribeSubnets, DescribeTags, DescribeVolumes, DescribeVpcEndpoints, Filter, Id, Tags,
};
use crate::engine::{LAB_TAG, NAME_TAG};
use crate::error::Result;
use crate::kinds::{Context, Kind};

/// Something that is still there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Leftover {
    /// What it is, as people call it.
    pub kind: String,
    /// What AWS calls it.
    pub id: Id,
    /// Its tag `Name`, or what else tells whose it is.
    pub name: String,
    /// How it was found.
    pub found: Found,
    /// Whether it costs something while it is there.
    pub costs: bool,
}

/// How a leftover was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// It carries the lab's tag.
    Tagged,
    /// It has a name that only this lab gives.
    Named,
    /// It is in the lab's VPC, and carries another tag or none: it is not
    /// touched, and keeps the VPC from going.
    InTheWay,
}

impl fmt::Display for Leftover {
    /// One line: what, where from, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, name, .. } = self;
        write!(f, "{kind} {id}")?;
        if !name.is_empty() {
            write!(f, " ({name})")?;
        }
        if self.costs {
            f.write_str(", which costs money")?;
        }
        match self.found {
            Found::Tagged | Found::Named => Ok(()),
            Found::InTheWay => f.write_str(
                ": in the lab's VPC, but not ours - remove it, then run cloud-down again",
            ),
        }
    }
}

/// Types that are looked at themselves, as EC2 calls them. The tags of what is
/// deleted may linger, so a tag alone does not say that such a thing is there.
const LOOKED_AT: [&str; 18] = [
    "dhcp-options",
    "egress-only-internet-gateway",
    "elastic-ip",
    "image",
    "instance",
    "instance-connect-endpoint",
    "internet-gateway",
    "launch-template",
    "natgateway",
    "network-interface",
    "route-table",
    "security-group",
    "security-group-rule",
    "snapshot",
    "subnet",
    "volume",
    "vpc",
    "vpc-endpoint",
];

/// States of what is gone, though AWS still shows it for an hour.
const GONE: [&str; 4] = ["terminated", "deleted", "delete-complete", "deleting"];

/// Looks for everything that is left of the lab.
///
/// # Errors
///
/// What a call failed with: then nothing can be said.
pub async fn scan(context: &Context) -> Result<BTreeSet<Leftover>> {
    let mut scan = Scan {
        context,
        found: BTreeSet::new(),
    };
    let mut vpcs = Vec::new();
    for kind in Kind::ALL {
        for observed in kind.observe(context).await? {
            if *kind == Kind::Vpc {
                vpcs.push(observed.id.clone());
            }
            scan.add(kind.name(), &observed.id, &observed.tags, Found::Tagged);
        }
    }
    scan.tagged_others().await?;
    scan.named().await?;
    for vpc in vpcs {
        scan.inside(&vpc).await?;
    }
    Ok(scan.found)
}

struct Scan<'a> {
    context: &'a Context,
    found: BTreeSet<Leftover>,
}

impl Scan<'_> {
    /// Notes something, unless it was found in a better way already.
    fn add(&mut self, kind: &str, id: &str, tags: &Tags, found: Found) {
        let name = tags.get(NAME_TAG).cloned().unwrap_or_default();
        self.add_named(kind, id, name, found);
    }

    fn add_named(&mut self, kind: &str, id: &str, name: String, found: Found) {
        if self.found.iter().any(|known| known.id == id) {
            return;
        }
        self.found.insert(Leftover {
            kind: kind.to_owned(),
            id: id.to_owned(),
            name,
            found,
            costs: costs(kind),
        });
    }

    /// What carries the tag and is no part: instances, their volumes, and
    /// whatever else EC2 has under it.
    async fn tagged_others(&mut self) -> Result<()> {
        let context = self.context;
        let caller = &context.caller;
        let filters = context.ours();
        for instance in caller.send(DescribeInstances { filters }).await? {
            if !GONE.contains(&instance.state.as_str()) {
                self.add("instance", &instance.id, &instance.tags, Found::Tagged);
            }
        }
        let filters = context.ours();
        for volume in caller.send(DescribeVolumes { filters }).await? {
            if !GONE.contains(&volume.state.as_str()) {
                self.add("volume", &volume.id, &volume.tags, Found::Tagged);
            }
        }
        let filters = context.ours();
        for snapshot in caller.send(DescribeSnapshots { filters }).await? {
            self.add("snapshot", &snapshot.id, &snapshot.tags, Found::Tagged);
        }
        // What else EC2 has under the tag: somebody tagged more than we make.
        let mut filters = vec![Filter::new("key", LAB_TAG)];
        filters.push(Filter::new("value", &context.lab));
        for line in caller.send(DescribeTags { filters }).await? {
            if !LOOKED_AT.contains(&line.kind.as_str()) {
                self.add_named(&line.kind, &line.resource, String::new(), Found::Tagged);
            }
        }
        Ok(())
    }

    /// What only this lab would have named so, with the tags or without.
    async fn named(&mut self) -> Result<()> {
        let context = self.context;
        let caller = &context.caller;
        let prefix = format!("ichor-{}-", context.lab);
        let pattern = format!("{prefix}*");
        let filters = vec![Filter::new("launch-template-name", &pattern)];
        for template in caller.send(DescribeLaunchTemplates { filters }).await? {
            self.add_named("launch template", &template.id, template.name, Found::Named);
        }
        let owner = "self".to_owned();
        let filters = vec![Filter::new("name", &pattern)];
        for image in caller.send(DescribeImages { owner, filters }).await? {
            self.add_named("machine image", &image.id, image.name, Found::Named);
        }
        let filters = vec![Filter::new("description", &pattern)];
        for snapshot in caller.send(DescribeSnapshots { filters }).await? {
            self.add_named("snapshot", &snapshot.id, snapshot.description, Found::Named);
        }
        let filters = vec![Filter::new("description", &pattern)];
        for interface in caller.send(DescribeNetworkInterfaces { filters }).await? {
            let name = interface.description;
            self.add_named("network interface", &interface.id, name, Found::Named);
        }
        Ok(())
    }

    /// What is inside the lab's VPC without being the lab's.
    async fn inside(&mut self, vpc: &Id) -> Result<()> {
        let caller = &self.context.caller;
        let by = |name| vec![Filter::new(name, vpc)];
        let filters = by("vpc-id");
        for it in caller.send(DescribeInstances { filters }).await? {
            if !GONE.contains(&it.state.as_str()) {
                self.add("instance", &it.id, &it.tags, Found::InTheWay);
            }
        }
        let filters = by("vpc-id");
        for it in caller.send(DescribeNetworkInterfaces { filters }).await? {
            self.add_named("network interface", &it.id, it.description, Found::InTheWay);
        }
        let filters = by("vpc-id");
        for it in caller.send(DescribeNatGateways { filters }).await? {
            if !GONE.contains(&it.state.as_str()) {
                self.add("NAT gateway", &it.id, &it.tags, Found::InTheWay);
            }
        }
        let filters = by("vpc-id");
        for it in caller.send(DescribeVpcEndpoints { filters }).await? {
            if !GONE.contains(&it.state.as_str()) {
                self.add("VPC endpoint", &it.id, &it.tags, Found::InTheWay);
            }
        }
        let filters = by("vpc-id");
        for it in caller.send(DescribeSecurityGroups { filters }).await? {
            if it.name != "default" {
                self.add_named("security group", &it.id, it.name, Found::InTheWay);
            }
        }
        let filters = by("vpc-id");
        for it in caller.send(DescribeRouteTables { filters }).await? {
            if !it.is_main {
                self.add("route table", &it.id, &it.tags, Found::InTheWay);
            }
        }
        let filters = by("vpc-id");
        for it in caller.send(DescribeSubnets { filters }).await? {
            self.add("subnet", &it.id, &it.tags, Found::InTheWay);
        }
        let filters = by("attachment.vpc-id");
        for it in caller.send(DescribeInternetGateways { filters }).await? {
            self.add("internet gateway", &it.id, &it.tags, Found::InTheWay);
        }
        let filters = Vec::new();
        for it in caller
            .send(DescribeEgressOnlyInternetGateways { filters })
            .await?
        {
            if it.vpc == *vpc {
                self.add(
                    "egress-only internet gateway",
                    &it.id,
                    &it.tags,
                    Found::InTheWay,
                );
            }
        }
        Ok(())
    }
}

/// Whether such a thing costs money by being there.
fn costs(kind: &str) -> bool {
    [
        "instance",
        "volume",
        "snapshot",
        "machine image",
        "NAT gateway",
        "elastic address",
        "S3 bucket",
    ]
    .contains(&kind)
}
