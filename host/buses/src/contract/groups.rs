//! Promises about groups: what comes again, what does not, and to whom.

use lantern_core::{
    Delivery, Subscription,
    bus::{Arrival, Beginning, Receipt},
};

use super::{Site, consume, delivered, messages, numbers, patiently, some, sorted, take, take_all, to};

fn receipts(deliveries: &[Delivery]) -> Vec<Receipt> {
    deliveries.iter().map(|delivery| delivery.receipt).collect()
}

pub(super) async fn what_was_not_settled_comes_again(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["again"]).await;
    site.bus().publish(&to(&topic), &messages(2, 10)).await.unwrap();
    let subscription = site.subscription(&topic, "again");
    let mut first = consume(&*site.bus(), &subscription).await;
    assert_eq!(sorted(delivered(&take(&mut *first, 10).await)), (0..10).collect::<Vec<_>>());
    first.close().await.unwrap();
    let mut second = consume(&*site.bus(), &subscription).await;
    let again = take(&mut *second, 10).await;
    assert_eq!(sorted(delivered(&again)), (0..10).collect::<Vec<_>>());
    second.settle(&receipts(&again)).await.unwrap();
    second.close().await.unwrap();
}

pub(super) async fn what_was_settled_does_not_come_again(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["settled"]).await;
    let sent = messages(3, 30);
    site.bus().publish(&to(&topic), &sent[..20]).await.unwrap();
    let subscription = site.subscription(&topic, "settled");
    let mut first = consume(&*site.bus(), &subscription).await;
    take_all(&mut *first, 20).await;
    first.close().await.unwrap();
    site.bus().publish(&to(&topic), &sent[20..]).await.unwrap();
    let mut second = consume(&*site.bus(), &subscription).await;
    let rest = take(&mut *second, 10).await;
    assert_eq!(sorted(delivered(&rest)), (20..30).collect::<Vec<_>>());
    second.close().await.unwrap();
}

pub(super) async fn a_part_can_be_settled(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["part"]).await;
    site.bus().publish(&to(&topic), &messages(1, 10)).await.unwrap();
    let subscription = site.subscription(&topic, "part");
    let mut first = consume(&*site.bus(), &subscription).await;
    let taken = take(&mut *first, 10).await;
    // One receipt stands for all before it.
    first.settle(&[taken[5].receipt]).await.unwrap();
    first.close().await.unwrap();
    let mut second = consume(&*site.bus(), &subscription).await;
    assert_eq!(delivered(&take(&mut *second, 4).await), [6, 7, 8, 9]);
    second.close().await.unwrap();
}

pub(super) async fn a_rejected_message_does_not_come_again(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["rejected"]).await;
    site.bus().publish(&to(&topic), &messages(1, 4)).await.unwrap();
    let subscription = site.subscription(&topic, "rejected");
    let mut first = consume(&*site.bus(), &subscription).await;
    let taken = take(&mut *first, 4).await;
    first.reject(taken[1].receipt).await.unwrap();
    first.close().await.unwrap();
    let mut second = consume(&*site.bus(), &subscription).await;
    assert_eq!(delivered(&take(&mut *second, 2).await), [2, 3]);
    second.close().await.unwrap();
}

pub(super) async fn groups_are_independent(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["one", "other"]).await;
    let (one, other) = (site.subscription(&topic, "one"), site.subscription(&topic, "other"));
    site.bus().publish(&to(&topic), &messages(2, 10)).await.unwrap();
    let mut first = consume(&*site.bus(), &one).await;
    let mut second = consume(&*site.bus(), &other).await;
    assert_eq!(sorted(numbers(&take_all(&mut *first, 10).await)), (0..10).collect::<Vec<_>>());
    assert_eq!(sorted(numbers(&take_all(&mut *second, 10).await)), (0..10).collect::<Vec<_>>());
    first.close().await.unwrap();
    second.close().await.unwrap();
}

pub(super) async fn a_new_group_can_begin_with_what_comes_next(site: &impl Site) {
    let topic = site.topic();
    let sent = messages(1, 10);
    site.bus().publish(&to(&topic), &sent[..5]).await.unwrap();
    let subscription = Subscription { beginning: Beginning::Newest, ..site.subscription(&topic, "next") };
    let mut consumer = consume(&*site.bus(), &subscription).await;
    if site.has_partitions() {
        // The group has begun when its member knows where.
        let first = patiently("an assignment", consumer.next(10)).await.unwrap();
        assert!(matches!(first, Arrival::Assigned(_)), "{first:?}");
    }
    let mut late = Vec::new();
    site.bus().publish(&to(&topic), &sent[5..]).await.unwrap();
    while late.len() < 5 {
        late.extend(some(&mut *consumer, 10).await);
    }
    assert_eq!(delivered(&late), [5, 6, 7, 8, 9]);
    consumer.close().await.unwrap();
}

pub(super) async fn a_member_that_dies_is_replaced(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["replaced"]).await;
    site.bus().publish(&to(&topic), &messages(4, 40)).await.unwrap();
    let subscription = site.subscription(&topic, "replaced");
    let mut first = consume(&*site.bus(), &subscription).await;
    take(&mut *first, 10).await;
    let mut second = consume(&*site.bus(), &subscription).await;
    // It goes without a word, and has settled nothing.
    drop(first);
    let taken = take_all(&mut *second, 40).await;
    super::assert_in_order(&taken);
    assert_eq!(sorted(numbers(&taken)), (0..40).collect::<Vec<_>>());
    second.close().await.unwrap();
}

pub(super) async fn the_lag_is_what_is_not_settled(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["lag"]).await;
    site.bus().publish(&to(&topic), &messages(5, 50)).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "lag")).await;
    let taken = take(&mut *consumer, 50).await;
    assert_eq!(lag_of(&mut *consumer).await, 50);
    consumer.settle(&receipts(&taken)).await.unwrap();
    patiently("a lag of 0", async { while lag_of(&mut *consumer).await > 0 {} }).await;
    consumer.close().await.unwrap();
}

async fn lag_of(consumer: &mut dyn lantern_core::Consumer) -> u64 {
    consumer.lag().await.unwrap().iter().map(|lag| lag.messages).sum()
}

pub(super) async fn a_receipt_of_an_earlier_session_settles_nothing(site: &impl Site) {
    let topic = site.topic();
    site.begin(&topic, &["session"]).await;
    site.bus().publish(&to(&topic), &messages(1, 3)).await.unwrap();
    let subscription = site.subscription(&topic, "session");
    let mut consumer = consume(&*site.bus(), &subscription).await;
    let taken = take(&mut *consumer, 3).await;
    let stale = Receipt { session: taken[2].receipt.session + 1, ..taken[2].receipt };
    consumer.settle(&[stale]).await.unwrap();
    consumer.settle(&[taken[0].receipt]).await.unwrap();
    consumer.close().await.unwrap();
    let mut second = consume(&*site.bus(), &subscription).await;
    assert_eq!(delivered(&take(&mut *second, 2).await), [1, 2]);
    second.close().await.unwrap();
}
