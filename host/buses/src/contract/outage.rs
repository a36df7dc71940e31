//! Promises about a server that goes away and comes back.

use lantern_core::{Consumer, Fate, Message, bus::Arrival};

use super::{Site, assert_in_order, consume, messages, numbers, patiently, sorted, take_all, to};
use crate::proxy::Proxy;

/// Checks a bus behind a proxy.
pub(crate) async fn outage(site: &impl Site, proxy: &Proxy) {
    let topic = site.topic();
    let sent = messages(3, 60);
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "outage")).await;
    site.bus().publish(&to(&topic), &sent[..20]).await.unwrap();
    let mut taken = take_all(&mut *consumer, 20).await;
    proxy.close();
    let error = patiently("an error", site.bus().publish(&to(&topic), &sent[20..])).await.unwrap_err();
    assert_eq!(error.fate(), Fate::Retry, "{error}");
    assert_eq!(patiently("an error", site.bus().check()).await.unwrap_err().fate(), Fate::Retry);
    let error = patiently("an error", failed(&mut *consumer)).await;
    assert_eq!(error.fate(), Fate::Retry, "{error}");
    proxy.open();
    // The same messages again, until the bus has them.
    patiently("the bus", async { while site.bus().publish(&to(&topic), &sent[20..]).await.is_err() {} }).await;
    patiently("the rest", more(&mut *consumer, &mut taken, 60)).await;
    assert_in_order(&taken);
    assert_eq!(sorted(numbers(&taken)), (0..60).collect::<Vec<_>>());
    consumer.close().await.unwrap();
}

async fn failed(consumer: &mut dyn Consumer) -> lantern_core::BusError {
    loop {
        if let Err(error) = consumer.next(10).await {
            return error;
        }
    }
}

/// Takes messages through further errors, until there are so many different ones.
async fn more(consumer: &mut dyn Consumer, taken: &mut Vec<Message>, count: usize) {
    while taken.len() < count {
        let Ok(Arrival::Messages(deliveries)) = consumer.next(10).await else { continue };
        let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt).collect();
        for delivery in deliveries {
            let message = delivery.content.unwrap();
            if !taken.contains(&message) {
                taken.push(message);
            }
        }
        // One that is lost brings the messages again.
        let _ = consumer.settle(&receipts).await;
    }
}
