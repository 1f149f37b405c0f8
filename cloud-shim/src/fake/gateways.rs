//! Internet, egress-only and NAT gateways, and elastic addresses.

use std::net::Ipv4Addr;

use super::interfaces::Owner;
use super::shelf::{maybe, one, resource};
use super::{Account, Answer, Event, Fake, Quota, Refusal, check, refuse};
use crate::api::*;

/// A NAT gateway and its interface.
#[derive(Debug, Clone)]
pub(super) struct NatState {
    pub(super) nat: NatGateway,
    interface: Option<Id>,
}

/// An elastic address and the private address that it is mapped to.
#[derive(Debug, Clone)]
pub(super) struct AddressState {
    pub(super) address: Address,
    private: Option<String>,
}

resource!(
    InternetGateway, "internet-gateway", "igw-", "InvalidInternetGatewayID.NotFound", "internetGateway ID",
    |it| it, |name| {
        "internet-gateway-id" => one(&it.id),
        "attachment.vpc-id" => maybe(it.vpc.as_ref()),
        "attachment.state" => Some(it.vpc.iter().map(|_| "available".to_owned()).collect()),
        "owner-id" => one(Fake::ACCOUNT),
    }
);

// DescribeEgressOnlyInternetGateways filters by tags alone. For an unknown id
// the reference lists InvalidEgressOnlyInternetGatewayId.NotFound; what EC2
// says is this.
resource!(
    EgressOnlyGateway,
    "egress-only-internet-gateway",
    "eigw-",
    "InvalidGatewayID.NotFound",
    "eigw ID",
    |_it| _it,
    |_name| {}
);

resource!(
    NatState, "natgateway", "nat-", "NatGatewayNotFound", "NAT gateway",
    |it| it.nat, |name| {
        "nat-gateway-id" => one(&it.nat.id),
        "state" => one(&it.nat.state),
        "subnet-id" => one(&it.nat.subnet),
        "vpc-id" => one(&it.nat.vpc),
    },
    gone matches!(it.nat.state.as_str(), "deleted" | "failed")
);

resource!(
    AddressState, "elastic-ip", "eipalloc-", "InvalidAllocationID.NotFound", "allocation ID",
    |it| it.address, |name| {
        "allocation-id" => one(&it.address.id),
        "association-id" => maybe(it.address.association.as_ref()),
        "network-interface-id" => maybe(it.address.interface.as_ref()),
        "private-ip-address" => maybe(it.private.as_ref()),
        "public-ip" => one(&it.address.public),
        "domain" => one("vpc"),
    }
);

/// Seconds until a NAT gateway is available, and until it is deleted.
const NAT_CHANGING: (u64, u64) = (60, 150);

/// Seconds for which deleted things stay visible: "about an hour".
pub(super) const STILL_SHOWN: (u64, u64) = (3600, 3600);

impl Account {
    pub(super) fn describe_internet_gateways(
        &mut self,
        c: DescribeInternetGateways,
    ) -> Answer<Vec<InternetGateway>> {
        self.internet_gateways.list(&c.filters, self.now)
    }

    pub(super) fn create_internet_gateway(
        &mut self,
        c: CreateInternetGateway,
    ) -> Answer<InternetGateway> {
        check::tags(&c.tags)?;
        let count = self.internet_gateways.all().count();
        self.script.within(Quota::InternetGateways, count, 1)?;
        let gateway = InternetGateway {
            id: self.id("igw-"),
            vpc: None,
            tags: c.tags,
        };
        let birth = self.birth();
        self.internet_gateways.put(birth, gateway.clone());
        Ok(gateway)
    }

    pub(super) fn attach_internet_gateway(&mut self, c: AttachInternetGateway) -> Answer<()> {
        self.vpcs.get(&c.vpc, self.now)?;
        let gateway = self.internet_gateways.get(&c.gateway, self.now)?;
        if let Some(vpc) = &gateway.vpc {
            return refuse(
                "Resource.AlreadyAssociated",
                format!(
                    "resource {} is already attached to network {vpc}",
                    c.gateway
                ),
            );
        }
        if self.has_internet_gateway(&c.vpc) {
            return refuse(
                "InvalidParameterValue",
                format!("Network {} already has an internet gateway attached", c.vpc),
            );
        }
        self.internet_gateways.get_mut(&c.gateway, self.now)?.vpc = Some(c.vpc);
        Ok(())
    }

    pub(super) fn has_internet_gateway(&self, vpc: &str) -> bool {
        self.internet_gateways
            .all()
            .any(|it| it.vpc.as_deref() == Some(vpc))
    }

    pub(super) fn detach_internet_gateway(&mut self, c: DetachInternetGateway) -> Answer<()> {
        self.vpcs.get(&c.vpc, self.now)?;
        let gateway = self.internet_gateways.get(&c.gateway, self.now)?;
        if gateway.vpc.as_ref() != Some(&c.vpc) {
            return refuse(
                "Gateway.NotAttached",
                format!(
                    "resource {} is not attached to network {}",
                    c.gateway, c.vpc
                ),
            );
        }
        // Elastic addresses, and the public addresses that instances came with.
        if self
            .interfaces
            .all()
            .any(|it| it.nic.vpc == c.vpc && self.is_public(it))
        {
            return refuse(
                "DependencyViolation",
                format!(
                    "Network {} has some mapped public address(es). Please unmap those public \
                     address(es) before detaching the gateway.",
                    c.vpc
                ),
            );
        }
        self.internet_gateways.get_mut(&c.gateway, self.now)?.vpc = None;
        Ok(())
    }

    pub(super) fn delete_internet_gateway(&mut self, c: DeleteInternetGateway) -> Answer<()> {
        if self
            .internet_gateways
            .get(&c.gateway, self.now)?
            .vpc
            .is_some()
        {
            return refuse(
                "DependencyViolation",
                format!(
                    "The internetGateway '{}' has dependencies and cannot be deleted.",
                    c.gateway
                ),
            );
        }
        self.internet_gateways.take(&c.gateway);
        Ok(())
    }

    // ---- Egress-only

    pub(super) fn describe_egress_gateways(
        &mut self,
        c: DescribeEgressOnlyInternetGateways,
    ) -> Answer<Vec<EgressOnlyGateway>> {
        self.egress_gateways.list(&c.filters, self.now)
    }

    pub(super) fn create_egress_gateway(
        &mut self,
        c: CreateEgressOnlyInternetGateway,
    ) -> Answer<EgressOnlyGateway> {
        self.vpcs.get(&c.vpc, self.now)?;
        check::tags(&c.tags)?;
        // Whether a VPC may have two is not documented: it may not.
        if self.egress_gateways.all().any(|it| it.vpc == c.vpc) {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "Network {} already has an egress-only internet gateway",
                    c.vpc
                ),
            );
        }
        let count = self.egress_gateways.all().count();
        self.script.within(Quota::EgressOnlyGateways, count, 1)?;
        let gateway = EgressOnlyGateway {
            id: self.id("eigw-"),
            vpc: c.vpc,
            tags: c.tags,
        };
        let birth = self.birth();
        self.egress_gateways.put(birth, gateway.clone());
        Ok(gateway)
    }

    pub(super) fn delete_egress_gateway(
        &mut self,
        c: DeleteEgressOnlyInternetGateway,
    ) -> Answer<()> {
        self.egress_gateways.get(&c.gateway, self.now)?;
        self.egress_gateways.take(&c.gateway);
        Ok(())
    }

    // ---- NAT

    pub(super) fn describe_nat_gateways(
        &mut self,
        c: DescribeNatGateways,
    ) -> Answer<Vec<NatGateway>> {
        let gateways = self.nat_gateways.list(&c.filters, self.now)?;
        Ok(gateways.into_iter().map(|state| state.nat).collect())
    }

    pub(super) fn create_nat_gateway(&mut self, c: CreateNatGateway) -> Answer<NatGateway> {
        let subnet = self.subnets.get(&c.subnet, self.now)?.subnet.clone();
        let address = &self.addresses.get(&c.allocation, self.now)?.address;
        if address.association.is_some() {
            return refuse(
                "Resource.AlreadyAssociated",
                format!(
                    "Elastic IP address [{}] is already associated",
                    c.allocation
                ),
            );
        }
        check::tags(&c.tags)?;
        let in_zone = self.nat_gateways.all().filter(|it| {
            let zone = self.subnets.at(&it.nat.subnet).map(|it| &it.subnet.zone);
            it.nat.state != "deleted" && zone == Some(&subnet.zone)
        });
        self.script
            .within(Quota::NatGatewaysPerZone, in_zone.count(), 1)?;
        let id = self.id("nat-");
        let owner = Owner::Service("nat_gateway", format!("Interface for NAT Gateway {id}"));
        let interface = self.put_interface(&c.subnet, None, Vec::new(), owner)?;
        self.map_address(&c.allocation, &interface)?;
        let nat = NatGateway {
            id,
            vpc: subnet.vpc,
            subnet: c.subnet,
            state: "pending".to_owned(),
            allocations: vec![c.allocation],
            failure: None,
            tags: c.tags,
        };
        let birth = self.birth();
        let state = NatState {
            nat: nat.clone(),
            interface: Some(interface),
        };
        self.nat_gateways.put(birth, state);
        self.later(NAT_CHANGING, Event::NatReady(nat.id.clone()));
        Ok(nat)
    }

    pub(super) fn nat_is_ready(&mut self, nat: &str) {
        let Some(vpc) = self.nat_gateways.at(nat).map(|it| it.nat.vpc.clone()) else {
            return;
        };
        let connected = self.has_internet_gateway(&vpc);
        let Some(state) = self.nat_gateways.at_mut(nat) else {
            return;
        };
        if state.nat.state != "pending" {
            return;
        }
        if connected {
            state.nat.state = "available".to_owned();
            return;
        }
        state.nat.state = "failed".to_owned();
        state.nat.failure = Some(format!(
            "Gateway.NotAttached: Network {vpc} has no Internet gateway attached"
        ));
        self.free_nat(nat);
        self.later(STILL_SHOWN, Event::NatForgotten(nat.to_owned()));
    }

    pub(super) fn delete_nat_gateway(&mut self, c: DeleteNatGateway) -> Answer<()> {
        match self.nat_gateways.get_mut(&c.gateway, self.now) {
            // Asked again while it goes: that is no error.
            Ok(state) if state.nat.state == "deleting" => Ok(()),
            Ok(state) if matches!(state.nat.state.as_str(), "pending" | "available") => {
                state.nat.state = "deleting".to_owned();
                self.later(NAT_CHANGING, Event::NatDeleted(c.gateway));
                Ok(())
            }
            _ => Err(Refusal::new(
                400,
                "NatGatewayNotFound",
                format!("The Nat Gateway {} was not found", c.gateway),
            )),
        }
    }

    pub(super) fn nat_is_deleted(&mut self, nat: &str) {
        if let Some(state) = self.nat_gateways.at_mut(nat) {
            state.nat.state = "deleted".to_owned();
        }
        self.free_nat(nat);
        self.later(STILL_SHOWN, Event::NatForgotten(nat.to_owned()));
    }

    /// Takes interface and address from a gateway.
    fn free_nat(&mut self, nat: &str) {
        let interface = self
            .nat_gateways
            .at_mut(nat)
            .and_then(|state| state.interface.take());
        if let Some(interface) = interface {
            self.unmap_interface(&interface);
            self.interfaces.take(&interface);
        }
    }

    // ---- Elastic addresses

    pub(super) fn describe_addresses(&mut self, c: DescribeAddresses) -> Answer<Vec<Address>> {
        let addresses = self.addresses.list(&c.filters, self.now)?;
        Ok(addresses.into_iter().map(|state| state.address).collect())
    }

    pub(super) fn allocate_address(&mut self, c: AllocateAddress) -> Answer<Address> {
        check::tags(&c.tags)?;
        self.script
            .within(Quota::Addresses, self.addresses.all().count(), 1)?;
        let public = self.public_address();
        let address = Address {
            id: self.id("eipalloc-"),
            public,
            association: None,
            interface: None,
            tags: c.tags,
        };
        let birth = self.birth();
        self.addresses.put(
            birth,
            AddressState {
                address: address.clone(),
                private: None,
            },
        );
        Ok(address)
    }

    /// An address of TEST-NET-2, which nobody has.
    pub(super) fn public_address(&mut self) -> String {
        let host = (self.random() % 254 + 1) as u8;
        Ipv4Addr::new(198, 51, 100, host).to_string()
    }

    pub(super) fn associate_address(&mut self, c: AssociateAddress) -> Answer<()> {
        let address = &self.addresses.get(&c.allocation, self.now)?.address;
        // Reassociation has to be asked for, and the shim does not.
        if let Some(association) = &address.association {
            return refuse(
                "Resource.AlreadyAssociated",
                format!(
                    "resource {} is already associated with associate-id {association}",
                    c.allocation
                ),
            );
        }
        let interface = self.interfaces.get(&c.interface, self.now)?;
        let nic = &interface.nic;
        if nic.primary != c.private && !nic.secondary.contains(&c.private) {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "The private address {} is not of {}",
                    c.private, c.interface
                ),
            );
        }
        if !self.has_internet_gateway(&nic.vpc) {
            return refuse(
                "Gateway.NotAttached",
                format!(
                    "Network {} is not attached to any internet gateway",
                    nic.vpc
                ),
            );
        }
        let private_taken = self.addresses.all().any(|it| {
            it.address.interface.as_ref() == Some(&c.interface)
                && it.private.as_ref() == Some(&c.private)
        });
        if private_taken {
            return refuse(
                "Resource.AlreadyAssociated",
                format!(
                    "resource {} has an address at {} already",
                    c.interface, c.private
                ),
            );
        }
        self.map_address_to(&c.allocation, &c.interface, c.private)
    }

    fn map_address(&mut self, allocation: &str, interface: &str) -> Answer<()> {
        let primary = self
            .interfaces
            .at(interface)
            .map(|it| it.nic.primary.clone());
        self.map_address_to(allocation, interface, primary.unwrap_or_default())
    }

    fn map_address_to(&mut self, allocation: &str, interface: &str, private: String) -> Answer<()> {
        let association = self.id("eipassoc-");
        let state = self.addresses.get_mut(allocation, self.now)?;
        state.address.association = Some(association);
        state.address.interface = Some(interface.to_owned());
        state.private = Some(private);
        Ok(())
    }

    /// Takes every elastic address from an interface.
    pub(super) fn unmap_interface(&mut self, interface: &str) {
        for state in self.addresses.all_mut() {
            if state.address.interface.as_deref() == Some(interface) {
                state.address.association = None;
                state.address.interface = None;
                state.private = None;
            }
        }
    }

    pub(super) fn disassociate_address(&mut self, c: DisassociateAddress) -> Answer<()> {
        let found = self
            .addresses
            .all_mut()
            .find(|it| it.address.association.as_ref() == Some(&c.association));
        let Some(state) = found else {
            return refuse(
                "InvalidAssociationID.NotFound",
                format!("The association ID '{}' does not exist", c.association),
            );
        };
        let interface = state.address.interface.as_deref().unwrap_or_default();
        if self
            .interfaces
            .at(interface)
            .is_some_and(|it| it.nic.kind != "interface")
        {
            return refuse(
                "AuthFailure",
                "You do not have permission to access the specified resource.",
            );
        }
        state.address.association = None;
        state.address.interface = None;
        state.private = None;
        Ok(())
    }

    pub(super) fn release_address(&mut self, c: ReleaseAddress) -> Answer<()> {
        let address = &self.addresses.get(&c.allocation, self.now)?.address;
        if address.association.is_some() {
            return refuse(
                "InvalidIPAddress.InUse",
                format!("Address {} is in use.", address.public),
            );
        }
        self.addresses.take(&c.allocation);
        Ok(())
    }
}
