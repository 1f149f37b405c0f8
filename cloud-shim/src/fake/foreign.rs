//! Resources of other people in the account, which nobody may touch.

use std::sync::MutexGuard;

use super::{Account, Fake};
use crate::api::*;

/// Puts resources of somebody else into the account: at once, visible, with no
/// faults, and not counted among the calls.
pub struct Foreign<'a> {
    account: MutexGuard<'a, Account>,
}

impl core::fmt::Debug for Foreign<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("somebody else at work in the account")
    }
}

/// A policy that lets a service take a role.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

impl Fake {
    /// Somebody else, until dropped.
    pub fn foreign(&self) -> Foreign<'_> {
        let mut account = self.present();
        account.foreign = true;
        Foreign { account }
    }
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        self.account.foreign = false;
    }
}

impl Foreign<'_> {
    /// Makes any call as somebody else.
    ///
    /// # Errors
    ///
    /// What AWS would answer.
    pub fn send<R: Request>(&mut self, request: R) -> Result<R::Answer, ApiError> {
        let reply = self
            .account
            .perform(request.into_call())
            .map_err(|refusal| {
                ApiError::service(R::NAME, refusal.status, &refusal.code, refusal.message)
            })?;
        R::answer(reply)
            .ok_or_else(|| ApiError::not_understood(R::NAME, "an answer to another call"))
    }

    /// The region's default VPC as AWS makes it: an internet gateway, and a
    /// subnet in each zone.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn default_vpc(&mut self) -> Result<Id, ApiError> {
        let vpc = self.vpc("172.31.0.0/16", Tags::new())?;
        if let Some(state) = self.account.vpcs.at_mut(&vpc) {
            state.vpc.is_default = true;
        }
        for (zone, third) in [("a", 0), ("b", 16), ("c", 32)] {
            self.subnet(&vpc, &format!("172.31.{third}.0/20"), zone, Tags::new())?;
        }
        Ok(vpc)
    }

    /// A VPC with nothing that says whose it is: a group that another one
    /// refers to, two running instances, an elastic address on one of them, a
    /// NAT gateway, an S3 endpoint and a table of its own.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn untagged_vpc(&mut self, cidr: &str) -> Result<Id, ApiError> {
        self.busy_vpc(cidr, Tags::new())
    }

    /// The same with these tags on all that takes some, and with a bucket, a
    /// role, a profile and a schedule group: another lab.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn lab(&mut self, name: &str, cidr: &str, tags: &Tags) -> Result<Id, ApiError> {
        let vpc = self.busy_vpc(cidr, tags.clone())?;
        self.bucket(&format!("{name}-bucket"), tags)?;
        self.role(&format!("{name}-role"), tags)?;
        let token = self.token();
        let group = CreateScheduleGroup {
            name: format!("{name}-group"),
            token,
            tags: tags.clone(),
        };
        self.send(group)?;
        Ok(vpc)
    }

    /// A bucket with an object in it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn bucket(&mut self, name: &str, tags: &Tags) -> Result<(), ApiError> {
        /// Of no bytes.
        const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let bucket = name.to_owned();
        self.send(CreateBucket {
            bucket: bucket.clone(),
        })?;
        self.send(PutBucketTagging {
            bucket: bucket.clone(),
            tags: tags.clone(),
        })?;
        self.send(PutObject {
            bucket,
            key: "precious".to_owned(),
            body: Body::Bytes(Vec::new()),
            sha256: SHA256.to_owned(),
        })
    }

    /// A role with an inline policy, in a profile of the same name.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn role(&mut self, name: &str, tags: &Tags) -> Result<(), ApiError> {
        let (name, path) = (name.to_owned(), "/".to_owned());
        let trust = TRUST.to_owned();
        self.send(CreateRole {
            name: name.clone(),
            path: path.clone(),
            trust,
            tags: tags.clone(),
        })?;
        self.send(PutRolePolicy {
            role: name.clone(),
            policy: "read".to_owned(),
            document: r#"{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#
                .to_owned(),
        })?;
        self.send(CreateInstanceProfile {
            name: name.clone(),
            path,
            tags: tags.clone(),
        })?;
        self.send(AddRoleToInstanceProfile {
            profile: name.clone(),
            role: name,
        })
    }

    fn vpc(&mut self, cidr: &str, tags: Tags) -> Result<Id, ApiError> {
        let request = CreateVpc {
            cidr: cidr.to_owned(),
            ipv6: false,
            tags: tags.clone(),
        };
        let vpc = self.send(request)?.id;
        let gateway = self.send(CreateInternetGateway { tags })?.id;
        self.send(AttachInternetGateway {
            gateway,
            vpc: vpc.clone(),
        })?;
        Ok(vpc)
    }

    fn subnet(&mut self, vpc: &str, cidr: &str, zone: &str, tags: Tags) -> Result<Id, ApiError> {
        let zone = format!("{}{zone}", self.account.region);
        let (vpc, cidr) = (vpc.to_owned(), cidr.to_owned());
        let subnet = self.send(CreateSubnet {
            vpc,
            cidr,
            ipv6_cidr: None,
            zone,
            tags,
        })?;
        Ok(subnet.id)
    }

    fn busy_vpc(&mut self, cidr: &str, tags: Tags) -> Result<Id, ApiError> {
        let vpc = self.vpc(cidr, tags.clone())?;
        // A third of the address is enough to make a subnet's out of the VPC's.
        let start = cidr.rsplitn(3, '.').nth(2).unwrap_or(cidr).to_owned();
        let subnet = self.subnet(&vpc, &format!("{start}.1.0/24"), "a", tags.clone())?;
        let mut groups = Vec::new();
        for name in ["web", "database"] {
            groups.push(self.send(CreateSecurityGroup {
                vpc: vpc.clone(),
                name: name.to_owned(),
                description: name.to_owned(),
                tags: tags.clone(),
            })?);
        }
        self.send(AuthorizeSecurityGroupIngress {
            group: groups[1].clone(),
            rules: vec![Rule {
                protocol: Protocol::Tcp(5432, 5432),
                peer: Peer::Group(groups[0].clone()),
                description: String::new(),
            }],
            tags: tags.clone(),
        })?;
        let token = self.token();
        let table = self
            .send(CreateRouteTable {
                vpc: vpc.clone(),
                token,
                tags: tags.clone(),
            })?
            .id;
        self.send(AssociateRouteTable {
            table: table.clone(),
            subnet: subnet.clone(),
        })?;
        let (token, service) = (
            self.token(),
            format!("com.amazonaws.{}.s3", self.account.region),
        );
        let tables = vec![table];
        let request = CreateVpcEndpoint {
            vpc: vpc.clone(),
            service,
            tables,
            token,
            tags: tags.clone(),
        };
        self.send(request)?;
        let (allocation, token) = (
            self.send(AllocateAddress { tags: tags.clone() })?.id,
            self.token(),
        );
        let request = CreateNatGateway {
            subnet: subnet.clone(),
            allocation,
            token,
            tags: tags.clone(),
        };
        self.send(request)?;
        self.instances(&vpc, &subnet, groups, tags)?;
        Ok(vpc)
    }

    fn instances(
        &mut self,
        vpc: &str,
        subnet: &str,
        groups: Vec<Id>,
        tags: Tags,
    ) -> Result<(), ApiError> {
        let owner = "amazon".to_owned();
        let images = self.send(DescribeImages {
            owner,
            filters: Vec::new(),
        })?;
        let image = images
            .into_iter()
            .next()
            .unwrap_or_else(|| unreachable!("AWS has images"));
        let data = LaunchData {
            image: image.id,
            instance_type: "t4g.small".to_owned(),
            interface: LaunchInterface::New {
                subnet: subnet.to_owned(),
                groups,
                ipv6_count: 0,
            },
            root: RootVolume {
                device: image.root_device,
                size_gib: 20,
            },
            metadata_hops: 1,
            instance_tags: tags.clone(),
            attached_tags: tags.clone(),
            ..LaunchData::default()
        };
        let (name, token) = (format!("servers-{vpc}"), self.token());
        let request = CreateLaunchTemplate {
            name,
            data,
            token,
            tags: tags.clone(),
        };
        let template = self.send(request)?.id;
        let token = self.token();
        let instances = self.send(RunInstances {
            template,
            count: 2,
            token,
            tags: tags.clone(),
        })?;
        let allocation = self.send(AllocateAddress { tags })?.id;
        for instance in instances.iter().take(1) {
            let interface = instance.interfaces[0].id.clone();
            let private = instance.private.clone().unwrap_or_default();
            let allocation = allocation.clone();
            self.send(AssociateAddress {
                allocation,
                interface,
                private,
            })?;
        }
        Ok(())
    }

    fn token(&mut self) -> String {
        format!("somebody-else-{:016x}", self.account.random())
    }
}
