//! A process manager: a claim that nobody settles in time is escalated.

use lantern_guest::prelude::*;
use std::time::Duration;

#[derive(Deserialize)]
enum ClaimEvent {
    ClaimOpened { amount: u64 },
    ClaimSettled,
    ClaimExpired,
}

#[derive(Serialize)]
struct ClaimExpired;

#[derive(Serialize)]
struct ClaimEscalated {
    amount: u64,
}

#[derive(Serialize, Deserialize)]
struct Claim {
    amount: u64,
    opened_at: Time,
}

#[derive(Default, Serialize, Deserialize)]
struct Counts {
    opened: u64,
    settled: u64,
    escalated: u64,
}

/// By claim id.
const CLAIMS: Process<Claim> = Process::new("claims");
/// Only `all`.
const COUNTS: Collection<Counts> = Collection::new("counts");

struct Claims;

impl Handler for Claims {
    const NAME: &str = "claims";
    const CATEGORIES: &[&str] = &["Claim"];
    const COLLECTIONS: &[&str] = &[CLAIMS.name(), COUNTS.name()];
    type Data = ClaimEvent;

    fn handle(event: &Event, data: ClaimEvent) -> Result<(), Failure> {
        let id = event.stream_id();
        match (data, CLAIMS.load(id)?) {
            (ClaimEvent::ClaimOpened { amount }, None) => {
                let patience = Duration::from_millis(config::get_or("patience-ms", 1000)?);
                CLAIMS.save(id, &Claim { amount, opened_at: event.time() })?;
                CLAIMS.time_out_after(patience, event, id, event.stream(), &ClaimExpired)?;
                COUNTS.update("all", |counts| counts.opened += 1)
            }
            (ClaimEvent::ClaimSettled, Some(_)) => {
                CLAIMS.complete(id);
                COUNTS.update("all", |counts| counts.settled += 1)
            }
            (ClaimEvent::ClaimExpired, Some(claim)) => {
                CLAIMS.complete(id);
                emit(format!("Escalation-{id}"), &ClaimEscalated { amount: claim.amount })?;
                COUNTS.update("all", |counts| counts.escalated += 1)
            }
            // Opened twice, or over already.
            _ => Ok(()),
        }
    }
}

lantern_guest::handler!(Claims);
