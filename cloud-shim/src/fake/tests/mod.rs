//! That the fake is as strict as AWS: a table for each rule.

mod compute;
mod faults;
mod network;
mod services;

use core::time::Duration;

use super::*;

/// What every test stands on: a fake, and short ways to call it.
pub(super) struct Bench {
    pub(super) fake: Fake,
    tokens: core::sync::atomic::AtomicU64,
}

pub(super) const ZONE: &str = "eu-west-1a";
/// Longer than anything that is asynchronous.
pub(super) const LONG: Duration = Duration::from_secs(600);

impl Bench {
    /// All is seen at once.
    pub(super) fn prompt() -> Self {
        Self::with(Timing::PROMPT)
    }

    pub(super) fn with(timing: Timing) -> Self {
        let fake = Fake::with_timing("eu-west-1", 7, timing);
        Self {
            fake,
            tokens: core::sync::atomic::AtomicU64::new(0),
        }
    }

    /// A client token that was not used before.
    pub(super) fn token(&self) -> String {
        let next = self
            .tokens
            .fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        format!("token-{next}")
    }

    /// The answer to a call that succeeds.
    #[track_caller]
    pub(super) fn ok<R: Request>(&self, request: R) -> impl Future<Output = R::Answer> {
        let caller = core::panic::Location::caller();
        async move {
            match (&self.fake as &dyn Cloud).send(request).await {
                Ok(answer) => answer,
                Err(error) => panic!("{error} at {caller}"),
            }
        }
    }

    /// The code of a call that is refused; `ok` if it is not.
    pub(super) async fn code<R: Request>(&self, request: R) -> String {
        match self.fake.call(request.into_call()).await {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.code,
        }
    }

    /// Makes each call of a table and compares its code.
    pub(super) async fn codes(&self, table: Vec<(Call, &str)>) {
        for (call, expected) in table {
            let said = format!("{call:?}");
            let code = match self.fake.call(call).await {
                Ok(_) => "ok".to_owned(),
                Err(error) => error.code,
            };
            assert_eq!(code, expected, "{said}");
        }
    }

    pub(super) async fn vpc(&self, cidr: &str) -> Id {
        self.ok(CreateVpc {
            cidr: cidr.into(),
            ipv6: false,
            tags: Tags::new(),
        })
        .await
        .id
    }

    pub(super) fn subnet_request(vpc: &str, cidr: &str) -> CreateSubnet {
        CreateSubnet {
            vpc: vpc.into(),
            cidr: cidr.into(),
            ipv6_cidr: None,
            zone: ZONE.into(),
            tags: Tags::new(),
        }
    }

    pub(super) async fn subnet(&self, vpc: &str, cidr: &str) -> Id {
        self.ok(Self::subnet_request(vpc, cidr)).await.id
    }

    /// An internet gateway, attached.
    pub(super) async fn gateway(&self, vpc: &str) -> Id {
        let gateway = self
            .ok(CreateInternetGateway { tags: Tags::new() })
            .await
            .id;
        self.ok(AttachInternetGateway {
            gateway: gateway.clone(),
            vpc: vpc.into(),
        })
        .await;
        gateway
    }

    pub(super) async fn table(&self, vpc: &str) -> Id {
        let token = self.token();
        self.ok(CreateRouteTable {
            vpc: vpc.into(),
            token,
            tags: Tags::new(),
        })
        .await
        .id
    }

    pub(super) fn group_request(vpc: &str, name: &str) -> CreateSecurityGroup {
        CreateSecurityGroup {
            vpc: vpc.into(),
            name: name.into(),
            description: "of a test".into(),
            tags: Tags::new(),
        }
    }

    pub(super) async fn group(&self, vpc: &str, name: &str) -> Id {
        self.ok(Self::group_request(vpc, name)).await
    }

    pub(super) fn interface_request(&self, subnet: &str, primary: &str) -> CreateNetworkInterface {
        CreateNetworkInterface {
            subnet: subnet.into(),
            primary: primary.into(),
            secondary: Vec::new(),
            ipv6_count: 0,
            groups: Vec::new(),
            description: String::new(),
            token: self.token(),
            tags: Tags::new(),
        }
    }

    pub(super) async fn interface(&self, subnet: &str, primary: &str) -> Id {
        let id = self.ok(self.interface_request(subnet, primary)).await.id;
        tokio::time::sleep(LONG).await;
        id
    }

    pub(super) async fn address(&self) -> Id {
        self.ok(AllocateAddress { tags: Tags::new() }).await.id
    }

    pub(super) async fn nat(&self, subnet: &str, allocation: &str) -> Id {
        let token = self.token();
        let (subnet, allocation) = (subnet.into(), allocation.into());
        self.ok(CreateNatGateway {
            subnet,
            allocation,
            token,
            tags: Tags::new(),
        })
        .await
        .id
    }
}
