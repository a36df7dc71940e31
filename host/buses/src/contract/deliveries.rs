//! Promises about messages on their way.

use lantern_core::{BusError, Payload, bus::Form};

use super::{
    Site, assert_in_order, consume, full, message, messages, numbers, patiently, some, sorted, take, take_all, to,
};

pub(super) async fn every_part_of_an_event_arrives(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["parts"]).await;
    for form in [Form::Binary, Form::Structured] {
        let mut sent = vec![full(), full(), full()];
        let bytes = |content_type: &str, data: &'static [u8]| Payload::Bytes {
            content_type: content_type.into(),
            data: data.into(),
        };
        sent[1].event.data = bytes("application/octet-stream", b"\0\xff\x80 ");
        sent[2].event.data = bytes("text/plain; charset=utf-8", b"");
        let mut destination = to(&topic);
        destination.form = form;
        site.bus().publish(&destination, &sent).await.unwrap();
        let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "parts")).await;
        assert_eq!(take_all(&mut *consumer, 3).await, sent, "{form:?}");
        consumer.close().await.unwrap();
    }
}

pub(super) async fn streams_keep_their_order(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["order"]).await;
    let sent = messages(7, 700);
    for chunk in sent.chunks(90) {
        site.bus().publish(&to(&topic), chunk).await.unwrap();
    }
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "order")).await;
    let taken = take_all(&mut *consumer, 700).await;
    assert_in_order(&taken);
    assert_eq!(sorted(numbers(&taken)), (0..700).collect::<Vec<_>>());
    consumer.close().await.unwrap();
}

pub(super) async fn a_large_message_arrives(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["large"]).await;
    let mut sent = message("Order-1", 0);
    sent.event.data = Payload::Bytes { content_type: "text/plain".into(), data: vec![b'x'; 900_000].into() };
    site.bus().publish(&to(&topic), std::slice::from_ref(&sent)).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "large")).await;
    assert_eq!(take_all(&mut *consumer, 1).await, [sent]);
    consumer.close().await.unwrap();
}

pub(super) async fn what_is_no_event_arrives_with_its_bytes(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["bytes"]).await;
    site.bus().publish(&to(&topic), &[message("Order-1", 0)]).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "bytes")).await;
    assert_eq!(numbers(&take_all(&mut *consumer, 1).await), [0]);
    site.put(&topic, "order", b"\xff no event \0").await;
    let delivery = take(&mut *consumer, 1).await.remove(0);
    let undecodable = delivery.content.unwrap_err();
    assert!(undecodable.reason.contains("no CloudEvent"), "{}", undecodable.reason);
    assert_eq!(&*undecodable.body, b"\xff no event \0");
    assert!(undecodable.headers.iter().any(|(name, value)| name == "kind" && &**value == b"order"), "{undecodable:?}");
    consumer.settle(&[delivery.receipt]).await.unwrap();
    // What comes after it is not held up.
    site.bus().publish(&to(&topic), &[message("Order-1", 1)]).await.unwrap();
    assert_eq!(numbers(&take_all(&mut *consumer, 1).await), [1]);
    consumer.close().await.unwrap();
}

pub(super) async fn no_more_arrive_than_asked_for(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["few"]).await;
    site.bus().publish(&to(&topic), &messages(3, 20)).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "few")).await;
    let (mut count, mut taken) = (0, Vec::new());
    while count < 20 {
        let deliveries = some(&mut *consumer, 4).await;
        assert!((1..=4).contains(&deliveries.len()));
        count += deliveries.len();
        taken.extend(deliveries.into_iter().map(|delivery| delivery.receipt));
        consumer.settle(&taken).await.unwrap();
    }
    consumer.close().await.unwrap();
}

pub(super) async fn a_wait_that_is_given_up_loses_nothing(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["given-up"]).await;
    site.bus().publish(&to(&topic), &messages(1, 1)).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "given-up")).await;
    assert_eq!(numbers(&take_all(&mut *consumer, 1).await), [0]);
    let bus = site.bus();
    let sent = messages(3, 200);
    let publishing = tokio::spawn({
        let (topic, sent) = (topic.clone(), sent.clone());
        async move {
            for message in sent {
                bus.publish(&to(&topic), &[message]).await.unwrap();
            }
        }
    });
    let mut taken = Vec::new();
    patiently("all messages", async {
        while taken.len() < 200 {
            // Polled once, and given up when nothing is there yet.
            let next = futures::FutureExt::now_or_never(consumer.next(10));
            match next.transpose().unwrap() {
                Some(lantern_core::bus::Arrival::Messages(deliveries)) => {
                    let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt).collect();
                    taken.extend(deliveries.into_iter().map(|delivery| delivery.content.unwrap()));
                    consumer.settle(&receipts).await.unwrap();
                }
                Some(_) => {}
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    publishing.await.unwrap();
    assert_in_order(&taken);
    assert_eq!(sorted(numbers(&taken)), (0..200).collect::<Vec<_>>());
    consumer.close().await.unwrap();
}

pub(super) async fn wrong_subscriptions_are_refused(site: &impl Site) {
    let topic = site.topic();
    let right = site.subscription(&topic, "wrong");
    for (wrong, reason) in [
        (lantern_core::Subscription { category: Some("a b".into()), ..right.clone() }, "`a b` is no category"),
        (lantern_core::Subscription { group: "".into(), ..right.clone() }, "is no group"),
        (lantern_core::Subscription { topic: "a\nb".into(), ..right }, "is no topic"),
    ] {
        let Err(error) = site.bus().consume(&wrong).await else { panic!("{wrong:?} was taken") };
        assert!(matches!(error, BusError::Unsupported { .. }) && error.to_string().contains(reason), "{error}");
    }
}
