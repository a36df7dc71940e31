//! `/api/v1/buses`: the buses of the configuration, and whether they answer.

use std::time::Duration;

use axum::Json;
use lantern_core::Name;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Routes, door::Open, problem::Problem};

/// How long a bus is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list_buses))
}

/// All buses.
#[derive(Serialize, ToSchema)]
struct BusList {
    buses: Vec<BusShown>,
}

/// A bus.
#[derive(Serialize, ToSchema)]
struct BusShown {
    /// Its name in the configuration.
    #[schema(value_type = String)]
    name: Name,
    /// `kafka`, `rabbitmq`, `redis` or `memory`.
    system: &'static str,
    /// Host and port; never user or password. Empty for the bus in memory.
    address: String,
    /// Whether it answers and takes the credentials.
    is_available: bool,
    /// Why it does not.
    error: Option<String>,
}

/// Lists the buses by name, and asks each whether it is there.
#[utoipa::path(
    get,
    path = "/api/v1/buses",
    tag = "buses",
    responses((status = 200, description = "The buses", body = BusList), Problem),
)]
async fn list_buses(Open(host): Open) -> Json<BusList> {
    let asked = host.buses.iter().map(|(name, bus)| async move {
        let error = match tokio::time::timeout(PATIENCE, bus.check()).await {
            Ok(answer) => answer.err().map(|error| error.to_string()),
            Err(_) => Some(format!("it did not answer within {} s", PATIENCE.as_secs())),
        };
        let (name, system, address) = (name.clone(), bus.system(), bus.address().to_owned());
        BusShown { name, system, address, is_available: error.is_none(), error }
    });
    Json(BusList { buses: futures::future::join_all(asked).await })
}
