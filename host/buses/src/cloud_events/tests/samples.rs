//! Events of every kind, made up.

use std::{collections::BTreeMap, sync::Arc};

use lantern_core::{Event, EventType, Metadata, NewEvent, Payload, StreamName, Timestamp, TraceContext};
use proptest::{collection::btree_map, option, prelude::*};
use uuid::Uuid;

use super::placed;

fn payloads() -> impl Strategy<Value = Payload> {
    let json = prop_oneof![
        Just(r#"{"a":1.10,"b":[true,null]}"#.to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let bytes = ("[a-z]{1,8}/[a-z+]{1,8}", any::<Vec<u8>>());
    let text = ("text/[a-z]{1,8}", any::<String>());
    prop_oneof![
        json.prop_map(|json| Payload::Json(json.into())),
        bytes.prop_map(|(content_type, data)| Payload::Bytes { content_type: content_type.into(), data: data.into() }),
        text.prop_map(|(content_type, data)| Payload::Bytes { content_type: content_type.into(), data: data.into() }),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let text = || option::of(any::<String>().prop_map(Arc::<str>::from));
    let trace = option::of((1..u128::MAX, 1..u64::MAX, any::<u8>(), option::of("[a-z]{1,9}=[0-9]{1,9}")));
    let extra = btree_map("x[a-z0-9]{1,8}", any::<String>(), 0..3);
    let source = option::of("[a-z:]{1,20}".prop_map(Arc::<str>::from));
    (source, text(), text(), text(), text(), trace, extra).prop_map(
        |(source, correlation_id, causation_id, tenant, actor, trace, extra): (_, _, _, _, _, _, BTreeMap<_, _>)| {
            let trace = trace.map(|(trace_id, span_id, flags, state)| {
                let state: Option<String> = state;
                TraceContext { trace_id, span_id, flags, state: state.map(Arc::from) }
            });
            let extra = (!extra.is_empty()).then(|| Arc::new(extra));
            Metadata { source, correlation_id, causation_id, tenant, actor, trace, extra }
        },
    )
}

pub(super) fn events() -> impl Strategy<Value = Event> {
    let types = "[^\\p{Cc}]{1,40}".prop_map(|text| EventType::new(text).unwrap());
    let streams = "[A-Za-z0-9_.]{1,9}-[^\\p{Cc}]{1,40}".prop_map(|text| StreamName::new(text).unwrap());
    let parts = (any::<u128>(), types, streams, 1..=u32::MAX, any::<i64>(), payloads(), metadata());
    parts.prop_map(|(id, event_type, stream, schema_version, time, data, metadata)| {
        let (id, time) = (Uuid::from_u128(id), Timestamp(time));
        placed(stream, NewEvent { id, event_type, schema_version, time, data, metadata })
    })
}
