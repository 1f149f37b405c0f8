//! Security groups and their rules.

use super::shelf::{Birth, Resource, one, resource};
use super::{Account, Answer, Fake, Quota, check, refuse};
use crate::api::*;

/// A rule and its tags.
#[derive(Debug, Clone)]
pub(super) struct RuleState {
    id: Id,
    rule: SecurityGroupRule,
    tags: Tags,
}

resource!(
    SecurityGroup, "security-group", "sg-", "InvalidGroup.NotFound", "security group",
    |it| it, |name| {
        "group-id" => one(&it.id),
        "group-name" => one(&it.name),
        "description" => one(&it.description),
        "vpc-id" => one(&it.vpc),
        "owner-id" => one(Fake::ACCOUNT),
    },
    along it.name == "default"
);

// Rules go with their group: only groups are left behind.
resource!(
    RuleState, "security-group-rule", "sgr-", "InvalidSecurityGroupRuleId.NotFound", "security group rule ID",
    |it| it, |name| {
        "group-id" => one(&it.rule.group),
        "security-group-rule-id" => one(&it.id),
    },
    along true
);

/// What names and descriptions may have besides letters and digits.
const SIGNS: &str = " ._-:/()#,@[]+=&;{}!$*";

fn everything(peer: Peer) -> Rule {
    Rule {
        protocol: Protocol::All,
        peer,
        description: String::new(),
    }
}

impl Account {
    /// A group that lets everything out, and its own members in if it is the
    /// default one.
    pub(super) fn put_group(
        &mut self,
        birth: Birth,
        vpc: &str,
        name: &str,
        description: &str,
        tags: Tags,
    ) -> Id {
        let group = SecurityGroup {
            id: self.id("sg-"),
            name: name.to_owned(),
            description: description.to_owned(),
            vpc: vpc.to_owned(),
            tags,
        };
        let id = group.id.clone();
        let mut rules = vec![(Direction::Egress, Peer::Ipv4("0.0.0.0/0".to_owned()))];
        if self.vpcs.at(vpc).is_some_and(|it| it.vpc.ipv6.is_some()) {
            rules.push((Direction::Egress, Peer::Ipv6("::/0".to_owned())));
        }
        if group.comes_along() {
            rules.push((Direction::Ingress, Peer::Group(id.clone())));
        }
        for (direction, peer) in rules {
            self.put_rule(birth, &id, direction, everything(peer), Tags::new());
        }
        self.groups.put(birth, group);
        id
    }

    fn put_rule(
        &mut self,
        birth: Birth,
        group: &str,
        direction: Direction,
        rule: Rule,
        tags: Tags,
    ) {
        let id = self.id("sgr-");
        let group = group.to_owned();
        let rule = SecurityGroupRule {
            id: id.clone(),
            group,
            direction,
            rule,
        };
        self.rules.put(birth, RuleState { id, rule, tags });
    }

    /// A VPC has got its IPv6 block: EC2 opens it in every group whose egress
    /// is still as it was at the beginning.
    pub(super) fn open_ipv6_egress(&mut self, vpc: &str) {
        let groups: Vec<Id> = self
            .groups
            .all()
            .filter(|it| it.vpc == vpc)
            .map(|it| it.id.clone())
            .collect();
        let untouched = everything(Peer::Ipv4("0.0.0.0/0".to_owned()));
        for group in groups {
            let egress: Vec<&Rule> = self
                .rules
                .all()
                .filter(|it| it.rule.group == group && it.rule.direction == Direction::Egress)
                .map(|it| &it.rule.rule)
                .collect();
            if egress == [&untouched] {
                let birth = self.birth();
                let rule = everything(Peer::Ipv6("::/0".to_owned()));
                self.put_rule(birth, &group, Direction::Egress, rule, Tags::new());
            }
        }
    }

    /// Removes a group and its rules, whoever uses it.
    pub(super) fn forget_group(&mut self, group: &str) {
        let rules: Vec<Id> = self
            .rules
            .all()
            .filter(|it| it.rule.group == group)
            .map(|it| it.id.clone())
            .collect();
        for rule in rules {
            self.rules.take(&rule);
        }
        self.groups.take(group);
    }

    pub(super) fn describe_groups(
        &mut self,
        c: DescribeSecurityGroups,
    ) -> Answer<Vec<SecurityGroup>> {
        self.groups.list(&c.filters, self.now)
    }

    pub(super) fn describe_rules(
        &mut self,
        c: DescribeSecurityGroupRules,
    ) -> Answer<Vec<SecurityGroupRule>> {
        let rules = self.rules.list(&c.filters, self.now)?;
        Ok(rules.into_iter().map(|state| state.rule).collect())
    }

    pub(super) fn create_group(&mut self, c: CreateSecurityGroup) -> Answer<Id> {
        self.vpcs.get(&c.vpc, self.now)?;
        if c.description.is_empty() {
            return refuse(
                "MissingParameter",
                "The request must contain the parameter GroupDescription",
            );
        }
        if !check::is_text(&c.name, 1..=255, SIGNS) || c.name.starts_with("sg-") {
            return check::bad_value(
                &c.name,
                "GroupName",
                "Character sets beyond ASCII are not supported, nor names that start with 'sg-'.",
            );
        }
        if c.name == "default" {
            return refuse(
                "InvalidGroup.Reserved",
                "Cannot use reserved security group name: default",
            );
        }
        if !check::is_text(&c.description, 1..=255, SIGNS) {
            return check::bad_value(
                &c.description,
                "GroupDescription",
                "Character sets beyond ASCII are not supported.",
            );
        }
        check::tags(&c.tags)?;
        if self
            .groups
            .all()
            .any(|it| it.vpc == c.vpc && it.name == c.name)
        {
            return refuse(
                "InvalidGroup.Duplicate",
                format!(
                    "The security group '{}' already exists for VPC '{}'",
                    c.name, c.vpc
                ),
            );
        }
        let count = self.groups.all().filter(|it| it.vpc == c.vpc).count();
        self.script.within(Quota::GroupsPerVpc, count, 1)?;
        let birth = self.birth();
        Ok(self.put_group(birth, &c.vpc, &c.name, &c.description, c.tags))
    }

    pub(super) fn authorize_ingress(&mut self, c: AuthorizeSecurityGroupIngress) -> Answer<()> {
        self.authorize(&c.group, Direction::Ingress, c.rules, c.tags)
    }

    pub(super) fn authorize_egress(&mut self, c: AuthorizeSecurityGroupEgress) -> Answer<()> {
        self.authorize(&c.group, Direction::Egress, c.rules, c.tags)
    }

    /// Adds all rules, or none.
    fn authorize(
        &mut self,
        group: &str,
        direction: Direction,
        rules: Vec<Rule>,
        tags: Tags,
    ) -> Answer<()> {
        let vpc = self.groups.get(group, self.now)?.vpc.clone();
        if rules.is_empty() {
            return refuse(
                "MissingParameter",
                "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.",
            );
        }
        check::tags(&tags)?;
        let mut new: Vec<Rule> = Vec::new();
        for rule in rules {
            let rule = self.rule(&vpc, rule)?;
            if new.iter().any(|other| is_same(other, &rule)) {
                return refuse(
                    "InvalidParameterValue",
                    "The same permission must not appear multiple times",
                );
            }
            new.push(rule);
        }
        let there = || {
            self.rules
                .all()
                .filter(|it| it.rule.group == group && it.rule.direction == direction)
        };
        if let Some(twice) = new
            .iter()
            .find(|new| there().any(|it| is_same(&it.rule.rule, new)))
        {
            return refuse(
                "InvalidPermission.Duplicate",
                format!(
                    "the specified rule \"peer: {:?}, {}, ALLOW\" already exists",
                    twice.peer, twice.protocol
                ),
            );
        }
        self.script
            .within(Quota::RulesPerGroup, there().count(), new.len())?;
        // A rule in somebody else's group is a change of theirs, whoever makes it.
        let foreign = self.groups.is_foreign(group);
        for rule in new {
            let birth = Birth {
                foreign,
                ..self.birth()
            };
            self.put_rule(birth, group, direction, rule, tags.clone());
        }
        Ok(())
    }

    /// The rule as EC2 keeps it: blocks in their canonical form.
    fn rule(&self, vpc: &str, mut rule: Rule) -> Answer<Rule> {
        if !check::is_text(&rule.description, 0..=255, SIGNS) {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "Invalid rule description. Valid descriptions are strings less than 256 \
                     characters from the following set: a-zA-Z0-9{SIGNS}"
                ),
            );
        }
        if let Protocol::Tcp(first, last) | Protocol::Udp(first, last) = rule.protocol
            && first > last
        {
            return refuse(
                "InvalidParameterValue",
                format!("Invalid port range ({first}-{last}): from is above to"),
            );
        }
        match &mut rule.peer {
            Peer::Ipv4(cidr) => *cidr = check::ipv4_block(cidr, "CidrIp")?.to_string(),
            Peer::Ipv6(cidr) => *cidr = check::ipv6_block(cidr, "CidrIpv6")?.to_string(),
            Peer::Group(id) => {
                if self.groups.get(id, self.now)?.vpc != vpc {
                    // Of peered VPCs, which the shim does not make, it may be.
                    return refuse(
                        "InvalidGroup.NotFound",
                        format!(
                            "You have specified two resources that belong to different networks: {id}"
                        ),
                    );
                }
            }
            Peer::PrefixList(id) => self.prefix_list(id)?,
        }
        Ok(rule)
    }

    pub(super) fn revoke_ingress(&mut self, c: RevokeSecurityGroupIngress) -> Answer<()> {
        self.revoke(&c.group, Direction::Ingress, &c.rules)
    }

    pub(super) fn revoke_egress(&mut self, c: RevokeSecurityGroupEgress) -> Answer<()> {
        self.revoke(&c.group, Direction::Egress, &c.rules)
    }

    fn revoke(&mut self, group: &str, direction: Direction, rules: &[Id]) -> Answer<()> {
        self.groups.get(group, self.now)?;
        if rules.is_empty() {
            return refuse(
                "MissingParameter",
                "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.",
            );
        }
        for id in rules {
            let rule = &self.rules.get(id, self.now)?.rule;
            if rule.group != group || rule.direction != direction {
                return refuse(
                    "InvalidSecurityGroupRuleId.NotFound",
                    format!("The security group rule ID '{id}' does not exist in {group}"),
                );
            }
        }
        for id in rules {
            self.rules.take(id);
        }
        Ok(())
    }

    pub(super) fn delete_group(&mut self, c: DeleteSecurityGroup) -> Answer<()> {
        let group = self.groups.get(&c.group, self.now)?;
        if group.comes_along() {
            return refuse(
                "CannotDelete",
                format!(
                    "the specified group: \"{}\" name: \"default\" cannot be deleted by a user",
                    c.group
                ),
            );
        }
        let referred = self.rules.all().any(|it| {
            it.rule.group != c.group && it.rule.rule.peer == Peer::Group(c.group.clone())
        });
        if referred
            || self
                .interfaces
                .all()
                .any(|it| it.nic.groups.contains(&c.group))
        {
            return refuse(
                "DependencyViolation",
                format!("resource {} has a dependent object", c.group),
            );
        }
        self.forget_group(&c.group);
        Ok(())
    }

    /// The groups of an interface in this VPC: its default group if none is given.
    pub(super) fn interface_groups(&self, vpc: &str, groups: &[Id]) -> Answer<Vec<Id>> {
        self.script
            .within(Quota::GroupsPerInterface, 0, groups.len())?;
        for id in groups {
            if self.groups.get(id, self.now)?.vpc != vpc {
                return refuse(
                    "InvalidParameter",
                    format!("Security group {id} and network {vpc} belong to different networks"),
                );
            }
        }
        if !groups.is_empty() {
            return Ok(groups.to_vec());
        }
        let default = self
            .groups
            .all()
            .filter(|it| it.vpc == vpc && it.comes_along());
        Ok(default.map(|it| it.id.clone()).collect())
    }
}

/// Whether EC2 takes two rules for one: descriptions do not count.
fn is_same(a: &Rule, b: &Rule) -> bool {
    a.protocol == b.protocol && a.peer == b.peer
}
