//! A steady load: events appended one by one on a schedule that waits for nobody, as many clients would.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use lantern_core::{Log, Position};
use tokio::runtime::Handle;

use crate::events::Generator;

/// The shortest sleep between two looks at the schedule: what is due meanwhile is sent together.
const NAP: Duration = Duration::from_micros(500);

/// An event that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// When it was to be sent.
    pub(crate) scheduled: Instant,
    /// When it was acknowledged.
    pub(crate) acknowledged: Instant,
    /// Where it stands.
    pub(crate) position: Position,
}

/// Appends so many events a second for some seconds, and says what became of each, in the order of the schedule.
pub(crate) async fn steady(log: Arc<dyn Log>, generator: &mut Generator, rate: u32, seconds: u32) -> Result<Vec<Sent>> {
    let appends = generator.appends((rate * seconds) as usize)?;
    let runtime = Handle::current();
    let paced = move || {
        let began = Instant::now() + NAP;
        let interval = Duration::from_secs(1) / rate;
        let mut sending = Vec::with_capacity(appends.len());
        for (number, append) in (0_u32..).zip(appends) {
            let scheduled = began + interval * number;
            let early = scheduled.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                thread::sleep(early.max(NAP));
            }
            let log = log.clone();
            sending.push(runtime.spawn(async move {
                let appended = log.append(vec![append]).await?;
                let acknowledged = Instant::now();
                let position = appended.first().context("the answer to an append is empty")?.position;
                anyhow::Ok(Sent { scheduled, acknowledged, position })
            }));
        }
        sending
    };
    let mut sent = Vec::new();
    for sending in tokio::task::spawn_blocking(paced).await? {
        sent.push(sending.await??);
    }
    Ok(sent)
}
