//! Tags of EC2's resources.

use super::{Account, Answer, check, refuse};
use crate::api::{CreateTags, DescribeTags, TagLine};

impl Account {
    pub(super) fn describe_tags(&mut self, c: DescribeTags) -> Answer<Vec<TagLine>> {
        let mut lines = Vec::new();
        for shelf in self.shelves() {
            lines.extend(shelf.tag_lines(&c.filters, self.now)?);
        }
        Ok(lines)
    }

    pub(super) fn create_tags(&mut self, c: CreateTags) -> Answer<()> {
        let now = self.now;
        for shelf in self.shelves_mut() {
            let Some(tags) = shelf.tags_mut(&c.resource, now) else {
                continue;
            };
            let tags = tags?;
            let mut after = tags.clone();
            after.extend(c.tags);
            check::tags(&after)?;
            *tags = after;
            return Ok(());
        }
        refuse("InvalidID", format!("The ID '{}' is not valid", c.resource))
    }
}
