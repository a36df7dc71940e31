//! Statistics over the loan applications of the BPI Challenge 2012: each application, each activity, and all together.

use lantern_guest::prelude::*;

/// The events that decide the outcome of an application, and all the others, whose data does not matter.
#[derive(Deserialize)]
enum LoanEvent {
    #[serde(rename = "A_SUBMITTED")]
    Submitted { amount_requested: u64 },
    #[serde(rename = "A_APPROVED")]
    Approved,
    #[serde(rename = "A_DECLINED")]
    Declined,
    #[serde(rename = "A_CANCELLED")]
    Cancelled,
    #[serde(other)]
    Other,
}

#[derive(Serialize, Deserialize)]
struct Application {
    amount: u64,
    /// The type of the last event whose name begins with `A_`.
    state: Option<String>,
    events: u64,
    first: Time,
    last: Time,
}

#[derive(Default, Serialize, Deserialize)]
struct Activity {
    count: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Totals {
    applications: u64,
    submitted: u64,
    approved: u64,
    declined: u64,
    cancelled: u64,
    amount_requested: u64,
}

/// By application id.
const APPLICATIONS: Collection<Application> = Collection::new("applications");
/// By event type.
const ACTIVITIES: Collection<Activity> = Collection::new("activities");
/// Only `all`.
const TOTALS: Collection<Totals> = Collection::new("totals");

struct LoanApplications;

impl Projection for LoanApplications {
    const NAME: &str = "loan-applications";
    const CATEGORIES: &[&str] = &["LoanApplication"];
    const COLLECTIONS: &[&str] = &[APPLICATIONS.name(), ACTIVITIES.name(), TOTALS.name()];
    type Data = LoanEvent;

    fn handle(event: &Event, data: LoanEvent) -> Result<(), Failure> {
        let (id, time) = (event.stream_id(), event.time());
        let known = APPLICATIONS.get(id)?;
        let new = known.is_none();
        let mut application =
            known.unwrap_or(Application { amount: 0, state: None, events: 0, first: time, last: time });
        application.events += 1;
        application.last = time;
        if let LoanEvent::Submitted { amount_requested } = data {
            application.amount = amount_requested;
        }
        if event.event_type().starts_with("A_") {
            application.state = Some(event.event_type().to_owned());
        }
        APPLICATIONS.put(id, &application)?;
        ACTIVITIES.update(event.event_type(), |activity| activity.count += 1)?;

        // Most events change no total.
        if !new && matches!(data, LoanEvent::Other) {
            return Ok(());
        }
        TOTALS.update("all", |totals| {
            totals.applications += u64::from(new);
            match data {
                LoanEvent::Submitted { amount_requested } => {
                    totals.submitted += 1;
                    totals.amount_requested += amount_requested;
                }
                LoanEvent::Approved => totals.approved += 1,
                LoanEvent::Declined => totals.declined += 1,
                LoanEvent::Cancelled => totals.cancelled += 1,
                LoanEvent::Other => {}
            }
        })
    }
}

lantern_guest::projection!(LoanApplications);

#[cfg(test)]
mod tests {
    use super::*;
    use lantern_guest::testing::TestHost;

    #[test]
    fn an_application_is_followed_to_its_end() -> Result<(), Failure> {
        let mut host = TestHost::<LoanApplications>::new();
        host.handle("LoanApplication-7", "A_SUBMITTED", r#"{"transition":"COMPLETE","amount_requested":20000}"#)?;
        host.handle("LoanApplication-7", "A_DECLINED", r#"{"transition":"COMPLETE"}"#)?;
        host.handle("LoanApplication-7", "W_Valideren aanvraag", r#"{"transition":"START"}"#)?;
        host.handle("LoanApplication-8", "A_SUBMITTED", r#"{"amount_requested":500}"#)?;
        assert_eq!(
            host.documents("applications")["7"],
            r#"{"amount":20000,"state":"A_DECLINED","events":3,"first":"2026-01-01T00:00:00.000Z","last":"2026-01-01T00:00:00.000Z"}"#
        );
        assert_eq!(host.documents("activities")["A_SUBMITTED"], r#"{"count":2}"#);
        assert_eq!(
            host.documents("totals")["all"],
            r#"{"applications":2,"submitted":2,"approved":0,"declined":1,"cancelled":0,"amount_requested":20500}"#
        );
        Ok(())
    }
}
