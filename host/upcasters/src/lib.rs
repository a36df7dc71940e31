//! Older events in the form readers understand.
