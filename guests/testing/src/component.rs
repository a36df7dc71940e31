//! The compiled component.
