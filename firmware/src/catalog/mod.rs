//! Who boots what: matchbox groups, profiles, selectors and templates.
