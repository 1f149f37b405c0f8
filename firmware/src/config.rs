//! `ichor.toml`: every setting, its default, and how it is written.
