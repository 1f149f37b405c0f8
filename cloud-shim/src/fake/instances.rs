//! Instances and volumes.

use super::gateways::STILL_SHOWN;
use super::interfaces::Owner;
use super::shelf::{maybe, one, resource};
use super::{Account, Answer, Event, Quota, check, refuse, vanished};
use crate::api::*;

/// An instance, and the Auto Scaling group that it belongs to.
#[derive(Debug, Clone)]
pub(super) struct InstanceState {
    pub(super) instance: Instance,
    unlimited: bool,
    vcpus: usize,
    group: Option<String>,
}

resource!(
    InstanceState, "instance", "i-", "InvalidInstanceID.NotFound", "instance ID",
    |it| it.instance, |name| {
        "instance-id" => one(&it.instance.id),
        "instance-state-name" => one(&it.instance.state),
        "instance-type" => one(&it.instance.instance_type),
        "image-id" => one(&it.instance.image),
        "vpc-id" => maybe(it.instance.vpc.as_ref()),
        "subnet-id" => maybe(it.instance.subnet.as_ref()),
        "private-ip-address" => maybe(it.instance.private.as_ref()),
        "ip-address" => maybe(it.instance.public.as_ref()),
        "network-interface.network-interface-id" => Some(it.instance.interfaces.iter().map(|nic| nic.id.clone()).collect()),
        "block-device-mapping.volume-id" => Some(it.instance.volumes.clone()),
    },
    gone it.instance.state == "terminated"
);

resource!(
    Volume, "volume", "vol-", "InvalidVolume.NotFound", "volume",
    |it| it, |name| {
        "volume-id" => one(&it.id),
        "status" => one(&it.state),
        "size" => one(it.size_gib),
        "encrypted" => one(it.encrypted),
        "volume-type" => one(&it.kind),
        "attachment.instance-id" => maybe(it.instance.as_ref()),
        "snapshot-id" => maybe(it.snapshot.as_ref()),
    }
);

/// What an instance type has.
#[derive(Debug, Clone, Copy)]
pub(super) struct InstanceType {
    name: &'static str,
    architecture: &'static str,
    vcpus: usize,
    /// IPv4 addresses of each interface.
    addresses: usize,
}

impl InstanceType {
    const fn new(
        name: &'static str,
        architecture: &'static str,
        vcpus: usize,
        addresses: usize,
    ) -> Self {
        Self {
            name,
            architecture,
            vcpus,
            addresses,
        }
    }

    /// Whether it works with CPU credits.
    fn has_credits(&self) -> bool {
        self.name.starts_with('t')
    }
}

const TYPES: [InstanceType; 11] = [
    InstanceType::new("t4g.nano", "arm64", 2, 2),
    InstanceType::new("t4g.micro", "arm64", 2, 2),
    InstanceType::new("t4g.small", "arm64", 2, 4),
    InstanceType::new("t4g.medium", "arm64", 2, 6),
    InstanceType::new("t4g.large", "arm64", 2, 12),
    InstanceType::new("t4g.xlarge", "arm64", 4, 15),
    InstanceType::new("t4g.2xlarge", "arm64", 8, 15),
    InstanceType::new("c7g.medium", "arm64", 1, 4),
    InstanceType::new("c7g.large", "arm64", 2, 10),
    InstanceType::new("m7g.large", "arm64", 2, 10),
    InstanceType::new("t3.micro", "x86_64", 2, 2),
];

/// Seconds until an instance runs.
const STARTING: (u64, u64) = (5, 40);
/// Seconds until an instance is terminated.
const TERMINATING: (u64, u64) = (20, 120);
/// Seconds until a service's or an instance's group has noticed.
const NOTICING: (u64, u64) = (1, 20);

impl Account {
    pub(super) fn instance_type(&self, name: &str) -> Answer<InstanceType> {
        match TYPES.iter().find(|it| it.name == name) {
            Some(found) => Ok(*found),
            None => refuse(
                "InvalidParameterValue",
                format!("The following supplied instance types do not exist: [{name}]"),
            ),
        }
    }

    pub(super) fn describe_instances(&mut self, c: DescribeInstances) -> Answer<Vec<Instance>> {
        let instances = self.instances.list(&c.filters, self.now)?;
        Ok(instances
            .into_iter()
            .map(|mut it| {
                // An elastic address may have come or gone since the launch.
                let first = it.instance.interfaces.first();
                let nic = first.and_then(|first| self.interfaces.at(&first.id));
                it.instance.public = nic.and_then(|nic| self.public_of(nic));
                it.instance
            })
            .collect())
    }

    pub(super) fn run_instances(&mut self, c: RunInstances) -> Answer<Vec<Instance>> {
        let data = self.template(&c.template)?.data();
        check::tags(&c.tags)?;
        self.launch(&data, c.count, &c.tags, None)
    }

    /// Starts all of the instances, or none.
    pub(super) fn launch(
        &mut self,
        data: &LaunchData,
        count: u32,
        tags: &Tags,
        group: Option<&str>,
    ) -> Answer<Vec<Instance>> {
        if count == 0 {
            return check::bad_value("0", "minCount", "It must be positive.");
        }
        let kind = self.instance_type(&data.instance_type)?;
        self.launchable(data, kind)?;
        let used = self
            .instances
            .all()
            .filter(|it| !it.is_over())
            .map(|it| it.vcpus)
            .sum();
        self.script
            .within(Quota::Vcpus, used, kind.vcpus * count as usize)?;
        if count > 1 && existing(data).next().is_some() {
            return refuse(
                "InvalidParameterCombination",
                "A network interface that exists is for one instance",
            );
        }
        for interface in existing(data) {
            self.attachable(interface, kind)?;
        }
        if let LaunchInterface::New { subnet, groups, .. } = &data.interface {
            let state = self.subnets.get(subnet, self.now)?;
            let vpc = state.subnet.vpc.clone();
            self.free_address(state)?;
            self.interface_groups(&vpc, groups)?;
        }
        let mut all = data.instance_tags.clone();
        all.extend(tags.clone());
        check::tags(&all)?;
        if let Some(group) = group {
            all.insert("aws:autoscaling:groupName".to_owned(), group.to_owned());
        }
        (0..count)
            .map(|_| self.start(data, kind, all.clone(), group))
            .collect()
    }

    /// Refuses an interface that an instance of this type cannot have now.
    fn attachable(&self, interface: &str, kind: InstanceType) -> Answer<()> {
        let nic = &self.interfaces.get(interface, self.now)?.nic;
        if nic.attachment.is_some() {
            return refuse(
                "InvalidNetworkInterface.InUse",
                format!("Interface: [{interface}] in use."),
            );
        }
        if nic.secondary.len() + 1 > kind.addresses {
            return refuse(
                "InvalidInterface.IpAddressLimitExceeded",
                format!(
                    "Number of private addresses will exceed limit of {} for {}",
                    kind.addresses, kind.name
                ),
            );
        }
        Ok(())
    }

    /// Hangs an interface that exists on an instance.
    fn attach(&mut self, interface: &str, instance: &str, index: u8) -> Answer<()> {
        let attachment = Attachment {
            id: self.id("eni-attach-"),
            instance: Some(instance.to_owned()),
        };
        let state = self.interfaces.get_mut(interface, self.now)?;
        state.nic.attachment = Some(attachment);
        state.nic.status = "in-use".to_owned();
        state.index = index;
        Ok(())
    }

    /// Refuses data that the image, the profile or the type does not allow.
    fn launchable(&self, data: &LaunchData, kind: InstanceType) -> Answer<()> {
        let image = self.image(&data.image)?;
        if image.image.state != "available" {
            return refuse(
                "InvalidAMIID.Unavailable",
                format!("The image ID '{}' is {}", data.image, image.image.state),
            );
        }
        if image.image.architecture != kind.architecture {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "The architecture '{}' of the specified instance type does not match the \
                     architecture '{}' of the specified AMI.",
                    kind.architecture, image.image.architecture
                ),
            );
        }
        if data.root.device == image.image.root_device && data.root.size_gib < image.root_gib {
            return refuse(
                "InvalidBlockDeviceMapping",
                format!(
                    "Volume of size {}GB is smaller than snapshot '{}', expect size >= {}GB",
                    data.root.size_gib,
                    image.image.snapshots.join(","),
                    image.root_gib
                ),
            );
        }
        if data.standard_credits && !kind.has_credits() {
            return refuse(
                "InstanceCreditSpecification.NotSupported",
                format!("The instance type {} does not use CPU credits", kind.name),
            );
        }
        match &data.profile {
            Some(profile) => self.usable_profile(profile),
            None => Ok(()),
        }
    }

    fn start(
        &mut self,
        data: &LaunchData,
        kind: InstanceType,
        tags: Tags,
        group: Option<&str>,
    ) -> Answer<Instance> {
        let id = self.id("i-");
        let interface = match &data.interface {
            LaunchInterface::Existing(interface) => {
                self.attach(interface, &id, 0)?;
                interface.clone()
            }
            LaunchInterface::New {
                subnet,
                groups,
                ipv6_count,
            } => {
                let state = self.subnets.get(subnet, self.now)?.subnet.clone();
                let groups = self.interface_groups(&state.vpc, groups)?;
                let ipv6 =
                    self.new_ipv6(subnet, (*ipv6_count).max(u32::from(state.assign_ipv6)))?;
                let owner = Owner::Instance(id.clone());
                let interface = self.put_interface(subnet, None, groups, owner)?;
                let public = state.map_public_ip.then(|| self.public_address());
                let it = self.interfaces.at_mut(&interface).ok_or_else(vanished)?;
                it.nic.ipv6 = ipv6;
                it.nic.tags = data.attached_tags.clone();
                it.public = public;
                interface
            }
        };
        if let Some(second) = &data.second_interface {
            self.attach(second, &id, 1)?;
        }
        let volumes = self.put_volumes(data, &id)?;
        let nic = self.interfaces.at(&interface).ok_or_else(vanished)?.clone();
        let all = [Some(&interface), data.second_interface.as_ref()];
        let interfaces = all.into_iter().flatten().filter_map(|id| {
            let mac = self.interfaces.at(id)?.mac.clone();
            Some(InstanceInterface {
                id: id.clone(),
                mac,
            })
        });
        let interfaces = interfaces.collect();
        let instance = Instance {
            id: id.clone(),
            state: "pending".to_owned(),
            state_reason: None,
            instance_type: kind.name.to_owned(),
            image: data.image.clone(),
            vpc: Some(nic.nic.vpc.clone()),
            subnet: Some(nic.nic.subnet.clone()),
            private: Some(nic.nic.primary.clone()),
            public: self.public_of(&nic),
            interfaces,
            volumes,
            launched: self.unix_time(),
            tags,
        };
        let birth = self.birth();
        let state = InstanceState {
            instance: instance.clone(),
            unlimited: !data.standard_credits,
            vcpus: kind.vcpus,
            group: group.map(str::to_owned),
        };
        self.instances.put(birth, state);
        self.later(STARTING, Event::InstanceRuns(id));
        Ok(instance)
    }

    /// The root volume. A mapping for another device than the image's root is
    /// a second volume, as in EC2: the root is there all the same.
    fn put_volumes(&mut self, data: &LaunchData, instance: &str) -> Answer<Vec<Id>> {
        let image = self.image(&data.image)?;
        let snapshot = image.image.snapshots.first().cloned();
        let mut volumes = vec![(data.root.size_gib, snapshot.clone(), true)];
        if data.root.device != image.image.root_device {
            volumes = vec![
                (image.root_gib, snapshot, false),
                (data.root.size_gib, None, true),
            ];
        }
        Ok(volumes
            .into_iter()
            .map(|(size_gib, snapshot, encrypted)| {
                let volume = Volume {
                    id: self.id("vol-"),
                    size_gib,
                    state: "in-use".to_owned(),
                    encrypted,
                    kind: "gp3".to_owned(),
                    instance: Some(instance.to_owned()),
                    snapshot,
                    tags: data.attached_tags.clone(),
                };
                let id = volume.id.clone();
                let birth = self.birth();
                self.volumes.put(birth, volume);
                id
            })
            .collect())
    }

    fn public_of(&self, interface: &super::interfaces::InterfaceState) -> Option<String> {
        let elastic = self
            .addresses
            .all()
            .find(|it| it.address.interface.as_ref() == Some(&interface.nic.id))
            .map(|it| it.address.public.clone());
        elastic.or(interface.public.clone())
    }

    pub(super) fn instance_runs(&mut self, instance: &str) {
        if let Some(it) = self.instances.at_mut(instance)
            && it.instance.state == "pending"
        {
            it.instance.state = "running".to_owned();
        }
    }

    pub(super) fn terminate_instances(&mut self, c: TerminateInstances) -> Answer<()> {
        if c.instances.is_empty() {
            return refuse(
                "MissingParameter",
                "The request must contain the parameter InstanceId",
            );
        }
        for instance in &c.instances {
            self.instances.get(instance, self.now)?;
        }
        for instance in &c.instances {
            self.terminate(
                instance,
                "Client.UserInitiatedShutdown: User initiated shutdown",
            );
        }
        Ok(())
    }

    /// Begins to end an instance, if it is not ending.
    pub(super) fn terminate(&mut self, instance: &str, reason: &str) {
        if let Some(it) = self.instances.at_mut(instance)
            && !it.is_over()
        {
            it.instance.state = "shutting-down".to_owned();
            it.instance.state_reason = Some(reason.to_owned());
            self.later(TERMINATING, Event::InstanceEnds(instance.to_owned()));
        }
    }

    pub(super) fn instance_ends(&mut self, instance: &str) {
        let Some(it) = self.instances.at_mut(instance) else {
            return;
        };
        it.instance.state = "terminated".to_owned();
        it.instance.vpc = None;
        it.instance.subnet = None;
        it.instance.private = None;
        it.instance.public = None;
        let group = it.group.clone();
        let interfaces = core::mem::take(&mut it.instance.interfaces);
        for volume in core::mem::take(&mut it.instance.volumes) {
            self.volumes.take(&volume);
        }
        for InstanceInterface { id, .. } in interfaces {
            let Some(it) = self.interfaces.at_mut(&id) else {
                continue;
            };
            if it.fleeting {
                self.unmap_interface(&id);
                self.interfaces.take(&id);
            } else {
                it.nic.attachment = None;
                it.nic.status = "available".to_owned();
            }
        }
        self.later(STILL_SHOWN, Event::InstanceForgotten(instance.to_owned()));
        if let Some(group) = group {
            self.later(NOTICING, Event::Scale(group));
        }
    }

    pub(super) fn modify_credits(&mut self, c: ModifyInstanceCreditSpecification) -> Answer<()> {
        let it = self.instances.get_mut(&c.instance, self.now)?;
        if it.instance.state != "running" {
            return refuse(
                "IncorrectInstanceState",
                format!("The instance {} is {}", c.instance, it.instance.state),
            );
        }
        if !it.instance.instance_type.starts_with('t') {
            return refuse(
                "InstanceCreditSpecification.NotSupported",
                format!(
                    "The instance type {} does not use CPU credits",
                    it.instance.instance_type
                ),
            );
        }
        it.unlimited = c.unlimited;
        Ok(())
    }

    // ---- Volumes

    pub(super) fn describe_volumes(&mut self, c: DescribeVolumes) -> Answer<Vec<Volume>> {
        self.volumes.list(&c.filters, self.now)
    }

    pub(super) fn delete_volume(&mut self, c: DeleteVolume) -> Answer<()> {
        let volume = self.volumes.get(&c.volume, self.now)?;
        if let Some(instance) = &volume.instance {
            return refuse(
                "VolumeInUse",
                format!("Volume {} is currently attached to {instance}", c.volume),
            );
        }
        self.volumes.take(&c.volume);
        Ok(())
    }
}

/// The interfaces that data takes and does not make.
pub(super) fn existing(data: &LaunchData) -> impl Iterator<Item = &Id> {
    let first = match &data.interface {
        LaunchInterface::Existing(interface) => Some(interface),
        LaunchInterface::New { .. } => None,
    };
    first.into_iter().chain(&data.second_interface)
}

impl InstanceState {
    /// Whether it has ended or is about to.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.instance.state.as_str(), "shutting-down" | "terminated")
    }
}
