//! What must be known before the replica can be described: read from files and
//! asked of AWS.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::account::Account;
use super::args::Content;
use crate::api::{DescribeImages, Filter, GetParameter};
use crate::bastion;
use crate::config::Config;
use crate::design::{Facts, bucket_name, design};
use crate::engine::Part;
use crate::error::{Error, Result};
use crate::kinds::Spec;
use crate::loader::{self, EfiProgram, Image, Script};

/// The account's number where none is known: for estimates.
const NO_ACCOUNT: &str = "000000000000";

/// Everything, with the operating system's image from AWS.
pub(super) async fn facts(account: &Account, content: &Content, ipv4: bool) -> Result<Facts> {
    let config = &account.config;
    let caller = &account.context.caller;
    let image = match &config.bastion.image {
        Some(image) => image.clone(),
        None => {
            let name = bastion::IMAGE_PARAMETER.to_owned();
            caller.send(GetParameter { name }).await?
        }
    };
    let mut found = None;
    for owner in ["amazon", "self"] {
        let owner = owner.to_owned();
        let filters = vec![Filter::new("image-id", &image)];
        let images = caller.send(DescribeImages { owner, filters }).await?;
        found = found.or(images.into_iter().next());
    }
    let found = found.ok_or_else(|| {
        Error::refused(format!(
            "{image} is no image of Amazon's or of this account in {}: set bastion.image to one",
            caller.region()
        ))
    })?;
    if found.architecture != "arm64" {
        return Err(Error::refused(format!(
            "image {image} is for {}: bastion.image must be for arm64",
            found.architecture
        )));
    }
    let mut facts = local(config, content, &account.context.account)?;
    facts.bastion_image = found.id;
    facts.bastion_root_device = found.root_device;
    facts.ipv4_wanted = ipv4;
    Ok(facts)
}

/// What can be known without asking AWS: enough to reckon what it costs.
pub(super) fn offline(config: &Config, content: &Content) -> Result<Facts> {
    local(config, content, NO_ACCOUNT)
}

/// What files and the configuration tell.
fn local(config: &Config, content: &Content, account: &str) -> Result<Facts> {
    let mut config = config.clone();
    if let Some(ichor) = &content.ichor {
        config.bastion.ichor.clone_from(ichor);
    }
    let path = content.loader.as_deref().ok_or_else(|| {
        Error::refused("no EFI loader for the nodes: name one with --loader FILE, such as ipxe-arm64.efi of Debian's package ipxe (trixie)")
    })?;
    let disk = loader(&config, path)?;
    let objects = bastion::objects(&config)?;
    let bucket = bucket_name(&config.lab, account);
    Ok(Facts {
        account: account.to_owned(),
        bastion_image: String::new(),
        bastion_root_device: String::new(),
        user_data: bastion::user_data(&config, &bucket)?,
        objects,
        loader_sha256: disk.sha256(),
        loader_disk: disk.bytes().into(),
        ipv4_wanted: false,
        now: Timestamp::now(),
    })
}

/// The parts that there shall be, as far as the configuration alone tells.
pub(super) fn design_without_content(config: &Config) -> Result<Vec<(Part, Spec)>> {
    let facts = Facts {
        account: NO_ACCOUNT.to_owned(),
        bastion_image: String::new(),
        bastion_root_device: String::new(),
        user_data: String::new(),
        objects: BTreeMap::new(),
        loader_disk: Arc::from([]),
        loader_sha256: String::new(),
        ipv4_wanted: false,
        now: Timestamp::now(),
    };
    design(config, &facts)
}

/// The disk that nodes start from.
pub(super) fn loader(config: &Config, path: &Path) -> Result<Image> {
    let program = EfiProgram::read(path)?;
    let script = Script::new(config.bastion.stack_address);
    loader::image(&program, &script, &[])
}
