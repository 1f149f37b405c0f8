//! A security group with its rules.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    ApiError, AuthorizeSecurityGroupEgress, AuthorizeSecurityGroupIngress, CreateSecurityGroup,
    DeleteSecurityGroup, DescribeManagedPrefixLists, DescribeSecurityGroupRules,
    DescribeSecurityGroups, Direction, Filter, Id, Peer, Protocol, RevokeSecurityGroupEgress,
    RevokeSecurityGroupIngress, Rule, SecurityGroupRule, Tags,
};
use crate::engine::{Fields, Ids, Observed, Part, State, Value};
use crate::error::{Error, Result};

/// A security group as it shall be: these rules and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Its VPC.
    pub vpc: Part,
    /// What it is for.
    pub description: String,
    /// Its rules.
    pub rules: Vec<GroupRule>,
}

/// A rule of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRule {
    /// Which way it looks.
    pub direction: Direction,
    /// What passes.
    pub protocol: Protocol,
    /// From or to whom.
    pub peer: GroupPeer,
    /// What it is for.
    pub why: &'static str,
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupPeer {
    /// An address block.
    Block(IpNet),
    /// Whoever has this group.
    Group(Part),
    /// S3 in this region, by Amazon's prefix list.
    S3,
}

/// What a rule's field calls S3: its prefix list is known to AWS alone.
const S3: &str = "S3";

/// A rule with its direction, to be told from others.
type Directed = (Direction, Rule);

/// A rule as its field shows it: `ingress tcp 5050-5054 from sg-0ab: mirrors`.
fn told(direction: Direction, protocol: Protocol, peer: &str, why: &str) -> String {
    let (direction, side) = match direction {
        Direction::Ingress => ("ingress", "from"),
        Direction::Egress => ("egress", "to"),
    };
    format!("{direction} {protocol} {side} {peer}: {why}")
}

/// A rule that is there as its field shows it.
fn told_rule((direction, rule): &Directed, s3: Option<&Id>) -> String {
    let peer = match &rule.peer {
        Peer::Ipv4(block) | Peer::Ipv6(block) => block,
        Peer::Group(group) => group,
        Peer::PrefixList(list) if Some(list) == s3 => S3,
        Peer::PrefixList(list) => list,
    };
    told(*direction, rule.protocol, peer, &rule.description)
}

/// A block without its host bits, as AWS keeps it.
fn block(net: IpNet) -> Peer {
    match net.trunc() {
        IpNet::V4(net) => Peer::Ipv4(net.to_string()),
        IpNet::V6(net) => Peer::Ipv6(net.to_string()),
    }
}

/// A rule that is there, its block written as we write it.
fn directed(found: &SecurityGroupRule) -> Directed {
    let mut rule = found.rule.clone();
    if let Peer::Ipv4(text) | Peer::Ipv6(text) = &rule.peer
        && let Ok(net) = text.parse()
    {
        rule.peer = block(net);
    }
    (found.direction, rule)
}

/// What has to be done to come from the rules that are there to those that
/// shall be, in three steps.
#[derive(Debug, PartialEq, Eq)]
struct Steps {
    /// New ones, so that what is allowed before and after is allowed
    /// throughout.
    first: Vec<Directed>,
    /// What shall not be, by id.
    revoke: Vec<(Direction, Id)>,
    /// Ones that AWS takes for the same as a revoked one: only the description
    /// is another.
    last: Vec<Directed>,
}

fn steps(wanted: &BTreeSet<Directed>, there: &[SecurityGroupRule]) -> Steps {
    let is_there = |direction, rule: &Rule, same: fn(&Rule, &Rule) -> bool| {
        let mut found = there.iter().map(directed);
        found.any(|(other, found)| other == direction && same(&found, rule))
    };
    let missing = wanted
        .iter()
        .filter(|(direction, rule)| !is_there(*direction, rule, Rule::eq))
        .cloned();
    let (last, first) =
        missing.partition(|(direction, rule)| is_there(*direction, rule, allows_the_same));
    let revoke = there
        .iter()
        .filter(|found| !wanted.contains(&directed(found)))
        .map(|found| (found.direction, found.id.clone()))
        .collect();
    Steps {
        first,
        revoke,
        last,
    }
}

fn allows_the_same(one: &Rule, other: &Rule) -> bool {
    (one.protocol, &one.peer) == (other.protocol, &other.peer)
}

impl Resource for SecurityGroup {
    const KIND: Kind = Kind::SecurityGroup;
    const FIXED: &'static [&'static str] = &["vpc", "description"];

    fn needs(&self) -> Vec<Part> {
        vec![self.vpc.clone()]
    }

    fn refers_to(&self) -> Vec<Part> {
        let peers = self.rules.iter().filter_map(|rule| match &rule.peer {
            GroupPeer::Group(group) => Some(group.clone()),
            GroupPeer::Block(_) | GroupPeer::S3 => None,
        });
        peers.collect()
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        let rules = self.rules.iter().map(|rule| {
            let peer = match &rule.peer {
                GroupPeer::Block(net) => net.trunc().to_string(),
                GroupPeer::Group(group) => ids.told(group),
                GroupPeer::S3 => S3.to_owned(),
            };
            told(rule.direction, rule.protocol, &peer, rule.why)
        });
        [
            ("vpc", ids.told(&self.vpc).into()),
            ("description", self.description.as_str().into()),
            ("rules", Value::set(rules)),
        ]
        .into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let caller = &context.caller;
        let filters = context.ours();
        let groups = caller.send(DescribeSecurityGroups { filters }).await?;
        let rules = rules_of(context, groups.iter().map(|group| group.id.clone())).await?;
        let by_list = |it: &SecurityGroupRule| matches!(it.rule.peer, Peer::PrefixList(_));
        let s3 = if rules.iter().any(by_list) {
            s3_list(context).await?
        } else {
            None
        };
        let observed = groups.into_iter().map(|group| {
            let own = rules.iter().filter(|rule| rule.group == group.id);
            let own = own.map(|rule| told_rule(&directed(rule), s3.as_ref()));
            Observed {
                kind: Self::KIND,
                part: part_of(&group.tags),
                state: State::Ready,
                fields: [
                    ("vpc", group.vpc.into()),
                    ("description", group.description.into()),
                    ("rules", Value::set(own)),
                ]
                .into(),
                id: group.id,
                tags: group.tags,
            }
        });
        Ok(observed.collect())
    }

    async fn create(&self, context: &Context, part: &Part, ids: &Ids, _: &str) -> Result<Id> {
        let request = CreateSecurityGroup {
            vpc: ids.told(&self.vpc),
            name: context.name(part),
            description: self.description.clone(),
            tags: context.tags(part),
        };
        Ok(context.caller.send(request).await?)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()> {
        if !fields.contains("rules") {
            return Ok(());
        }
        let group = &observed.id;
        let wanted = self.wanted(context, ids).await?;
        let there = rules_of(context, [group.clone()]).await?;
        let Steps {
            first,
            revoke,
            last,
        } = steps(&wanted, &there);
        let tags = context.tags(&observed.part);
        authorize(context, group, first, &tags).await?;
        revoke_rules(context, group, revoke).await?;
        authorize(context, group, last, &tags).await
    }

    /// A group goes when no rule speaks of it: its own, and those of the lab's
    /// other groups, are revoked before.
    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let caller = &context.caller;
        let filters = context.ours();
        let groups = caller.send(DescribeSecurityGroups { filters }).await?;
        let all = groups.into_iter().map(|group| group.id);
        let all: BTreeSet<Id> = all.chain([observed.id.clone()]).collect();
        let rules = rules_of(context, all.clone()).await?;
        let speaks_of_it = Peer::Group(observed.id.clone());
        for group in &all {
            let in_the_way = rules.iter().filter(|rule| {
                rule.group == *group && (*group == observed.id || rule.rule.peer == speaks_of_it)
            });
            let in_the_way = in_the_way.map(|rule| (rule.direction, rule.id.clone()));
            revoke_rules(context, group, in_the_way.collect()).await?;
        }
        let group = observed.id.clone();
        gone_is_fine(caller.send(DeleteSecurityGroup { group }).await)
    }
}

impl SecurityGroup {
    /// Its rules as AWS takes them.
    async fn wanted(&self, context: &Context, ids: &Ids) -> Result<BTreeSet<Directed>> {
        let mut wanted = BTreeSet::new();
        for rule in &self.rules {
            let peer = match &rule.peer {
                GroupPeer::Block(net) => block(*net),
                GroupPeer::Group(group) => Peer::Group(ids.told(group)),
                GroupPeer::S3 => Peer::PrefixList(s3_list(context).await?.ok_or_else(|| {
                    let region = context.caller.region();
                    Error::refused(format!("AWS names no prefix list of S3 in {region}"))
                })?),
            };
            let rule_as_sent = Rule {
                protocol: rule.protocol,
                peer,
                description: rule.why.to_owned(),
            };
            wanted.insert((rule.direction, rule_as_sent));
        }
        Ok(wanted)
    }
}

/// The prefix list of S3 in the region.
async fn s3_list(context: &Context) -> Result<Option<Id>> {
    let name = format!("com.amazonaws.{}.s3", context.caller.region());
    let request = DescribeManagedPrefixLists { name };
    Ok(context.caller.send(request).await?)
}

/// The rules of groups, both ways.
async fn rules_of(
    context: &Context,
    groups: impl IntoIterator<Item = Id>,
) -> Result<Vec<SecurityGroupRule>> {
    let values: Vec<Id> = groups.into_iter().collect();
    if values.is_empty() {
        // A filter without values would be none.
        return Ok(Vec::new());
    }
    let filters = vec![Filter {
        name: "group-id".to_owned(),
        values,
    }];
    let request = DescribeSecurityGroupRules { filters };
    Ok(context.caller.send(request).await?)
}

/// Splits by direction what a call can take for one alone.
fn by_direction<T>(all: Vec<(Direction, T)>) -> impl Iterator<Item = (Direction, Vec<T>)> {
    let (ingress, egress): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(direction, _)| *direction == Direction::Ingress);
    [(Direction::Ingress, ingress), (Direction::Egress, egress)]
        .into_iter()
        .filter(|(_, those)| !those.is_empty())
        .map(|(direction, those)| (direction, those.into_iter().map(|(_, it)| it).collect()))
}

/// Adds rules. AWS takes all of a call or none: if one is there already, since
/// another run added it, they are added one by one.
async fn authorize(context: &Context, group: &Id, rules: Vec<Directed>, tags: &Tags) -> Result<()> {
    let duplicate = |error: &ApiError| error.code == "InvalidPermission.Duplicate";
    let add = async |direction, rules: Vec<Rule>| {
        let (group, tags) = (group.clone(), tags.clone());
        match direction {
            Direction::Ingress => {
                let request = AuthorizeSecurityGroupIngress { group, rules, tags };
                context.caller.send(request).await
            }
            Direction::Egress => {
                let request = AuthorizeSecurityGroupEgress { group, rules, tags };
                context.caller.send(request).await
            }
        }
    };
    for (direction, rules) in by_direction(rules) {
        match add(direction, rules.clone()).await {
            Err(error) if duplicate(&error) => {
                for rule in rules {
                    match add(direction, vec![rule]).await {
                        Err(error) if duplicate(&error) => {}
                        outcome => outcome?,
                    }
                }
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Takes rules away. AWS takes all of a call or none: if one is gone already,
/// they are taken one by one.
async fn revoke_rules(context: &Context, group: &Id, rules: Vec<(Direction, Id)>) -> Result<()> {
    let remove = async |direction, rules: Vec<Id>| {
        let group = group.clone();
        match direction {
            Direction::Ingress => {
                let request = RevokeSecurityGroupIngress { group, rules };
                context.caller.send(request).await
            }
            Direction::Egress => {
                let request = RevokeSecurityGroupEgress { group, rules };
                context.caller.send(request).await
            }
        }
    };
    for (direction, rules) in by_direction(rules) {
        match remove(direction, rules.clone()).await {
            Err(error) if error.is_not_found() => {
                for rule in rules {
                    gone_is_fine(remove(direction, vec![rule]).await)?;
                }
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: Protocol, peer: Peer, why: &str) -> Rule {
        Rule {
            protocol,
            peer,
            description: why.to_owned(),
        }
    }

    fn there(id: &str, (direction, rule): &Directed) -> SecurityGroupRule {
        SecurityGroupRule {
            id: id.to_owned(),
            group: "sg-1".to_owned(),
            direction: *direction,
            rule: rule.clone(),
        }
    }

    #[test]
    fn a_rule_in_words() {
        let v4 = |block: &str| Peer::Ipv4(block.to_owned());
        let s3 = "pl-1".to_owned();
        for (direction, rule, text) in [
            (
                Direction::Ingress,
                rule(
                    Protocol::Tcp(5050, 5054),
                    Peer::Group("sg-0ab".to_owned()),
                    "mirrors",
                ),
                "ingress tcp 5050-5054 from sg-0ab: mirrors",
            ),
            (
                Direction::Ingress,
                rule(Protocol::Udp(53, 53), v4("10.20.0.0/16"), "DNS"),
                "ingress udp 53 from 10.20.0.0/16: DNS",
            ),
            (
                Direction::Egress,
                rule(Protocol::All, v4("0.0.0.0/0"), ""),
                "egress all to 0.0.0.0/0: ",
            ),
            (
                Direction::Egress,
                rule(Protocol::Tcp(443, 443), Peer::PrefixList(s3.clone()), "S3"),
                "egress tcp 443 to S3: S3",
            ),
            (
                Direction::Egress,
                rule(
                    Protocol::Icmp6,
                    Peer::PrefixList("pl-2".to_owned()),
                    "foreign",
                ),
                "egress icmpv6 to pl-2: foreign",
            ),
        ] {
            assert_eq!(told_rule(&(direction, rule), Some(&s3)), text);
        }
    }

    #[test]
    fn blocks_are_compared_and_not_their_spelling() {
        let spelled = rule(
            Protocol::All,
            Peer::Ipv6("2001:0DB8:0::/32".to_owned()),
            "x",
        );
        let found = there("sgr-1", &(Direction::Egress, spelled));
        let (_, rule) = directed(&found);
        assert_eq!(rule.peer, Peer::Ipv6("2001:db8::/32".to_owned()));
        assert_eq!(
            block("10.20.13.140/24".parse().unwrap()),
            Peer::Ipv4("10.20.13.0/24".to_owned())
        );
    }

    #[test]
    fn what_is_added_and_what_is_revoked_and_when() {
        let anywhere = || Peer::Ipv4("0.0.0.0/0".to_owned());
        let ssh = |why| {
            (
                Direction::Ingress,
                rule(Protocol::Tcp(22, 22), anywhere(), why),
            )
        };
        let dns = (
            Direction::Ingress,
            rule(Protocol::Udp(53, 53), anywhere(), "DNS"),
        );
        let all_out = (Direction::Egress, rule(Protocol::All, anywhere(), ""));
        let revoke = |direction, id: &str| (direction, id.to_owned());

        // A new group: the default egress goes, after the rest has come.
        assert_eq!(
            steps(&[dns.clone()].into(), &[there("sgr-1", &all_out)]),
            Steps {
                first: vec![dns.clone()],
                revoke: vec![revoke(Direction::Egress, "sgr-1")],
                last: vec![],
            }
        );
        // Another description is the same rule to AWS.
        assert_eq!(
            steps(
                &[ssh("new"), dns.clone()].into(),
                &[there("sgr-1", &ssh("old")), there("sgr-2", &dns)]
            ),
            Steps {
                first: vec![],
                revoke: vec![revoke(Direction::Ingress, "sgr-1")],
                last: vec![ssh("new")],
            }
        );
        // The same rule the other way is another.
        let out = (Direction::Egress, dns.1.clone());
        assert_eq!(
            steps(&[dns.clone()].into(), &[there("sgr-1", &out)]),
            Steps {
                first: vec![dns.clone()],
                revoke: vec![revoke(Direction::Egress, "sgr-1")],
                last: vec![],
            }
        );
        // Nothing to do.
        assert_eq!(
            steps(&[dns.clone()].into(), &[there("sgr-1", &dns)]),
            Steps {
                first: vec![],
                revoke: vec![],
                last: vec![],
            }
        );
    }
}
