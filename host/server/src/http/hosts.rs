//! `/api/v1/hosts`: the hosts that share the stores.

use axum::Json;
use lantern_core::{Timestamp, hosts::Seen};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Routes, door::Open, problem::Problem};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list_hosts))
}

/// The hosts.
#[derive(Serialize, ToSchema)]
struct HostList {
    hosts: Vec<HostShown>,
}

/// A host.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HostShown {
    /// Made anew at every start.
    #[schema(value_type = String)]
    pub(crate) id: uuid::Uuid,
    /// Its name.
    pub(crate) name: String,
    /// Where its API is.
    pub(crate) address: String,
    /// When it started, by its own clock.
    #[schema(value_type = String)]
    pub(crate) started_at: Timestamp,
    /// When it was heard of last, by the clock of the database.
    #[schema(value_type = String)]
    pub(crate) seen_at: Timestamp,
    /// Whether it lives: it was heard of while its leases last.
    pub(crate) is_live: bool,
    /// Whether it is the one that answers.
    pub(crate) is_this: bool,
    /// The projections and handlers it runs.
    pub(crate) processors: Vec<String>,
    /// The routes it runs.
    pub(crate) routes: Vec<String>,
}

/// Lists the hosts that share the stores, the longest there first: those that live, and those that died lately.
#[utoipa::path(
    get,
    path = "/api/v1/hosts",
    tag = "operation",
    responses((status = 200, description = "The hosts", body = HostList), Problem),
)]
async fn list_hosts(Open(host): Open) -> Json<HostList> {
    let (roll, _) = host.supervisor.roll();
    let own = host.supervisor.identity().id;
    let shown = |Seen { identity, seen_at, is_live, .. }: &Seen| {
        let leases = roll.leases.iter().filter(|lease| lease.host == identity.id && !lease.is_over);
        let (routes, processors): (Vec<_>, Vec<_>) =
            leases.map(|lease| &lease.unit).partition(|unit| unit.is_reserved());
        HostShown {
            id: identity.id,
            name: identity.name.clone(),
            address: identity.address.clone(),
            started_at: identity.started_at,
            seen_at: *seen_at,
            is_live: *is_live,
            is_this: identity.id == own,
            processors: processors.into_iter().map(ToString::to_string).collect(),
            routes: routes.into_iter().map(|unit| unit.plain().to_owned()).collect(),
        }
    };
    Json(HostList { hosts: roll.hosts.iter().map(shown).collect() })
}
