//! What is to be done so that what is there becomes what shall be.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde::Serialize;
use serde::ser::SerializeStruct;

use super::{Change, Fields, Ids, Observed, Part, State, Value, changes};
use crate::error::{Error, Result};
use crate::kinds::{Context, Kind, Spec};

/// What is done to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing: it is as it shall be.
    Keep,
    /// It is being made; it is waited for.
    Wait,
    /// It is made.
    Create,
    /// Some of its fields are set.
    Change,
    /// Another takes its place.
    Replace,
    /// It is deleted.
    Delete,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Wait => "wait",
            Self::Create => "create",
            Self::Change => "change",
            Self::Replace => "replace",
            Self::Delete => "delete",
        })
    }
}

/// What is done to one part, and why.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which part.
    pub part: Part,
    /// What it is.
    pub kind: Kind,
    /// What is done.
    pub action: Action,
    /// Why, where the changes do not say it.
    pub why: Option<String>,
    /// What is there of it.
    pub observed: Option<Observed>,
    /// What becomes different; of one that is made, all fields.
    pub changes: Vec<Change>,
    /// How it shall be; none if it is to go.
    pub(super) spec: Option<Spec>,
}

impl Serialize for Step {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut step = to.serialize_struct("Step", 6)?;
        step.serialize_field("part", self.part.as_str())?;
        step.serialize_field("kind", self.kind.name())?;
        step.serialize_field("action", &self.action)?;
        step.serialize_field("id", &self.observed.as_ref().map(|there| &there.id))?;
        step.serialize_field("why", &self.why)?;
        step.serialize_field("changes", &self.changes)?;
        step.end()
    }
}

/// What is to be done, part by part: makes and changes in the order of
/// [`Kind`], then deletes in the reverse order.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Name of the lab.
    pub lab: String,
    /// One for each part that shall be, and for each resource that shall go.
    pub steps: Vec<Step>,
    /// Why this plan must not be applied, one line each.
    pub refused: Vec<String>,
    /// What stands in something that AWS does not show (yet).
    #[serde(skip)]
    pub(super) unseen: Vec<String>,
    #[serde(skip)]
    ids: Ids,
}

/// All parts of this lab that are there.
///
/// # Errors
///
/// What the first call failed with.
pub async fn observe_all(context: &Context) -> Result<Vec<Observed>> {
    let looks = Kind::ALL.iter().map(|kind| kind.observe(context));
    let mut found = Vec::new();
    for outcome in join_all(looks).await {
        found.extend(outcome?);
    }
    // What carries no part's name is not a part: instances and their volumes.
    found.retain(|there| !there.part.as_str().is_empty());
    Ok(found)
}

impl Plan {
    /// Compares what shall be with what is there.
    pub fn new(desired: Vec<(Part, Spec)>, observed: Vec<Observed>, context: &Context) -> Self {
        let mut desired = desired;
        desired.sort_by(|(a, x), (b, y)| (x.kind(), a).cmp(&(y.kind(), b)));
        let mut choice = Choice::new(observed, context);
        let steps: Vec<_> = desired
            .into_iter()
            .map(|(part, spec)| choice.choose(part, spec))
            .collect();
        choice.finish(steps)
    }

    /// Whether nothing is to be made, changed or deleted.
    pub fn is_empty(&self) -> bool {
        let idle = |step: &Step| matches!(step.action, Action::Keep | Action::Wait);
        self.refused.is_empty() && self.steps.iter().all(idle)
    }

    /// Whether all is as it shall be, and ready.
    pub fn is_settled(&self) -> bool {
        let kept = |step: &Step| step.action == Action::Keep;
        self.refused.is_empty() && self.steps.iter().all(kept)
    }

    /// The ids of the parts that are there and stay.
    pub const fn ids(&self) -> &Ids {
        &self.ids
    }

    /// # Errors
    ///
    /// Why this plan must not be applied.
    pub fn allowed(&self) -> Result<()> {
        if self.refused.is_empty() {
            return Ok(());
        }
        Err(Error::Refused(self.refused.join("\n")))
    }

    /// What is still to be done, in one line.
    pub fn summary(&self) -> String {
        let open = |step: &&Step| step.action != Action::Keep;
        let told: Vec<_> = self.steps.iter().filter(open).map(Step::summary).collect();
        told.join("; ")
    }
}

impl Step {
    /// Whether the old one must be gone before the new one is made. Option
    /// sets and images have no name or address that only one can have, and
    /// are in use until the new one is there.
    pub(super) const fn replaces_late(&self) -> bool {
        matches!(self.kind, Kind::DhcpOptions | Kind::LoaderImage)
    }

    fn summary(&self) -> String {
        let Self { part, action, .. } = self;
        let fields: Vec<_> = self.changes.iter().map(|change| change.field).collect();
        match (&self.why, action) {
            (Some(why), _) => format!("{action} {part} ({why})"),
            (None, Action::Change) => format!("{action} {part} ({})", fields.join(", ")),
            (None, _) => format!("{action} {part}"),
        }
    }
}

/// Kinds of which a new one can take an old one's place without harm: nothing
/// stands in them.
const fn is_replaceable(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::DhcpOptions
            | Kind::Interface
            | Kind::NatGateway
            | Kind::GatewayEndpoint
            | Kind::ConnectEndpoint
            | Kind::LoaderImage
    )
}

/// Which of the resources that are there is which part.
struct Choice<'a> {
    context: &'a Context,
    there: BTreeMap<(Kind, Part), Vec<Observed>>,
    /// How many resources speak of an id.
    referrers: BTreeMap<String, usize>,
    /// All ids that are shown.
    shown: BTreeSet<String>,
    ids: Ids,
    /// What goes, and why.
    doomed: Vec<(Observed, String)>,
    refused: Vec<String>,
    unseen: Vec<String>,
}

impl<'a> Choice<'a> {
    fn new(observed: Vec<Observed>, context: &'a Context) -> Self {
        let shown: BTreeSet<_> = observed.iter().map(|there| there.id.clone()).collect();
        let mut referrers = BTreeMap::<String, usize>::new();
        for there in &observed {
            for id in shown.iter().filter(|id| **id != there.id) {
                if mentions(&there.fields, id) {
                    *referrers.entry(id.clone()).or_default() += 1;
                }
            }
        }
        let mut by_part = BTreeMap::<_, Vec<_>>::new();
        for there in observed {
            let key = (there.kind, there.part.clone());
            by_part.entry(key).or_default().push(there);
        }
        Self {
            context,
            there: by_part,
            referrers,
            shown,
            ids: Ids::default(),
            doomed: Vec::new(),
            refused: Vec::new(),
            unseen: Vec::new(),
        }
    }

    /// Decides on a part, except for which of its fields change: ids of later
    /// kinds are not known yet.
    fn choose(&mut self, part: Part, spec: Spec) -> Step {
        let kind = spec.kind();
        let there = self.there.remove(&(kind, part.clone())).unwrap_or_default();
        let mut step = Step {
            part,
            kind,
            action: Action::Create,
            why: None,
            observed: None,
            changes: Vec::new(),
            spec: None,
        };
        let fields = spec.fields(&self.ids, self.context);
        step.spec = Some(spec);

        // What stands in something that goes, goes with it.
        let (lost, mut there): (Vec<_>, Vec<_>) = there
            .into_iter()
            .partition(|one| self.stands_in_doomed(one, &fields));
        for one in lost {
            let why = "stands in a duplicate that goes".to_owned();
            self.doomed.push((one, why));
        }
        // The best one first; the same for everybody who looks.
        there.sort_by_cached_key(|one| {
            let usable = matches!(one.state, State::Ready | State::Pending);
            let fixed = fixed_differences(kind, &fields, one).len();
            let referrers = self.referrers.get(&one.id).copied().unwrap_or(0);
            let differs = changes(&fields, &one.fields).len();
            let (many, few) = (core::cmp::Reverse(referrers), differs);
            (!usable, fixed, many, few, one.id.clone())
        });
        let mut there = there.into_iter();
        let Some(best) = there.next() else {
            return step;
        };
        for other in there {
            let why = format!("a duplicate of {}", best.id);
            self.doomed.push((other, why));
        }
        self.decide(&mut step, best, &fields);
        step
    }

    fn decide(&mut self, step: &mut Step, best: Observed, fields: &Fields) {
        let fixed = fixed_differences(step.kind, fields, &best);
        match &best.state {
            State::Failed(why) => {
                step.action = Action::Replace;
                step.why = Some(format!("it failed: {why}"));
            }
            State::Going => {
                step.action = Action::Replace;
                step.why = Some("the old one is being deleted".to_owned());
            }
            State::Ready | State::Pending if fixed.is_empty() => {
                step.action = Action::Keep;
                self.ids.insert(step.part.clone(), best.id.clone());
            }
            _ => {
                let names: Vec<_> = fixed.iter().map(|change| change.field).collect();
                let (part, id, names) = (&step.part, &best.id, names.join(", "));
                if let Some(unknown) = fixed.iter().find_map(|change| self.unknown(change)) {
                    let why = format!("{part} {id} stands in {unknown}, which AWS does not show");
                    step.action = Action::Wait;
                    step.why = Some(why.clone());
                    self.unseen.push(why);
                    self.ids.insert(step.part.clone(), best.id.clone());
                } else {
                    step.action = Action::Replace;
                    step.why = Some(format!("{names} cannot be changed"));
                    if !is_replaceable(step.kind) {
                        let kind = step.kind.name();
                        self.refused.push(format!(
                            "{part} ({kind} {id}): {names} cannot be changed while things stand in it: cloud-down, then cloud-up",
                        ));
                    }
                }
            }
        }
        step.observed = Some(best);
    }

    /// Whether a fixed field leads into something that goes.
    fn stands_in_doomed(&self, one: &Observed, fields: &Fields) -> bool {
        fixed_differences(one.kind, fields, one)
            .iter()
            .filter_map(|change| change.was.as_ref())
            .any(|was| {
                let leads_to = |(gone, _): &(Observed, String)| names(was, &gone.id);
                self.doomed.iter().any(leads_to)
            })
    }

    /// The id that a fixed field has instead of a part that is yet to be made,
    /// if AWS shows no such resource of this lab.
    fn unknown(&self, change: &Change) -> Option<String> {
        match (&change.was, &change.will_be) {
            (Some(Value::One(was)), Value::One(will_be)) => {
                let unmade = will_be.starts_with('(') && will_be.ends_with(')');
                (unmade && !self.shown.contains(was)).then(|| was.clone())
            }
            _ => None,
        }
    }

    fn finish(mut self, mut steps: Vec<Step>) -> Plan {
        for step in &mut steps {
            let Some(spec) = &step.spec else { continue };
            let fields = spec.fields(&self.ids, self.context);
            let nothing = Fields::new();
            let was = match (&step.action, &step.observed) {
                (Action::Create, _) | (_, None) => &nothing,
                (_, Some(there)) => &there.fields,
            };
            step.changes = changes(&fields, was);
            if step.action == Action::Keep {
                let pending = matches!(&step.observed, Some(one) if one.state == State::Pending);
                step.action = match (step.changes.is_empty(), pending) {
                    (false, _) => Action::Change,
                    (true, true) => Action::Wait,
                    (true, false) => Action::Keep,
                };
            }
        }
        let unwanted = self.there.into_values().flatten();
        self.doomed
            .extend(unwanted.map(|one| (one, "not part of the replica".to_owned())));
        self.doomed
            .sort_by(|(a, _), (b, _)| (b.kind, &a.part, &a.id).cmp(&(a.kind, &b.part, &b.id)));
        steps.extend(self.doomed.into_iter().map(|(one, why)| Step {
            part: one.part.clone(),
            kind: one.kind,
            action: Action::Delete,
            why: Some(why),
            observed: Some(one),
            changes: Vec::new(),
            spec: None,
        }));
        Plan {
            lab: self.context.lab.clone(),
            steps,
            refused: self.refused,
            unseen: self.unseen,
            ids: self.ids,
        }
    }
}

/// What differs and cannot be changed.
fn fixed_differences(kind: Kind, fields: &Fields, one: &Observed) -> Vec<Change> {
    let mut differs = changes(fields, &one.fields);
    differs.retain(|change| kind.fixed().contains(&change.field));
    differs
}

/// Whether fields speak of an id.
fn mentions(fields: &Fields, id: &str) -> bool {
    fields.values().any(|value| names(value, id))
}

fn names(value: &Value, id: &str) -> bool {
    match value {
        Value::One(one) => super::show::words(one).any(|word| word == id),
        Value::Set(items) => items
            .iter()
            .any(|item| super::show::words(item).any(|word| word == id)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Caller;
    use super::*;
    use crate::fake::Fake;
    use crate::kinds::{DhcpOptions, Subnet, Vpc};

    const VPC: Part = Part::new("vpc");
    const OPTIONS: Part = Part::new("options");
    const SUBNET: Part = Part::new("subnet");

    fn context() -> Context {
        Context {
            caller: Caller::seeded(Arc::new(Fake::new("eu-west-1", 1)), 1),
            lab: "home".to_owned(),
            account: Fake::ACCOUNT.to_owned(),
        }
    }

    fn desired() -> Vec<(Part, Spec)> {
        let vpc = Vpc {
            cidr: "10.20.0.0/16".parse().unwrap(),
            ipv6: false,
            dhcp_options: OPTIONS,
        };
        let options = DhcpOptions {
            servers: vec!["AmazonProvidedDNS".to_owned()],
            domain: None,
        };
        let subnet = Subnet {
            vpc: VPC,
            cidr: "10.20.1.0/24".parse().unwrap(),
            ipv6: None,
            zone: "eu-west-1a".to_owned(),
        };
        vec![
            (SUBNET, Spec::Subnet(subnet)),
            (VPC, Spec::Vpc(vpc)),
            (OPTIONS, Spec::DhcpOptions(options)),
        ]
    }

    /// A part as it shall be, in these other parts.
    fn there(part: &Part, id: &str, others: &[(Part, &str)]) -> Observed {
        let (_, spec) = desired().into_iter().find(|(of, _)| of == part).unwrap();
        let mut ids = Ids::default();
        for (part, id) in others {
            ids.insert(part.clone(), (*id).to_owned());
        }
        Observed {
            kind: spec.kind(),
            part: part.clone(),
            id: id.to_owned(),
            state: State::Ready,
            fields: spec.fields(&ids, &context()),
            tags: crate::api::Tags::new(),
        }
    }

    /// A replica with these ids.
    fn replica(vpc: &str, options: &str, subnet: &str) -> Vec<Observed> {
        vec![
            there(&VPC, vpc, &[(OPTIONS, options)]),
            there(&OPTIONS, options, &[]),
            there(&SUBNET, subnet, &[(VPC, vpc)]),
        ]
    }

    /// Each step as `create vpc` or `delete vpc-2`.
    fn steps(observed: Vec<Observed>) -> (Plan, Vec<String>) {
        let plan = Plan::new(desired(), observed, &context());
        let steps = plan.steps.iter().map(|step| {
            let id = step
                .observed
                .as_ref()
                .map_or(step.part.as_str(), |one| &one.id);
            format!("{} {id}", step.action)
        });
        let steps = steps.collect();
        (plan, steps)
    }

    #[test]
    fn nothing_is_there_or_all() {
        let (plan, told) = steps(Vec::new());
        assert_eq!(told, ["create vpc", "create options", "create subnet"]);
        assert!(!plan.is_empty());
        let (plan, told) = steps(replica("vpc-1", "dopt-1", "subnet-1"));
        assert_eq!(told, ["keep vpc-1", "keep dopt-1", "keep subnet-1"]);
        assert!(plan.is_empty() && plan.is_settled());
        assert_eq!(plan.to_string(), "home: 3 as they shall be\n");
    }

    #[test]
    fn of_duplicates_the_one_in_use_stays() {
        let mut twice = replica("vpc-2", "dopt-1", "subnet-1");
        twice.push(there(&VPC, "vpc-1", &[(OPTIONS, "dopt-1")]));
        twice.push(there(&OPTIONS, "dopt-0", &[]));
        for turn in 0..twice.len() {
            twice.rotate_left(turn);
            let (_, told) = steps(twice.clone());
            assert_eq!(
                told,
                [
                    "keep vpc-2",
                    "keep dopt-1",
                    "keep subnet-1",
                    "delete dopt-0",
                    "delete vpc-1",
                ]
            );
        }
    }

    #[test]
    fn what_stands_in_a_duplicate_goes_with_it() {
        let mut both = replica("vpc-1", "dopt-1", "subnet-1");
        both.push(there(&VPC, "vpc-2", &[(OPTIONS, "dopt-1")]));
        both.push(there(&SUBNET, "subnet-0", &[(VPC, "vpc-2")]));
        let (plan, told) = steps(both);
        assert_eq!(told[..3], ["keep vpc-1", "keep dopt-1", "keep subnet-1"]);
        assert_eq!(told[3..], ["delete subnet-0", "delete vpc-2"]);
        plan.allowed().unwrap();
    }

    #[test]
    fn a_vpc_that_is_not_shown_yet_is_waited_for() {
        let mut partly = replica("vpc-1", "dopt-1", "subnet-1");
        partly.remove(0);
        let (plan, told) = steps(partly);
        assert_eq!(told, ["create vpc", "keep dopt-1", "wait subnet-1"]);
        assert_eq!(plan.unseen.len(), 1);
    }

    #[test]
    fn what_cannot_be_changed_is_replaced_or_refused() {
        let mut other = replica("vpc-1", "dopt-1", "subnet-1");
        other[1].fields.insert("servers", "10.0.0.2".into());
        let (plan, told) = steps(other.clone());
        assert_eq!(told, ["change vpc-1", "replace dopt-1", "keep subnet-1"]);
        plan.allowed().unwrap();
        let text = plan.to_string();
        assert!(
            text.contains("servers: 10.0.0.2 -> AmazonProvidedDNS"),
            "{text}"
        );
        assert!(text.contains("dhcp-options: dopt-1 -> (options)"), "{text}");

        other[2].fields.insert("zone", "eu-west-1b".into());
        let (plan, _) = steps(other);
        let refused = plan.allowed().unwrap_err().to_string();
        assert!(
            refused.contains("subnet-1): zone cannot be changed"),
            "{refused}"
        );
    }

    #[test]
    fn what_failed_or_is_unwanted_goes() {
        let mut all = replica("vpc-1", "dopt-1", "subnet-1");
        all[1].state = State::Failed("no reason".to_owned());
        all[2].part = Part::new("old-subnet");
        let (_, told) = steps(all);
        assert_eq!(
            told,
            [
                "change vpc-1",
                "replace dopt-1",
                "create subnet",
                "delete subnet-1"
            ]
        );
    }
}
