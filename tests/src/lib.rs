//! The virtual lab.
