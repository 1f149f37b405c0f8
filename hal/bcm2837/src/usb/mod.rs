//! The DWC2 USB host controller.
