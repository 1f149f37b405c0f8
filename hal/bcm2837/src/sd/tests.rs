//! The driver against a fake controller with a fake card.
