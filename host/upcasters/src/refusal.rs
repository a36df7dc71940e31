//! Why the upcasters did not do what an operator asked.

use lantern_core::{
    Digest, Name, Position, guest_threads::Panicked, journal::JournalError, log::LogError, module::LibraryError,
    upcasting::Step,
};

/// Why the upcasters did not do what an operator asked. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such upcaster.
    #[error("there is no upcaster `{0}`: `lantern upcaster list` shows what is there")]
    Unknown(Name),
    /// The name is taken.
    #[error("upcaster `{0}` exists: `upcaster swap` changes its module, `upcaster remove` makes room")]
    Exists(Name),
    /// There is nothing to go back to.
    #[error("upcaster `{0}` has nothing to roll back to: no swap came before")]
    NothingToRollBack(Name),
    /// The upcaster already runs this module.
    #[error("upcaster `{name}` runs module {} already", module.short())]
    SameModule {
        /// The upcaster.
        name: Name,
        /// The module.
        module: Digest,
    },
    /// A step of the module leads nowhere newer.
    #[error(
        "upcaster `{name}` cannot make version {} of `{}` out of version {} of `{}`: {mend}",
        step.to_version, step.to_type, step.schema_version, step.event_type
    )]
    Step {
        /// The upcaster.
        name: Name,
        /// The step.
        step: Step,
        /// What to do about it.
        mend: &'static str,
    },
    /// Two steps take the same form.
    #[error(
        "upcasters `{first}` and `{second}` both take version {schema_version} of `{event_type}`: only one may, so leave \
         the step out of one of them"
    )]
    Collision {
        /// The form they take: the event type.
        event_type: String,
        /// And the schema version.
        schema_version: u32,
        /// An upcaster that takes it.
        first: Name,
        /// Another one, or the same.
        second: Name,
    },
    /// Steps lead back to where they began.
    #[error("the upcasters would go round in a circle: {}; leave one of these steps out", forms.join(" → "))]
    Circle {
        /// The forms on the way, the first one again at the end.
        forms: Vec<String>,
    },
    /// The new module failed its dry run.
    #[error("module {} failed its dry run at position {position} ({event_type}): {reason}", module.short())]
    DryRun {
        /// The module.
        module: Digest,
        /// The event it failed at.
        position: Position,
        /// The kind of that event.
        event_type: String,
        /// The failure.
        reason: String,
    },
    /// The host itself failed meanwhile.
    #[error(transparent)]
    Interrupted(#[from] Panicked),
    /// The module library refused or failed.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
