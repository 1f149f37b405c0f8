//! The account that a command speaks to, and the lab in it.

use std::sync::Arc;

use jiff::Timestamp;

use super::args::Common;
use super::show;
use crate::api::{Cloud, GetCallerIdentity};
use crate::config::Config;
use crate::engine::Caller;
use crate::error::Result;
use crate::kinds::Context;
use crate::node::Fleet;

/// A lab in an account.
#[derive(Debug)]
pub(super) struct Account {
    /// As `cloud.toml` says.
    pub config: Config,
    /// For calls.
    pub context: Context,
    /// Whose credentials are used.
    pub arn: String,
}

/// Reads the lab's description, with what the flags say in place of its keys.
pub(super) fn config(common: &Common) -> Result<Config> {
    let mut config = Config::read(common.config.as_deref())?;
    if let Some(lab) = &common.lab {
        config.lab.clone_from(lab);
        config.check()?;
    }
    for warning in config.warnings() {
        show::note(&warning);
    }
    Ok(config)
}

impl Account {
    /// Reads the lab's description and asks AWS who we are.
    pub(super) async fn open(common: &Common) -> Result<Self> {
        let config = config(common)?;
        let cloud = connect(common, &config).await?;
        let caller = Caller::new(cloud).telling(Arc::new(show::Lines::default()));
        let identity = caller.send(GetCallerIdentity {}).await?;
        Ok(Self {
            context: Context {
                caller,
                lab: config.lab.clone(),
                account: identity.account,
            },
            arn: identity.arn,
            config,
        })
    }

    /// The lab's nodes.
    pub(super) fn fleet(&self) -> Fleet<'_> {
        Fleet {
            context: &self.context,
            config: &self.config,
            now: Timestamp::now(),
        }
    }
}

#[cfg(feature = "sdk")]
async fn connect(common: &Common, config: &Config) -> Result<Arc<dyn Cloud>> {
    let options = crate::sdk::Options {
        profile: common.profile.clone(),
        region: Some(config.region.clone()),
    };
    Ok(Arc::new(crate::sdk::Aws::connect(options).await?))
}

#[cfg(not(feature = "sdk"))]
async fn connect(_: &Common, _: &Config) -> Result<Arc<dyn Cloud>> {
    Err(crate::Error::refused(
        "built without the AWS SDK: build with the feature `sdk`",
    ))
}
