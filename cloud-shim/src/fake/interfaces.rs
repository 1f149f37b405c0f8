//! Network interfaces and their addresses.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::shelf::{maybe, one, resource};
use super::{Account, Answer, Event, Fake, Quota, check, refuse, vanished};
use crate::api::*;

/// An interface, and what DescribeNetworkInterfaces shows but the shim does not ask.
#[derive(Debug, Clone)]
pub(super) struct InterfaceState {
    pub(super) nic: NetworkInterface,
    pub(super) mac: String,
    /// Device index of its attachment.
    pub(super) index: u8,
    /// Goes with its instance.
    pub(super) fleeting: bool,
    /// A public address that came with the instance.
    pub(super) public: Option<String>,
}

/// Whose an interface is.
pub(super) enum Owner {
    /// The shim's own, with this description.
    Caller(String),
    /// Made with an instance, and gone with it.
    Instance(Id),
    /// A service's: its kind, and what its description says.
    Service(&'static str, String),
}

resource!(
    InterfaceState, "network-interface", "eni-", "InvalidNetworkInterfaceID.NotFound", "networkInterface ID",
    |it| it.nic, |name| {
        "network-interface-id" => one(&it.nic.id),
        "vpc-id" => one(&it.nic.vpc),
        "subnet-id" => one(&it.nic.subnet),
        "status" => one(&it.nic.status),
        "interface-type" => one(&it.nic.kind),
        "description" => one(&it.nic.description),
        "group-id" => Some(it.nic.groups.clone()),
        "private-ip-address" => one(&it.nic.primary),
        "addresses.private-ip-address" => Some([&it.nic.primary].into_iter().chain(&it.nic.secondary).cloned().collect()),
        "ipv6-addresses.ipv6-address" => Some(it.nic.ipv6.clone()),
        "mac-address" => one(&it.mac),
        "source-dest-check" => one(it.nic.source_dest_check),
        "attachment.attachment-id" => maybe(it.nic.attachment.as_ref().map(|a| &a.id)),
        "attachment.instance-id" => maybe(it.nic.attachment.as_ref().and_then(|a| a.instance.as_ref())),
        "requester-managed" => one(it.nic.kind != "interface"),
        "owner-id" => one(Fake::ACCOUNT),
    },
    along it.fleeting || it.nic.kind != "interface"
);

/// Seconds for which a new interface is `pending`.
const PENDING: (u64, u64) = (1, 5);

/// Seconds until an interface is detached.
const DETACHING: (u64, u64) = (2, 20);

/// Addresses that an interface of the largest type may have.
const MAX_ADDRESSES: usize = 50;

impl Account {
    pub(super) fn describe_interfaces(
        &mut self,
        c: DescribeNetworkInterfaces,
    ) -> Answer<Vec<NetworkInterface>> {
        let interfaces = self.interfaces.list(&c.filters, self.now)?;
        Ok(interfaces.into_iter().map(|state| state.nic).collect())
    }

    /// Makes an interface with a free address, or the given one.
    pub(super) fn put_interface(
        &mut self,
        subnet: &str,
        primary: Option<String>,
        groups: Vec<Id>,
        owner: Owner,
    ) -> Answer<Id> {
        let state = self.subnets.get(subnet, self.now)?.clone();
        self.script
            .within(Quota::Interfaces, self.interfaces.all().count(), 1)?;
        let primary = match primary {
            Some(address) => address,
            None => self.free_address(&state)?.to_string(),
        };
        let attached = Attachment {
            id: self.id("eni-attach-"),
            instance: None,
        };
        let (kind, description, attachment, fleeting) = match owner {
            Owner::Caller(description) => ("interface", description, None, false),
            Owner::Instance(instance) => {
                let attachment = Attachment {
                    instance: Some(instance),
                    ..attached
                };
                ("interface", String::new(), Some(attachment), true)
            }
            Owner::Service(kind, description) => (kind, description, Some(attached), false),
        };
        let status = if attachment.is_some() {
            "in-use"
        } else {
            "pending"
        };
        let mac = self.random().to_be_bytes();
        let nic = NetworkInterface {
            id: self.id("eni-"),
            vpc: state.subnet.vpc,
            subnet: subnet.to_owned(),
            status: status.to_owned(),
            kind: kind.to_owned(),
            primary,
            secondary: Vec::new(),
            ipv6: Vec::new(),
            groups,
            source_dest_check: kind != "nat_gateway",
            attachment,
            description,
            tags: Tags::new(),
        };
        let id = nic.id.clone();
        let mac = format!(
            "02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
            mac[0], mac[1], mac[2], mac[3], mac[4]
        );
        let birth = self.birth();
        self.interfaces.put(
            birth,
            InterfaceState {
                nic,
                mac,
                index: 0,
                fleeting,
                public: None,
            },
        );
        self.later(PENDING, Event::InterfaceReady(id.clone()));
        Ok(id)
    }

    pub(super) fn interface_is_ready(&mut self, interface: &str) {
        if let Some(it) = self.interfaces.at_mut(interface)
            && it.nic.status == "pending"
        {
            it.nic.status = "available".to_owned();
        }
    }

    /// Whether the internet reaches it by a public IPv4 address.
    pub(super) fn is_public(&self, interface: &InterfaceState) -> bool {
        interface.public.is_some()
            || self
                .addresses
                .all()
                .any(|it| it.address.interface.as_ref() == Some(&interface.nic.id))
    }

    pub(super) fn create_interface(
        &mut self,
        c: CreateNetworkInterface,
    ) -> Answer<NetworkInterface> {
        let subnet = self.subnets.get(&c.subnet, self.now)?.clone();
        let groups = self.interface_groups(&subnet.subnet.vpc, &c.groups)?;
        check::tags(&c.tags)?;
        let mut addresses = vec![c.primary.clone()];
        self.new_addresses(&c.subnet, &mut addresses, &c.secondary)?;
        self.new_addresses(
            &c.subnet,
            &mut Vec::new(),
            core::slice::from_ref(&c.primary),
        )?;
        // A subnet that assigns IPv6 addresses gives one unasked.
        let ipv6_count = c.ipv6_count.max(u32::from(subnet.subnet.assign_ipv6));
        let ipv6 = self.new_ipv6(&c.subnet, ipv6_count)?;
        let id = self.put_interface(
            &c.subnet,
            Some(c.primary),
            groups,
            Owner::Caller(c.description),
        )?;
        let nic = &mut self.interfaces.at_mut(&id).ok_or_else(vanished)?.nic;
        nic.secondary = c.secondary;
        nic.ipv6 = ipv6;
        nic.tags = c.tags;
        Ok(nic.clone())
    }

    /// Checks addresses that an interface shall get besides those that it has.
    fn new_addresses(&self, subnet: &str, has: &mut Vec<String>, new: &[String]) -> Answer<()> {
        let net = self.subnets.at(subnet).ok_or_else(vanished)?.block()?;
        for text in new {
            let address = check::host_address(text, net)?;
            if has.contains(text) {
                return refuse(
                    "InvalidParameterValue",
                    format!("Duplicate private IP address {text}"),
                );
            }
            if self.is_taken(subnet, address) {
                return refuse(
                    "InvalidIPAddress.InUse",
                    format!("The specified address is already in use: {text}"),
                );
            }
            has.push(text.clone());
        }
        if has.len() > MAX_ADDRESSES {
            return refuse(
                "PrivateIpAddressLimitExceeded",
                "Number of private addresses will exceed limit.",
            );
        }
        Ok(())
    }

    /// Free IPv6 addresses of the subnet.
    pub(super) fn new_ipv6(&mut self, subnet: &str, count: u32) -> Answer<Vec<String>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let state = self.subnets.at(subnet).ok_or_else(vanished)?;
        let net: Option<Ipv6Net> = state
            .subnet
            .ipv6
            .as_ref()
            .and_then(|block| block.cidr.parse().ok());
        let Some(net) = net else {
            return refuse(
                "InvalidParameterValue",
                format!("The subnet {subnet} has no associated IPv6 CIDR block"),
            );
        };
        let base = u128::from(net.network());
        Ok((0..count)
            .map(|_| Ipv6Addr::from(base | u128::from(self.random())).to_string())
            .collect())
    }

    /// The interface, if it is the caller's to change.
    fn own_interface(&mut self, interface: &str) -> Answer<&mut NetworkInterface> {
        let nic = &mut self.interfaces.get_mut(interface, self.now)?.nic;
        if nic.kind == "interface" {
            return Ok(nic);
        }
        refuse(
            "AuthFailure",
            format!("You do not have permission to access the specified resource: {interface}"),
        )
    }

    pub(super) fn set_interface_groups(&mut self, c: ModifyNetworkInterfaceGroups) -> Answer<()> {
        let vpc = self.own_interface(&c.interface)?.vpc.clone();
        if c.groups.is_empty() {
            return refuse(
                "InvalidParameterValue",
                "An interface has at least one group",
            );
        }
        let groups = self.interface_groups(&vpc, &c.groups)?;
        self.own_interface(&c.interface)?.groups = groups;
        Ok(())
    }

    pub(super) fn set_source_dest_check(
        &mut self,
        c: ModifyNetworkInterfaceSourceDestCheck,
    ) -> Answer<()> {
        self.own_interface(&c.interface)?.source_dest_check = c.check;
        Ok(())
    }

    pub(super) fn assign_addresses(&mut self, c: AssignPrivateIpAddresses) -> Answer<()> {
        let nic = self.own_interface(&c.interface)?.clone();
        if c.addresses.is_empty() {
            return refuse(
                "MissingParameter",
                "The request must contain private IP addresses",
            );
        }
        let mut has = nic.secondary;
        has.push(nic.primary);
        // An address that it has already is refused: reassignment is not asked for.
        self.new_addresses(&nic.subnet, &mut has, &c.addresses)?;
        self.own_interface(&c.interface)?
            .secondary
            .extend(c.addresses);
        Ok(())
    }

    pub(super) fn unassign_addresses(&mut self, c: UnassignPrivateIpAddresses) -> Answer<()> {
        let nic = self.own_interface(&c.interface)?.clone();
        for address in &c.addresses {
            if !nic.secondary.contains(address) {
                return refuse(
                    "InvalidParameterValue",
                    format!(
                        "Some of the addresses ({address}) are not assigned to {}",
                        c.interface
                    ),
                );
            }
        }
        self.own_interface(&c.interface)?
            .secondary
            .retain(|it| !c.addresses.contains(it));
        Ok(())
    }

    pub(super) fn assign_ipv6(&mut self, c: AssignIpv6Addresses) -> Answer<()> {
        let subnet = self.own_interface(&c.interface)?.subnet.clone();
        let new = self.new_ipv6(&subnet, c.count)?;
        self.own_interface(&c.interface)?.ipv6.extend(new);
        Ok(())
    }

    pub(super) fn unassign_ipv6(&mut self, c: UnassignIpv6Addresses) -> Answer<()> {
        let nic = self.own_interface(&c.interface)?;
        if let Some(address) = c.addresses.iter().find(|it| !nic.ipv6.contains(it)) {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "Some of the addresses ({address}) are not assigned to {}",
                    c.interface
                ),
            );
        }
        nic.ipv6.retain(|it| !c.addresses.contains(it));
        Ok(())
    }

    pub(super) fn detach_interface(&mut self, c: DetachNetworkInterface) -> Answer<()> {
        let found = self.interfaces.all().find(|it| {
            it.nic
                .attachment
                .as_ref()
                .is_some_and(|attachment| attachment.id == c.attachment)
        });
        let Some(it) = found else {
            return refuse(
                "InvalidAttachmentID.NotFound",
                format!("The interface attachment '{}' does not exist", c.attachment),
            );
        };
        if it.nic.kind != "interface" {
            return refuse(
                "OperationNotPermitted",
                "You are not allowed to manage attachments of a service's interface.",
            );
        }
        if it.index == 0 {
            return refuse(
                "OperationNotPermitted",
                "The network interface at device index 0 cannot be detached.",
            );
        }
        let interface = it.nic.id.clone();
        self.later(DETACHING, Event::InterfaceDetached(interface, c.attachment));
        Ok(())
    }

    pub(super) fn interface_is_detached(&mut self, interface: &str, attachment: &str) {
        let Some(it) = self.interfaces.at_mut(interface) else {
            return;
        };
        // Its instance may have ended meanwhile, and another one have it.
        let Some(was) = it.nic.attachment.take_if(|was| was.id == attachment) else {
            return;
        };
        it.nic.status = "available".to_owned();
        let instance = was.instance.and_then(|id| self.instances.at_mut(&id));
        if let Some(it) = instance {
            it.instance.interfaces.retain(|nic| nic.id != interface);
        }
    }

    pub(super) fn delete_interface(&mut self, c: DeleteNetworkInterface) -> Answer<()> {
        let nic = self.own_interface(&c.interface)?;
        if nic.attachment.is_some() {
            return refuse(
                "InvalidParameterValue",
                format!("Network interface '{}' is currently in use.", c.interface),
            );
        }
        self.unmap_interface(&c.interface);
        self.interfaces.take(&c.interface);
        Ok(())
    }
}
