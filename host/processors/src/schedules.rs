//! What handlers have scheduled, as operators see it: listing and cancelling.

use std::sync::Arc;

use lantern_core::{Kind, Name, Scheduled};

use crate::{Refusal, Supervisor, command::Command};

impl Supervisor {
    /// What is scheduled by one handler or by all, by handler and then by time.
    pub async fn schedules(&self, handler: Option<&Name>) -> Result<Vec<(Name, Scheduled)>, Refusal> {
        let handlers = match handler {
            Some(name) => vec![name.clone()],
            None => self.names(Kind::Handler),
        };
        let mut schedules = Vec::new();
        for name in handlers {
            let scheduled = self.read_model(Kind::Handler, &name, None).await?.scheduled().await?;
            schedules.extend(scheduled.into_iter().map(|scheduled| (name.clone(), scheduled)));
        }
        Ok(schedules)
    }

    /// Takes back what a handler has scheduled under a key. Once this is answered it is not emitted.
    pub async fn cancel_schedule(&self, handler: &Name, key: &str) -> Result<(), Refusal> {
        let live = self.processor(Kind::Handler, handler)?.live();
        let key: Arc<str> = key.into();
        live.ask(|reply| Command::CancelSchedule { key, reply }).await
    }
}
