//! Security groups and their rules.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    self, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, UserIdGroupPair,
};

use super::{list, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, need, plain};

fn security_group(call: Name, group: types::SecurityGroup) -> Result<SecurityGroup, ApiError> {
    Ok(SecurityGroup {
        id: need!(call, group.group_id)?,
        name: need!(call, group.group_name)?,
        description: group.description.unwrap_or_default(),
        vpc: need!(call, group.vpc_id)?,
        tags: tags(group.tags),
    })
}

list!(describe_security_groups(DescribeSecurityGroups) -> security_group);

fn protocol(call: Name, rule: &types::SecurityGroupRule) -> Result<Protocol, ApiError> {
    let name = rule.ip_protocol.as_deref().unwrap_or("-1");
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    let ports = port(rule.from_port).zip(port(rule.to_port));
    // ICMP has a type and a code there; -1 stands for every one.
    let every_type = rule.from_port.unwrap_or(-1) == -1;
    Ok(match (name, ports) {
        ("-1", _) => Protocol::All,
        ("tcp" | "6", Some((first, last))) => Protocol::Tcp(first, last),
        ("udp" | "17", Some((first, last))) => Protocol::Udp(first, last),
        ("icmp" | "1", _) if every_type => Protocol::Icmp,
        ("icmpv6" | "58", _) if every_type => Protocol::Icmp6,
        _ => {
            let number = match name {
                "icmp" => 1,
                "icmpv6" => 58,
                number => number.parse().map_err(|_| {
                    ApiError::not_understood(call, format!("a rule for the protocol {name}"))
                })?,
            };
            Protocol::Other {
                number,
                kind: rule.from_port.unwrap_or(-1),
                code: rule.to_port.unwrap_or(-1),
            }
        }
    })
}

fn security_group_rule(
    call: Name,
    rule: types::SecurityGroupRule,
) -> Result<SecurityGroupRule, ApiError> {
    let protocol = protocol(call, &rule)?;
    let peer = None
        .or(rule.cidr_ipv4.map(Peer::Ipv4))
        .or(rule.cidr_ipv6.map(Peer::Ipv6))
        .or(rule.prefix_list_id.map(Peer::PrefixList))
        .or(rule
            .referenced_group_info
            .and_then(|group| group.group_id)
            .map(Peer::Group))
        .ok_or_else(|| ApiError::not_understood(call, "a rule names no other side"))?;
    let direction = if need!(call, rule.is_egress)? {
        Direction::Egress
    } else {
        Direction::Ingress
    };
    Ok(SecurityGroupRule {
        id: need!(call, rule.security_group_rule_id)?,
        group: need!(call, rule.group_id)?,
        direction,
        rule: Rule {
            protocol,
            peer,
            description: rule.description.unwrap_or_default(),
        },
    })
}

list!(describe_security_group_rules(DescribeSecurityGroupRules) -> security_group_rule);

pub(in crate::sdk) async fn create_security_group(
    ec2: &Client,
    request: CreateSecurityGroup,
) -> Answer<CreateSecurityGroup> {
    let call = CreateSecurityGroup::NAME;
    let output = ec2
        .create_security_group()
        .vpc_id(request.vpc)
        .group_name(request.name)
        .description(request.description)
        .set_tag_specifications(tags_for(ResourceType::SecurityGroup, request.tags))
        .send()
        .await
        .explained(call)?;
    need!(call, output.group_id)
}

/// One rule as EC2 takes it.
fn permission(rule: Rule) -> IpPermission {
    let (name, from, to) = match rule.protocol {
        Protocol::All => ("-1".to_owned(), None, None),
        Protocol::Tcp(first, last) => ("tcp".to_owned(), Some(first.into()), Some(last.into())),
        Protocol::Udp(first, last) => ("udp".to_owned(), Some(first.into()), Some(last.into())),
        Protocol::Icmp => ("icmp".to_owned(), Some(-1), Some(-1)),
        Protocol::Icmp6 => ("icmpv6".to_owned(), Some(-1), Some(-1)),
        Protocol::Other { number, kind, code } => (number.to_string(), Some(kind), Some(code)),
    };
    let permission = IpPermission::builder()
        .ip_protocol(name)
        .set_from_port(from)
        .set_to_port(to);
    let description = Some(rule.description).filter(|text| !text.is_empty());
    match rule.peer {
        Peer::Ipv4(cidr) => permission.ip_ranges(
            IpRange::builder()
                .cidr_ip(cidr)
                .set_description(description)
                .build(),
        ),
        Peer::Ipv6(cidr) => permission.ipv6_ranges(
            Ipv6Range::builder()
                .cidr_ipv6(cidr)
                .set_description(description)
                .build(),
        ),
        Peer::Group(id) => permission.user_id_group_pairs(
            UserIdGroupPair::builder()
                .group_id(id)
                .set_description(description)
                .build(),
        ),
        Peer::PrefixList(id) => permission.prefix_list_ids(
            PrefixListId::builder()
                .prefix_list_id(id)
                .set_description(description)
                .build(),
        ),
    }
    .build()
}

plain!(Client, authorize_security_group_ingress(request: AuthorizeSecurityGroupIngress) {
    group_id: request.group,
    set_ip_permissions: Some(request.rules.into_iter().map(permission).collect()),
    set_tag_specifications: tags_for(ResourceType::SecurityGroupRule, request.tags),
});

plain!(Client, authorize_security_group_egress(request: AuthorizeSecurityGroupEgress) {
    group_id: request.group,
    set_ip_permissions: Some(request.rules.into_iter().map(permission).collect()),
    set_tag_specifications: tags_for(ResourceType::SecurityGroupRule, request.tags),
});

plain!(Client, revoke_security_group_ingress(request: RevokeSecurityGroupIngress) {
    group_id: request.group,
    set_security_group_rule_ids: Some(request.rules),
});

plain!(Client, revoke_security_group_egress(request: RevokeSecurityGroupEgress) {
    group_id: request.group,
    set_security_group_rule_ids: Some(request.rules),
});

plain!(Client, delete_security_group(request: DeleteSecurityGroup) {
    group_id: request.group,
});
