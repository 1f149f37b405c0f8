//! The kinds of resources: how each is found, made, changed and deleted.
//!
//! One file for each; a kind is a plain struct that says how a part shall be,
//! and implements [`Resource`].

mod bucket;
mod dhcp_options;
mod endpoints;
mod gateways;
mod groups;
mod identity;
mod image;
mod interface;
mod nat;
mod routes;
mod scaling;
mod schedules;
mod subnet;
mod template;
mod vpc;

use std::collections::BTreeSet;

pub use bucket::{Bucket, Content};
pub use dhcp_options::DhcpOptions;
pub use endpoints::{ConnectEndpoint, GatewayEndpoint};
pub use gateways::{EgressOnlyGateway, InternetGateway};
pub use groups::{GroupPeer, GroupRule, SecurityGroup};
pub use identity::{Profile, Role};
pub use image::LoaderImage;
pub use interface::Interface;
pub use nat::{Address, NatGateway};
pub use routes::RouteTable;
pub use scaling::Group;
pub use schedules::ScheduleGroup;
pub use subnet::Subnet;
pub use template::{ImageSource, Template, TemplateInterface};
pub use vpc::Vpc;

use core::time::Duration;

use crate::api::{ApiError, Id, Tags};
use crate::engine::{
    Caller, Fields, Ids, LAB_TAG, NAME_TAG, Observed, PART_TAG, Part, State, Waiting,
};
use crate::error::Result;

/// What the calls about a part need besides the part.
#[derive(Debug, Clone)]
pub struct Context {
    /// The account.
    pub caller: Caller,
    /// Name of the lab.
    pub lab: String,
    /// The account's twelve digits.
    pub account: String,
}

impl Context {
    /// The tags of a part.
    pub fn tags(&self, part: &Part) -> Tags {
        [
            (LAB_TAG, self.lab.clone()),
            (PART_TAG, part.to_string()),
            (NAME_TAG, self.name(part)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// A part's name where AWS wants one: `ichor-home-bastion-sg`.
    pub fn name(&self, part: &Part) -> String {
        format!("ichor-{}-{part}", self.lab)
    }

    /// Passes what is of this lab.
    pub fn ours(&self) -> Vec<crate::api::Filter> {
        vec![crate::api::Filter::tag(LAB_TAG, &self.lab)]
    }

    /// What AWS shows of something that is there. It may be shown at one look
    /// and not at the next, soon after it was made.
    async fn shown<T>(
        &self,
        id: &Id,
        mut look: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        const WITHIN: Duration = Duration::from_secs(60);
        let what = format!("{id} to be shown");
        let not = || Waiting::Not("not there".to_owned());
        let shown = async || Ok(look().await?.map_or_else(not, Waiting::Done));
        self.caller.wait(&what, WITHIN, shown).await
    }

    /// Looks until something is gone, for at most `within`. A look gives what
    /// is still to be seen of it.
    async fn until_gone(
        &self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut() -> Result<Option<String>>,
    ) -> Result<()> {
        let what = format!("{what} to be gone");
        let gone = async || Ok(look().await?.map_or(Waiting::Done(()), Waiting::Not));
        self.caller.wait(&what, within, gone).await
    }
}

/// The part that a resource is, by its tag; the part without a name if it has
/// none, which nothing asks for.
fn part_of(tags: &Tags) -> Part {
    Part::tagged(tags.get(PART_TAG).map_or("", String::as_str))
}

/// Takes it as done if what was to be deleted was gone already.
pub(crate) fn gone_is_fine(outcome: Result<(), ApiError>) -> Result<()> {
    match outcome {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Nothing for what is not there, or was gone since it was listed.
pub(crate) fn unless_gone<T>(outcome: Result<T, ApiError>) -> Result<Option<T>> {
    match outcome {
        Err(error) if error.is_not_found() => Ok(None),
        outcome => Ok(Some(outcome?)),
    }
}

/// How far a resource is by AWS's word for it; nothing once it is deleted.
/// `reason` is why it failed, if AWS says.
fn state_of(word: &str, reason: Option<&str>) -> Option<State> {
    Some(match word.to_ascii_lowercase().as_str() {
        "available" | "create-complete" | "update-complete" => State::Ready,
        "pending" | "create-in-progress" | "update-in-progress" => State::Pending,
        "deleting" | "delete-in-progress" => State::Going,
        "deleted" | "delete-complete" => return None,
        _ => State::Failed(reason.unwrap_or(word).to_owned()),
    })
}

/// A kind of resource. The value says how a part of that kind shall be.
///
/// Making is one call, which also sets the tags; what that call cannot say is
/// left to [`change`](Self::change). Each method may be stopped after any call
/// and run again.
#[allow(async_fn_in_trait, reason = "called in this crate alone")]
pub trait Resource: Sized {
    /// Which kind.
    const KIND: Kind;
    /// Fields that only a new resource can have otherwise.
    const FIXED: &'static [&'static str];

    /// Parts that must be there before this one is made.
    fn needs(&self) -> Vec<Part>;

    /// Further parts that its fields speak of: they may come later.
    fn refers_to(&self) -> Vec<Part> {
        Vec::new()
    }

    /// What is compared. References come as `ids.told(part)`.
    fn fields(&self, ids: &Ids, context: &Context) -> Fields;

    /// All of this kind that carry the lab's tag, deleted ones left out.
    async fn observe(context: &Context) -> Result<Vec<Observed>>;

    /// Makes it, and gives its id. `token` is for calls that take a client
    /// token.
    async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id>;

    /// Brings the named fields to what they shall be. Called when all that it
    /// needs and refers to is there.
    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()>;

    /// Deletes it with all that is in the way and belongs to it alone, and
    /// waits until it is gone. One that is gone already is no error.
    async fn delete(context: &Context, observed: &Observed) -> Result<()>;
}

/// Makes the enums over all kinds and passes their methods on. The order is
/// that of making; deleting goes backwards.
macro_rules! kinds {
    ($( $(#[$doc:meta])* $kind:ident = $name:literal ),* $(,)?) => {
        /// A kind of resource, in the order of making.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $( $(#[$doc])* $kind, )*
        }

        impl Kind {
            /// All, in the order of making.
            pub const ALL: &'static [Self] = &[$( Self::$kind, )*];

            /// As people call it.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$kind => $name, )*
                }
            }

            /// See [`Resource::FIXED`].
            pub const fn fixed(self) -> &'static [&'static str] {
                match self {
                    $( Self::$kind => <$kind as Resource>::FIXED, )*
                }
            }

            /// See [`Resource::observe`].
            ///
            /// # Errors
            ///
            /// What a call failed with.
            pub async fn observe(self, context: &Context) -> Result<Vec<Observed>> {
                match self {
                    $( Self::$kind => <$kind as Resource>::observe(context).await, )*
                }
            }
        }

        /// How a part shall be.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Spec {
            $( $(#[$doc])* $kind($kind), )*
        }

        impl Spec {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $( Self::$kind(_) => Kind::$kind, )*
                }
            }

            /// See [`Resource::needs`].
            pub fn needs(&self) -> Vec<Part> {
                match self {
                    $( Self::$kind(spec) => spec.needs(), )*
                }
            }

            /// See [`Resource::refers_to`].
            pub fn refers_to(&self) -> Vec<Part> {
                match self {
                    $( Self::$kind(spec) => spec.refers_to(), )*
                }
            }

            /// See [`Resource::fields`].
            pub fn fields(&self, ids: &Ids, context: &Context) -> Fields {
                match self {
                    $( Self::$kind(spec) => spec.fields(ids, context), )*
                }
            }

            /// See [`Resource::create`].
            ///
            /// # Errors
            ///
            /// What a call failed with.
            pub async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id> {
                match self {
                    $( Self::$kind(spec) => spec.create(context, part, ids, token).await, )*
                }
            }

            /// See [`Resource::change`].
            ///
            /// # Errors
            ///
            /// What a call failed with.
            pub async fn change(
                &self,
                context: &Context,
                observed: &Observed,
                fields: &BTreeSet<&'static str>,
                ids: &Ids,
            ) -> Result<()> {
                match self {
                    $( Self::$kind(spec) => spec.change(context, observed, fields, ids).await, )*
                }
            }
        }

        impl Observed {
            /// See [`Resource::delete`].
            ///
            /// # Errors
            ///
            /// What a call failed with.
            pub async fn delete(&self, context: &Context) -> Result<()> {
                match self.kind {
                    $( Kind::$kind => <$kind as Resource>::delete(context, self).await, )*
                }
            }
        }
    };
}

kinds! {
    /// A VPC.
    Vpc = "VPC",
    /// A DHCP option set.
    DhcpOptions = "DHCP options",
    /// A subnet.
    Subnet = "subnet",
    /// An internet gateway.
    InternetGateway = "internet gateway",
    /// An egress-only internet gateway.
    EgressOnlyGateway = "egress-only internet gateway",
    /// A security group.
    SecurityGroup = "security group",
    /// A network interface.
    Interface = "network interface",
    /// An elastic address.
    Address = "elastic address",
    /// A NAT gateway.
    NatGateway = "NAT gateway",
    /// A route table.
    RouteTable = "route table",
    /// A gateway endpoint.
    GatewayEndpoint = "gateway endpoint",
    /// An EC2 Instance Connect endpoint.
    ConnectEndpoint = "instance connect endpoint",
    /// A role.
    Role = "IAM role",
    /// An instance profile.
    Profile = "instance profile",
    /// A bucket.
    Bucket = "S3 bucket",
    /// An image of a node's loader.
    LoaderImage = "machine image",
    /// A launch template.
    Template = "launch template",
    /// A group of schedules.
    ScheduleGroup = "schedule group",
    /// An Auto Scaling group.
    Group = "Auto Scaling group",
}
