//! The chip with a driver played by hand.
