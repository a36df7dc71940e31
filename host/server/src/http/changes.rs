//! What requests about any kind of deployed module share: the module to change to, and what happened.

use lantern_core::Entry;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The module to change to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwapBody {
    /// A digest or its first six or more digits.
    pub(crate) module: String,
}

/// What happened to something that is or was deployed.
#[derive(Serialize)]
pub(super) struct HistoryAnswer {
    pub(super) entries: Vec<Entry>,
}
