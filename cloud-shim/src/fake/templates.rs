//! Launch templates and their versions.

use std::collections::BTreeMap;

use super::instances::existing;
use super::shelf::{one, resource};
use super::{Account, Answer, Quota, check, refuse};
use crate::api::*;

/// A template and all its versions.
#[derive(Debug, Clone)]
pub(super) struct TemplateState {
    template: LaunchTemplate,
    versions: BTreeMap<u64, LaunchData>,
}

// DescribeLaunchTemplates has no filter for ids.
resource!(
    TemplateState, "launch-template", "lt-", "InvalidLaunchTemplateId.NotFound", "launch template ID",
    |it| it.template, |name| {
        "launch-template-name" => one(&it.template.name),
    }
);

/// Bytes of user data before base64.
const MAX_USER_DATA: usize = 16 * 1024;

impl TemplateState {
    /// What the default version says.
    pub(super) fn data(&self) -> LaunchData {
        self.versions
            .get(&self.template.default_version)
            .cloned()
            .unwrap_or_default()
    }
}

impl Account {
    pub(super) fn describe_templates(
        &mut self,
        c: DescribeLaunchTemplates,
    ) -> Answer<Vec<LaunchTemplate>> {
        let templates = self.templates.list(&c.filters, self.now)?;
        Ok(templates
            .into_iter()
            .map(|it| LaunchTemplate {
                data: it.data(),
                ..it.template
            })
            .collect())
    }

    pub(super) fn create_template(&mut self, c: CreateLaunchTemplate) -> Answer<LaunchTemplate> {
        if !check::is_text(&c.name, 3..=128, "().-/_") {
            return refuse(
                "InvalidLaunchTemplateName.MalformedException",
                "A launch template name must be between 3 and 128 characters, and may contain \
                 letters, numbers, and the following characters: - ( ) . / _.",
            );
        }
        if self.templates.all().any(|it| it.template.name == c.name) {
            return refuse(
                "InvalidLaunchTemplateName.AlreadyExistsException",
                "Launch template name already in use.",
            );
        }
        check::tags(&c.tags)?;
        self.launch_data(&c.data)?;
        self.script
            .within(Quota::Templates, self.templates.all().count(), 1)?;
        let template = LaunchTemplate {
            id: self.id("lt-"),
            name: c.name,
            default_version: 1,
            latest_version: 1,
            data: c.data.clone(),
            tags: c.tags,
        };
        let birth = self.birth();
        let versions = BTreeMap::from([(1, c.data)]);
        self.templates.put(
            birth,
            TemplateState {
                template: template.clone(),
                versions,
            },
        );
        Ok(template)
    }

    /// Refuses data that no instance could be launched from. EC2 lets much of
    /// it pass until the launch; this is strict.
    fn launch_data(&self, data: &LaunchData) -> Answer<()> {
        if data
            .user_data
            .as_ref()
            .is_some_and(|text| text.len() > MAX_USER_DATA)
        {
            return refuse(
                "InvalidUserData.Malformed",
                "User data is limited to 16384 bytes",
            );
        }
        if data.metadata_hops > 64 {
            return refuse(
                "InvalidParameterValue",
                "HttpPutResponseHopLimit is 1 to 64",
            );
        }
        check::tags(&data.instance_tags)?;
        check::tags(&data.attached_tags)?;
        self.image(&data.image)?;
        self.instance_type(&data.instance_type)?;
        for interface in existing(data) {
            self.interfaces.get(interface, self.now)?;
        }
        if let LaunchInterface::New { subnet, groups, .. } = &data.interface {
            let vpc = self.subnets.get(subnet, self.now)?.subnet.vpc.clone();
            self.interface_groups(&vpc, groups)?;
        }
        Ok(())
    }

    pub(super) fn create_template_version(
        &mut self,
        c: CreateLaunchTemplateVersion,
    ) -> Answer<u64> {
        self.template(&c.template)?;
        self.launch_data(&c.data)?;
        let state = self.templates.get_mut(&c.template, self.now)?;
        state.template.latest_version += 1;
        state.versions.insert(state.template.latest_version, c.data);
        Ok(state.template.latest_version)
    }

    /// The template, or EC2's own words that there is none.
    pub(super) fn template(&self, id: &str) -> Answer<&TemplateState> {
        self.templates.get(id, self.now).map_err(|mut refusal| {
            refusal.message =
                format!("The specified launch template, with template ID {id}, does not exist.");
            refusal
        })
    }

    pub(super) fn modify_template(&mut self, c: ModifyLaunchTemplate) -> Answer<()> {
        self.template(&c.template)?;
        let state = self.templates.get_mut(&c.template, self.now)?;
        if !state.versions.contains_key(&c.default_version) {
            return refuse(
                "InvalidLaunchTemplateId.VersionNotFound",
                format!(
                    "Could not find launch template version {} of {}",
                    c.default_version, c.template
                ),
            );
        }
        state.template.default_version = c.default_version;
        Ok(())
    }

    pub(super) fn delete_template(&mut self, c: DeleteLaunchTemplate) -> Answer<()> {
        // A group that uses it does not hold it: its next launch fails.
        self.template(&c.template)?;
        self.templates.take(&c.template);
        Ok(())
    }
}
