//! A launch template.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    CreateLaunchTemplate, CreateLaunchTemplateVersion, DeleteLaunchTemplate,
    DescribeLaunchTemplates, Id, LaunchData, LaunchInterface, ModifyLaunchTemplate, RootVolume,
    Tags,
};
use crate::engine::{Fields, Ids, Observed, PART_TAG, Part, State, Value};
use crate::error::Result;

/// Root device of our own images, by [`RegisterImage`](crate::api::RegisterImage).
const ROOT_DEVICE: &str = "/dev/xvda";
/// Hops to the instance metadata service: it is for the machine alone. (The
/// containers use the machine's own network.)
const METADATA_HOPS: u8 = 1;

/// A launch template as it shall be. A change is a new version, which becomes
/// the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What instances start from.
    pub image: ImageSource,
    /// EC2 instance type.
    pub instance_type: String,
    /// Instance profile.
    pub profile: Option<Part>,
    /// Its network interface.
    pub interface: TemplateInterface,
    /// A second one, which exists: one instance at a time.
    pub second_interface: Option<Part>,
    /// Root volume in GiB.
    pub root_gib: u32,
    /// Plain text.
    pub user_data: Option<String>,
    /// The part that its instances are, for their tags: `bastion`, `node`.
    pub instance: Part,
    /// Whether a shutdown from inside terminates the instance.
    pub terminate_on_shutdown: bool,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// One of ours.
    Ours(Part),
    /// One of AWS: its id and the name of its root device.
    Public {
        /// `ami-…`.
        id: Id,
        /// Such as `/dev/xvda`.
        root_device: String,
    },
}

/// The interface of a template's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateInterface {
    /// One that exists: one instance at a time.
    Existing(Part),
    /// A new one for each instance.
    New {
        /// In this subnet.
        subnet: Part,
        /// With these groups.
        groups: Vec<Part>,
        /// With an IPv6 address.
        ipv6: bool,
    },
}

impl Template {
    /// What it says to AWS.
    fn data(&self, ids: &Ids, context: &Context) -> LaunchData {
        let (image, device) = match &self.image {
            ImageSource::Ours(part) => (ids.told(part), ROOT_DEVICE.to_owned()),
            ImageSource::Public { id, root_device } => (id.clone(), root_device.clone()),
        };
        let interface = match &self.interface {
            TemplateInterface::Existing(part) => LaunchInterface::Existing(ids.told(part)),
            TemplateInterface::New {
                subnet,
                groups,
                ipv6,
            } => LaunchInterface::New {
                subnet: ids.told(subnet),
                groups: groups.iter().map(|group| ids.told(group)).collect(),
                ipv6_count: u32::from(*ipv6),
            },
        };
        let instance_tags = context.tags(&self.instance);
        // Without the part's: what comes and goes with an instance is not for
        // the plan to keep or to delete.
        let mut attached_tags = instance_tags.clone();
        attached_tags.remove(PART_TAG);
        LaunchData {
            image,
            instance_type: self.instance_type.clone(),
            profile: self.profile.as_ref().map(|part| ids.told(part)),
            interface,
            second_interface: self.second_interface.as_ref().map(|part| ids.told(part)),
            root: RootVolume {
                device,
                size_gib: self.root_gib,
            },
            user_data: self.user_data.clone(),
            metadata_hops: METADATA_HOPS,
            standard_credits: has_credits(&self.instance_type),
            terminate_on_shutdown: self.terminate_on_shutdown,
            instance_tags,
            attached_tags,
        }
    }
}

/// Whether a type runs on CPU credits (the T family): EC2 refuses a credit
/// mode for the others.
fn has_credits(instance_type: &str) -> bool {
    let mut letters = instance_type.chars();
    letters.next() == Some('t') && letters.next().is_some_and(|digit| digit.is_ascii_digit())
}

/// The fields of a template, one for each thing that it says.
fn fields(data: &LaunchData) -> Fields {
    let LaunchData {
        image,
        instance_type,
        profile,
        interface,
        second_interface,
        root,
        user_data,
        metadata_hops,
        standard_credits,
        terminate_on_shutdown,
        instance_tags,
        attached_tags,
    } = data;
    let interface = match interface {
        LaunchInterface::Existing(id) => Value::set([id.clone()]),
        LaunchInterface::New {
            subnet,
            groups,
            ipv6_count,
        } => Value::set(
            groups
                .iter()
                .map(|group| format!("with {group}"))
                .chain([format!("new in {subnet}")])
                .chain((*ipv6_count > 0).then(|| format!("with {ipv6_count} IPv6"))),
        ),
    };
    let credits = if *standard_credits {
        "standard"
    } else {
        "as the type has it"
    };
    let on_shutdown = if *terminate_on_shutdown {
        "terminate"
    } else {
        "stop"
    };
    let user_data = user_data.as_ref().map_or_else(
        || "none".to_owned(),
        |text| format!("sha256:{:x} {} bytes", Sha256::digest(text), text.len()),
    );
    [
        ("image", image.into()),
        ("instance-type", instance_type.into()),
        ("profile", profile.as_deref().unwrap_or("none").into()),
        ("interface", interface),
        (
            "second-interface",
            second_interface.as_deref().unwrap_or("none").into(),
        ),
        ("root-device", (&root.device).into()),
        (
            "root-volume",
            format!("{} GiB gp3, encrypted", root.size_gib).into(),
        ),
        ("user-data", user_data.into()),
        (
            "metadata",
            format!("IMDSv2 alone, {metadata_hops} hops").into(),
        ),
        ("cpu-credits", credits.into()),
        ("on-shutdown", on_shutdown.into()),
        ("instance-tags", told(instance_tags)),
        ("attached-tags", told(attached_tags)),
    ]
    .into()
}

fn told(tags: &Tags) -> Value {
    Value::set(tags.iter().map(|(key, value)| format!("{key} = {value}")))
}

impl Resource for Template {
    const KIND: Kind = Kind::Template;
    const FIXED: &'static [&'static str] = &[];

    fn needs(&self) -> Vec<Part> {
        let image = match &self.image {
            ImageSource::Ours(part) => Some(part),
            ImageSource::Public { .. } => None,
        };
        let interface = match &self.interface {
            TemplateInterface::Existing(interface) => vec![interface],
            TemplateInterface::New { subnet, groups, .. } => {
                groups.iter().chain([subnet]).collect()
            }
        };
        image
            .into_iter()
            .chain(&self.profile)
            .chain(interface)
            .chain(&self.second_interface)
            .cloned()
            .collect()
    }

    fn fields(&self, ids: &Ids, context: &Context) -> Fields {
        fields(&self.data(ids, context))
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let request = DescribeLaunchTemplates { filters };
        let found = context.caller.send(request).await?;
        let observed = found.into_iter().map(|template| {
            let mut fields = fields(&template.data);
            // Not compared: for the token of the next version.
            fields.insert(VERSION, template.default_version.into());
            Observed {
                kind: Kind::Template,
                part: part_of(&template.tags),
                id: template.id,
                state: State::Ready,
                fields,
                tags: template.tags,
            }
        });
        Ok(observed.collect())
    }

    async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id> {
        let request = CreateLaunchTemplate {
            name: context.name(part),
            data: self.data(ids, context),
            token: token.to_owned(),
            tags: context.tags(part),
        };
        Ok(context.caller.send(request).await?.id)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        _: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()> {
        let data = self.data(ids, context);
        let request = CreateLaunchTemplateVersion {
            template: observed.id.clone(),
            token: version_token(observed, &data),
            data,
        };
        let version = context.caller.send(request).await?;
        let request = ModifyLaunchTemplate {
            template: observed.id.clone(),
            default_version: version,
        };
        Ok(context.caller.send(request).await?)
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let template = observed.id.clone();
        gone_is_fine(context.caller.send(DeleteLaunchTemplate { template }).await)
    }
}

/// The default version, in what is observed.
const VERSION: &str = "version";

/// The client token of a new version: the same again after a stop before it
/// became the default, another once it is.
fn version_token(observed: &Observed, data: &LaunchData) -> String {
    let version = observed.fields.get(VERSION);
    let what = format!("{} {version:?} {data:?}", observed.id);
    format!("{:.64}", format!("{:x}", Sha256::digest(what)))
}
