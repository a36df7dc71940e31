//! Commands decided: aggregates loaded, asked, and what they decided appended.
