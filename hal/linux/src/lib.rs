//! The Linux side of the HAL.
