//! VPCs, their DHCP option sets, their subnets, and the blocks of each.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::shelf::{Resource, maybe, one, resource};
use super::{Account, Answer, Event, Fake, Quota, check, refuse};
use crate::api::*;

/// A VPC, and what DescribeVpcs does not show of it.
#[derive(Debug, Clone)]
pub(super) struct VpcState {
    pub(super) vpc: Vpc,
    dns_support: bool,
    dns_hostnames: bool,
    /// The IPv6 block that is not associated yet.
    coming: Option<Ipv6Block>,
}

/// A subnet and the IPv6 block that is not associated yet.
#[derive(Debug, Clone)]
pub(super) struct SubnetState {
    pub(super) subnet: Subnet,
    coming: Option<Ipv6Block>,
}

resource!(
    VpcState, "vpc", "vpc-", "InvalidVpcID.NotFound", "vpc ID",
    |it| it.vpc, |name| {
        "vpc-id" => one(&it.vpc.id),
        "cidr" | "cidr-block-association.cidr-block" => one(&it.vpc.cidr),
        "dhcp-options-id" => one(&it.vpc.dhcp_options),
        "is-default" => one(it.vpc.is_default),
        "state" => one("available"),
        "owner-id" => one(Fake::ACCOUNT),
        "ipv6-cidr-block-association.association-id" => maybe(it.vpc.ipv6.as_ref().map(|b| &b.association)),
        "ipv6-cidr-block-association.ipv6-cidr-block" => maybe(it.vpc.ipv6.as_ref().map(|b| &b.cidr)),
    }
);

resource!(
    DhcpOptions, "dhcp-options", "dopt-", "InvalidDhcpOptionID.NotFound", "dhcpOption ID",
    |it| it, |name| {
        "dhcp-options-id" => one(&it.id),
        "owner-id" => one(Fake::ACCOUNT),
        "key" => Some(["domain-name-servers".to_owned()].into_iter().chain(it.domain.as_ref().map(|_| "domain-name".to_owned())).collect()),
        "value" => Some(it.servers.iter().chain(&it.domain).cloned().collect()),
    }
);

resource!(
    SubnetState, "subnet", "subnet-", "InvalidSubnetID.NotFound", "subnet ID",
    |it| it.subnet, |name| {
        "subnet-id" => one(&it.subnet.id),
        "vpc-id" => one(&it.subnet.vpc),
        "cidr" | "cidr-block" | "cidrBlock" => one(&it.subnet.cidr),
        "availability-zone" | "availabilityZone" => one(&it.subnet.zone),
        "map-public-ip-on-launch" => one(it.subnet.map_public_ip),
        "state" => one("available"),
        "owner-id" => one(Fake::ACCOUNT),
        "ipv6-cidr-block-association.association-id" => maybe(it.subnet.ipv6.as_ref().map(|b| &b.association)),
        "ipv6-cidr-block-association.ipv6-cidr-block" => maybe(it.subnet.ipv6.as_ref().map(|b| &b.cidr)),
    }
);

impl SubnetState {
    /// Its IPv4 block.
    pub(super) fn block(&self) -> Answer<Ipv4Net> {
        check::ipv4_block(&self.subnet.cidr, "cidrBlock")
    }
}

/// Seconds until an IPv6 block is associated.
const ASSOCIATING: (u64, u64) = (2, 15);

impl Account {
    /// A region starts with one DHCP option set of Amazon's own.
    pub(super) fn found_network(&mut self) {
        let id = self.id("dopt-");
        let birth = self.birth();
        let domain = Some(format!("{}.compute.internal", self.region));
        let servers = vec!["AmazonProvidedDNS".to_owned()];
        self.options.put(
            birth,
            DhcpOptions {
                id,
                servers,
                domain,
                tags: Tags::new(),
            },
        );
    }

    pub(super) fn describe_vpcs(&mut self, c: DescribeVpcs) -> Answer<Vec<Vpc>> {
        let vpcs = self.vpcs.list(&c.filters, self.now)?;
        Ok(vpcs.into_iter().map(|state| state.vpc).collect())
    }

    pub(super) fn create_vpc(&mut self, c: CreateVpc) -> Answer<Vpc> {
        let net = check::ipv4_block(&c.cidr, "cidrBlock")?;
        if !(16..=28).contains(&net.prefix_len()) {
            // The reference spells it InvalidVpcRange, EC2 does not.
            return refuse(
                "InvalidVpc.Range",
                format!("The CIDR '{}' is invalid.", c.cidr),
            );
        }
        check::tags(&c.tags)?;
        self.script
            .within(Quota::Vpcs, self.vpcs.all().count(), 1)?;
        let Some(dhcp_options) = self.options.all().next().map(|options| options.id.clone()) else {
            return refuse("InternalError", "the region has no DHCP options");
        };
        let vpc = Vpc {
            id: self.id("vpc-"),
            cidr: net.to_string(),
            ipv6: None,
            dhcp_options,
            is_default: false,
            tags: c.tags,
        };
        let birth = self.birth();
        let state = VpcState {
            vpc: vpc.clone(),
            dns_support: true,
            dns_hostnames: false,
            coming: None,
        };
        self.vpcs.put(birth, state);
        self.put_table(birth, &vpc.id, &vpc.cidr, true, Tags::new());
        self.put_group(
            birth,
            &vpc.id,
            "default",
            "default VPC security group",
            Tags::new(),
        );
        if c.ipv6 {
            self.offer_vpc_block(&vpc.id);
        }
        Ok(self.vpcs.at(&vpc.id).map_or(vpc, |state| state.vpc.clone()))
    }

    pub(super) fn describe_vpc_attribute(&mut self, c: DescribeVpcAttribute) -> Answer<bool> {
        let state = self.vpcs.get(&c.vpc, self.now)?;
        Ok(match c.attribute {
            VpcAttribute::DnsSupport => state.dns_support,
            VpcAttribute::DnsHostnames => state.dns_hostnames,
        })
    }

    pub(super) fn modify_vpc_attribute(&mut self, c: ModifyVpcAttribute) -> Answer<()> {
        let state = self.vpcs.get_mut(&c.vpc, self.now)?;
        match c.attribute {
            VpcAttribute::DnsSupport => state.dns_support = c.value,
            // "You can only enable DNS hostnames if you've enabled DNS support."
            VpcAttribute::DnsHostnames if c.value && !state.dns_support => {
                return refuse(
                    "InvalidParameterCombination",
                    "DNS hostnames can be enabled only if DNS support is",
                );
            }
            VpcAttribute::DnsHostnames => state.dns_hostnames = c.value,
        }
        Ok(())
    }

    pub(super) fn associate_vpc_block(&mut self, c: AssociateVpcCidrBlock) -> Answer<()> {
        let state = self.vpcs.get(&c.vpc, self.now)?;
        if state.vpc.ipv6.is_some() || state.coming.is_some() {
            return refuse(
                "CidrLimitExceeded",
                format!(
                    "This network '{}' has met its maximum number of allowed CIDRs: 1",
                    c.vpc
                ),
            );
        }
        self.offer_vpc_block(&c.vpc);
        Ok(())
    }

    /// Gives the VPC a random /56, a little later.
    fn offer_vpc_block(&mut self, vpc: &str) {
        let bits = 0x2a05_d018_u128 << 96 | u128::from(self.random() >> 40) << 72;
        let block = Ipv6Block {
            association: self.id("vpc-cidr-assoc-"),
            cidr: format!("{}/56", Ipv6Addr::from(bits)),
        };
        if let Some(state) = self.vpcs.at_mut(vpc) {
            state.coming = Some(block);
        }
        self.later(ASSOCIATING, Event::VpcBlock(vpc.to_owned()));
    }

    pub(super) fn vpc_block_is_there(&mut self, vpc: &str) {
        let Some(state) = self.vpcs.at_mut(vpc) else {
            return;
        };
        let Some(block) = state.coming.take() else {
            return;
        };
        let cidr = block.cidr.clone();
        state.vpc.ipv6 = Some(block);
        for table in self.tables.all_mut().filter(|table| table.vpc == vpc) {
            table.routes.push(Route {
                destination: cidr.clone(),
                target: Target::Local,
                blackhole: false,
            });
        }
        self.open_ipv6_egress(vpc);
    }

    pub(super) fn disassociate_vpc_block(&mut self, c: DisassociateVpcCidrBlock) -> Answer<()> {
        let state = self.vpcs.all().find(|state| {
            state
                .vpc
                .ipv6
                .as_ref()
                .is_some_and(|block| block.association == c.association)
        });
        let Some(VpcState {
            vpc:
                Vpc {
                    id,
                    ipv6: Some(block),
                    ..
                },
            ..
        }) = state.cloned()
        else {
            return refuse(
                "InvalidVpcCidrBlockAssociationID.NotFound",
                format!(
                    "The vpc CIDR block association ID '{}' does not exist",
                    c.association
                ),
            );
        };
        let in_use = self.subnets.all().any(|state| {
            state.subnet.vpc == id && (state.subnet.ipv6.is_some() || state.coming.is_some())
        });
        if in_use {
            // The reference has the rule ("detach or delete all that is
            // associated with the block first") but names no code.
            return refuse(
                "DependencyViolation",
                format!(
                    "The CIDR block '{}' has dependencies and cannot be disassociated.",
                    block.cidr
                ),
            );
        }
        if let Some(state) = self.vpcs.at_mut(&id) {
            state.vpc.ipv6 = None;
        }
        for table in self.tables.all_mut().filter(|table| table.vpc == id) {
            table.routes.retain(|route| route.destination != block.cidr);
        }
        Ok(())
    }

    pub(super) fn delete_vpc(&mut self, c: DeleteVpc) -> Answer<()> {
        self.vpcs.get(&c.vpc, self.now)?;
        let vpc = &c.vpc;
        let in_use = self.subnets.all().any(|it| it.subnet.vpc == *vpc)
            || self
                .internet_gateways
                .all()
                .any(|it| it.vpc.as_ref() == Some(vpc))
            || self.egress_gateways.all().any(|it| it.vpc == *vpc)
            || self.interfaces.all().any(|it| it.nic.vpc == *vpc)
            || self.endpoints.all().any(|it| it.vpc == *vpc)
            || self.tables.all().any(|it| it.vpc == *vpc && !it.is_main)
            || self
                .groups
                .all()
                .any(|it| it.vpc == *vpc && !it.comes_along());
        if in_use {
            return refuse(
                "DependencyViolation",
                format!("The vpc '{vpc}' has dependencies and cannot be deleted."),
            );
        }
        let tables: Vec<Id> = self
            .tables
            .all()
            .filter(|it| it.vpc == *vpc)
            .map(|it| it.id.clone())
            .collect();
        let groups: Vec<Id> = self
            .groups
            .all()
            .filter(|it| it.vpc == *vpc)
            .map(|it| it.id.clone())
            .collect();
        for table in tables {
            self.tables.take(&table);
        }
        for group in groups {
            self.forget_group(&group);
        }
        self.vpcs.take(vpc);
        Ok(())
    }

    // ---- DHCP option sets

    pub(super) fn describe_options(&mut self, c: DescribeDhcpOptions) -> Answer<Vec<DhcpOptions>> {
        self.options.list(&c.filters, self.now)
    }

    pub(super) fn create_options(&mut self, c: CreateDhcpOptions) -> Answer<DhcpOptions> {
        check::tags(&c.tags)?;
        // "You can specify up to four domain name servers, separated by commas."
        if c.servers.is_empty() || c.servers.len() > 4 {
            return check::bad_value(
                &c.servers.join(","),
                "domain-name-servers",
                "Give one to four name servers.",
            );
        }
        for server in &c.servers {
            check::name_server(server)?;
        }
        let options = DhcpOptions {
            id: self.id("dopt-"),
            servers: c.servers,
            domain: c.domain,
            tags: c.tags,
        };
        let birth = self.birth();
        self.options.put(birth, options.clone());
        Ok(options)
    }

    pub(super) fn associate_options(&mut self, c: AssociateDhcpOptions) -> Answer<()> {
        if c.options != "default" {
            self.options.get(&c.options, self.now)?;
        }
        self.vpcs.get_mut(&c.vpc, self.now)?.vpc.dhcp_options = c.options;
        Ok(())
    }

    pub(super) fn delete_options(&mut self, c: DeleteDhcpOptions) -> Answer<()> {
        self.options.get(&c.options, self.now)?;
        if self
            .vpcs
            .all()
            .any(|state| state.vpc.dhcp_options == c.options)
        {
            return refuse(
                "DependencyViolation",
                format!(
                    "The dhcpOptions '{}' has dependencies and cannot be deleted.",
                    c.options
                ),
            );
        }
        self.options.take(&c.options);
        Ok(())
    }

    // ---- Subnets

    pub(super) fn describe_subnets(&mut self, c: DescribeSubnets) -> Answer<Vec<Subnet>> {
        let subnets = self.subnets.list(&c.filters, self.now)?;
        Ok(subnets.into_iter().map(|state| state.subnet).collect())
    }

    pub(super) fn create_subnet(&mut self, c: CreateSubnet) -> Answer<Subnet> {
        let vpc = self.vpcs.get(&c.vpc, self.now)?.vpc.clone();
        let net = check::ipv4_block(&c.cidr, "cidrBlock")?;
        let whole = check::ipv4_block(&vpc.cidr, "cidrBlock")?;
        if !(16..=28).contains(&net.prefix_len()) || !whole.contains(&net) {
            return refuse(
                "InvalidSubnet.Range",
                format!("The CIDR '{}' is invalid.", c.cidr),
            );
        }
        for other in self.subnets.all().filter(|it| it.subnet.vpc == c.vpc) {
            let other = other.block()?;
            if other.contains(&net) || net.contains(&other) {
                return refuse(
                    "InvalidSubnet.Conflict",
                    format!("The CIDR '{}' conflicts with another subnet", c.cidr),
                );
            }
        }
        self.zone(&c.zone)?;
        check::tags(&c.tags)?;
        let block = match &c.ipv6_cidr {
            Some(cidr) => Some(self.subnet_block(&vpc, cidr)?),
            None => None,
        };
        let count = self
            .subnets
            .all()
            .filter(|it| it.subnet.vpc == c.vpc)
            .count();
        self.script.within(Quota::SubnetsPerVpc, count, 1)?;
        let subnet = Subnet {
            id: self.id("subnet-"),
            vpc: c.vpc,
            cidr: net.to_string(),
            ipv6: None,
            zone: c.zone,
            assign_ipv6: false,
            map_public_ip: false,
            tags: c.tags,
        };
        let birth = self.birth();
        let coming = block.is_some();
        self.subnets.put(
            birth,
            SubnetState {
                subnet: subnet.clone(),
                coming: block,
            },
        );
        if coming {
            self.later(ASSOCIATING, Event::SubnetBlock(subnet.id.clone()));
        }
        Ok(subnet)
    }

    /// Refuses what is no zone of the region. Each has at least three.
    pub(super) fn zone(&self, zone: &str) -> Answer<()> {
        let letter = zone.strip_prefix(&self.region);
        if letter.is_some_and(|letter| ["a", "b", "c"].contains(&letter)) {
            return Ok(());
        }
        let region = &self.region;
        check::bad_value(
            zone,
            "availabilityZone",
            &format!(
                "Subnets can currently only be created in the following availability zones: \
                 {region}a, {region}b, {region}c."
            ),
        )
    }

    /// A free /64 of the VPC's block.
    fn subnet_block(&mut self, vpc: &Vpc, cidr: &str) -> Answer<Ipv6Block> {
        let net = check::ipv6_block(cidr, "ipv6CidrBlock")?;
        let whole: Option<Ipv6Net> = vpc.ipv6.as_ref().and_then(|block| block.cidr.parse().ok());
        if net.prefix_len() != 64 || !whole.is_some_and(|whole| whole.contains(&net)) {
            return refuse(
                "InvalidSubnet.Range",
                format!("The CIDR '{cidr}' is invalid."),
            );
        }
        let taken = self.subnets.all().any(|state| {
            let blocks = state.subnet.ipv6.iter().chain(&state.coming);
            blocks
                .into_iter()
                .any(|block| block.cidr == net.to_string())
        });
        if taken {
            return refuse(
                "InvalidSubnet.Conflict",
                format!("The CIDR '{cidr}' conflicts with another subnet"),
            );
        }
        Ok(Ipv6Block {
            association: self.id("subnet-cidr-assoc-"),
            cidr: net.to_string(),
        })
    }

    pub(super) fn subnet_block_is_there(&mut self, subnet: &str) {
        if let Some(state) = self.subnets.at_mut(subnet)
            && let Some(block) = state.coming.take()
        {
            state.subnet.ipv6 = Some(block);
        }
    }

    pub(super) fn modify_subnet_attribute(&mut self, c: ModifySubnetAttribute) -> Answer<()> {
        let subnet = &mut self.subnets.get_mut(&c.subnet, self.now)?.subnet;
        match c.attribute {
            SubnetAttribute::AssignIpv6 if c.value && subnet.ipv6.is_none() => {
                return refuse(
                    "InvalidParameterValue",
                    format!(
                        "Invalid value '{}' for subnetId. Subnet has no associated IPv6 CIDR block.",
                        c.subnet
                    ),
                );
            }
            SubnetAttribute::AssignIpv6 => subnet.assign_ipv6 = c.value,
            SubnetAttribute::MapPublicIp => subnet.map_public_ip = c.value,
        }
        Ok(())
    }

    pub(super) fn associate_subnet_block(&mut self, c: AssociateSubnetCidrBlock) -> Answer<()> {
        let state = self.subnets.get(&c.subnet, self.now)?;
        if state.subnet.ipv6.is_some() || state.coming.is_some() {
            return refuse(
                "InvalidSubnet.Conflict",
                format!("The subnet '{}' has an IPv6 CIDR block already", c.subnet),
            );
        }
        let vpc = self
            .vpcs
            .get(&state.subnet.vpc.clone(), self.now)?
            .vpc
            .clone();
        let block = self.subnet_block(&vpc, &c.ipv6_cidr)?;
        self.subnets.get_mut(&c.subnet, self.now)?.coming = Some(block);
        self.later(ASSOCIATING, Event::SubnetBlock(c.subnet));
        Ok(())
    }

    pub(super) fn disassociate_subnet_block(
        &mut self,
        c: DisassociateSubnetCidrBlock,
    ) -> Answer<()> {
        let found = self.subnets.all_mut().find(|state| {
            state
                .subnet
                .ipv6
                .as_ref()
                .is_some_and(|block| block.association == c.association)
        });
        let Some(state) = found else {
            return refuse(
                "InvalidSubnetCidrBlockAssociationID.NotFound",
                format!(
                    "The subnet CIDR block association ID '{}' does not exist",
                    c.association
                ),
            );
        };
        let subnet = &state.subnet.id;
        let in_use = self
            .interfaces
            .all()
            .any(|it| it.nic.subnet == *subnet && !it.nic.ipv6.is_empty());
        if in_use {
            // As with the VPC's block: the rule is documented, the code is not.
            return refuse(
                "DependencyViolation",
                format!("The subnet '{subnet}' has IPv6 addresses in use."),
            );
        }
        state.subnet.ipv6 = None;
        state.subnet.assign_ipv6 = false;
        Ok(())
    }

    pub(super) fn delete_subnet(&mut self, c: DeleteSubnet) -> Answer<()> {
        self.subnets.get(&c.subnet, self.now)?;
        if self.interfaces.all().any(|it| it.nic.subnet == c.subnet) {
            return refuse(
                "DependencyViolation",
                format!(
                    "The subnet '{}' has dependencies and cannot be deleted.",
                    c.subnet
                ),
            );
        }
        for table in self.tables.all_mut() {
            table
                .associations
                .retain(|it| it.subnet.as_ref() != Some(&c.subnet));
        }
        self.subnets.take(&c.subnet);
        Ok(())
    }

    /// A free address of the subnet, as EC2 chooses one.
    pub(super) fn free_address(&self, subnet: &SubnetState) -> Answer<Ipv4Addr> {
        let net = subnet.block()?;
        let free = net.hosts().find(|address| {
            check::is_host(*address, net) && !self.is_taken(&subnet.subnet.id, *address)
        });
        free.map_or_else(
            || {
                refuse(
                    "InsufficientFreeAddressesInSubnet",
                    "Insufficient free addresses in subnet.",
                )
            },
            Ok,
        )
    }

    /// Whether an interface of the subnet has the address.
    pub(super) fn is_taken(&self, subnet: &str, address: Ipv4Addr) -> bool {
        let address = address.to_string();
        self.interfaces.all().any(|it| {
            it.nic.subnet == subnet
                && (it.nic.primary == address || it.nic.secondary.contains(&address))
        })
    }
}
