//! The names of spans and the keys of attributes, as constants, with the table that explains them.
//!
//! | span | kind | opened by | parent |
//! |---|---|---|---|
//! | `POST /api/v1/events` and the like | server | the HTTP API | the `traceparent` of the request |
//! | `eventsource.event_store.append_events` | internal | an append to the log | the caller's span, else the one that all its events come from, else none |
//! | `eventsource.projection.handle` | internal | one call of a projection's module | live: the span that produced the event; late: the batch; dry run: none |
//! | `eventsource.handler.handle` | internal | one call of a handler's module | likewise |
//! | `eventsource.aggregate.decide` | internal | one decision of an aggregate | the span that sent the command |
//! | `eventsource.repository.load` | internal | what was folded before the first decision | the span that sent the command, where it was loaded for that; else none |
//! | `eventsource.snapshot.get`, `.save`, `.delete`, `.delete_by_type` | internal | the storage of snapshots | the caller's span, or none |
//! | `eventsource.catchup_runner.deliver_batch` | internal | a batch of late events | none |
//! | `eventsource.event_bus.publish` | producer | a message handed to a bus | live: the span that produced the event; late: the batch |
//! | `eventsource.event_bus.consume` | consumer | a message from its arrival until it is settled | live: the span that published it; late: none |
//! | any name | as said | a guest, or the host for a request the guest sends | the guest's own span, or the span of the call |
//!
//! A handle span of a late event carries a link to the span that produced the event, so that old traces do not grow. An
//! append of events from several spans carries a link to each, at most 32. A message carries the context of the span that
//! published it, and what becomes of it hangs below the span that consumed it: both hosts show one trace. Messages that
//! arrive late (as many at once as were asked for) begin traces of their own, with a link to the span that published them.
//!
//! The systems before this one have no handler beside a projection and no decision beside a repository: their
//! `eventsource.projection.handle` and `eventsource.handler.name` give the pattern for `eventsource.handler.handle`, and
//! `decide` is their word for what a decider does. An upcaster has no span: it runs for every old event, and a step that
//! fails is a failure of the call around it and a line of the host's log.
//!
//! | key | value | on |
//! |---|---|---|
//! | `eventsource.projection.name` | the projection | handle of a projection, spans of its guest |
//! | `eventsource.handler.name` | the handler | handle of a handler, spans of its guest |
//! | `eventsource.subscription.name` | the projection or handler | batch |
//! | `lantern.emitted`, `lantern.timers` | how many events and changes to schedules it asks for, where there are any | handle of a handler |
//! | `lantern.sql.statements`, `lantern.sql.microseconds` | how many SQL statements it ran and how long they took together, where there are any | handle |
//! | `eventsource.event.type` | the event's type | handle; append of one event |
//! | `eventsource.event.id` | the event's id | handle; append of one event |
//! | `eventsource.event.count` | how many events | append, decide |
//! | `eventsource.aggregate.id` | the id of the stream, `42` of `Order-42` | handle, decide, load, snapshot; append to one stream |
//! | `eventsource.aggregate.type` | the category of the stream, `Order` of `Order-42` | handle, decide, load, snapshot, spans of its guest; append to one stream |
//! | `eventsource.stream.id` | the whole name of the stream | handle, decide, load, snapshot; append to one stream |
//! | `eventsource.position` | the event's place in the log; the last one of an append | handle, append |
//! | `eventsource.version` | the event's place in its stream; the last one of an append; how far a state goes | handle, load, snapshot; append to one stream |
//! | `eventsource.expected_version` | what the writer believed | append to one stream |
//! | `eventsource.tenant.id` | whose data it is | handle, decide |
//! | `eventsource.retry.count` | attempts before this one, where there were any | handle, decide |
//! | `events.replayed` | how many events were folded | load |
//! | `snapshot.used`, `snapshot.version` | whether a snapshot stands in for the first events, and up to which | load |
//! | `lantern.snapshot.found` | whether there is one | get, delete |
//! | `lantern.command.id`, `lantern.command.type` | the command | decide |
//! | `lantern.command.outcome` | `accepted`, `rejected` or `failed` | decide |
//! | `lantern.rejection.code` | the module's own word for a rejection, which is no error | decide |
//! | `eventsource.batch.size` | how many events were handled | batch |
//! | `eventsource.from_position`, `eventsource.to_position` | the checkpoint before and after; the first and last position of an append | batch, append |
//! | `eventsource.error.type`, `error.type` | the kind of a failure, never its text | whatever failed |
//! | `lantern.module.digest` | the module | handle, decide, batch |
//! | `lantern.generation` | the number of the generation | batch |
//! | `lantern.attempt` | 1 for the first attempt | handle, decide |
//! | `lantern.dry_run` | `true` where the call has no effect | handle |
//! | `messaging.system`, `messaging.destination.name` | the bus and the topic | publish, consume |
//! | `messaging.operation.name`, `messaging.operation.type` | `publish` and `send`, `consume` and `process` | publish, consume |
//! | `messaging.message.id`, `messaging.message.conversation_id` | the event's id and its correlation id | publish, consume |
//! | `messaging.consumer.group.name` | the consumer group | consume |
//! | `messaging.destination.partition.id`, `messaging.kafka.offset`, `messaging.rabbitmq.message.delivery_tag` | where the message stood | consume |
//! | `messaging.kafka.message.key`, `messaging.rabbitmq.destination.routing_key` | what it was published with | publish, consume |
//! | `db.system.name`, `db.operation.name` | the store, `append`; of a snapshot the last word of the span's name | append, snapshot |
//!
//! `OTEL_SEMCONV_STABILITY_OPT_IN=messaging/dup` adds the keys of the systems before this one to messages, for example
//! `messaging.destination` and `messaging.kafka.partition`.
//!
//! A failure is also the span event `exception` with `exception.type`, `exception.message` and, where the guest has
//! one, `exception.stacktrace`. An event that is parked is the span event `lantern.parked` of its batch.

/// One call of a projection's module.
pub const HANDLE: &str = "eventsource.projection.handle";
/// One call of a handler's module.
pub const HANDLE_BY_HANDLER: &str = "eventsource.handler.handle";
/// One decision of an aggregate.
pub const DECIDE: &str = "eventsource.aggregate.decide";
/// What was folded into an aggregate before its first decision.
pub const LOAD: &str = "eventsource.repository.load";
/// A snapshot is read.
pub const SNAPSHOT_GET: &str = "eventsource.snapshot.get";
/// A snapshot is kept.
pub const SNAPSHOT_SAVE: &str = "eventsource.snapshot.save";
/// A snapshot is forgotten.
pub const SNAPSHOT_DELETE: &str = "eventsource.snapshot.delete";
/// All snapshots of a category are forgotten.
pub const SNAPSHOT_DELETE_BY_TYPE: &str = "eventsource.snapshot.delete_by_type";
/// An append to the log.
pub const APPEND: &str = "eventsource.event_store.append_events";
/// A batch of events that are handled late or again.
pub const BATCH: &str = "eventsource.catchup_runner.deliver_batch";

/// A message handed to a bus.
pub const PUBLISH: &str = "eventsource.event_bus.publish";
/// A message that came from a bus.
pub const CONSUME: &str = "eventsource.event_bus.consume";

/// The projection.
pub const PROJECTION: &str = "eventsource.projection.name";
/// The handler.
pub const HANDLER: &str = "eventsource.handler.name";
/// The projection or handler.
pub const SUBSCRIPTION: &str = "eventsource.subscription.name";
/// The upcaster.
pub const UPCASTER: &str = "lantern.upcaster.name";
/// How many events a handler asks for.
pub const EMITTED: &str = "lantern.emitted";
/// How many changes to its schedules a handler asks for.
pub const TIMERS: &str = "lantern.timers";
/// How many SQL statements a call ran.
pub const SQL_STATEMENTS: &str = "lantern.sql.statements";
/// How long these took together, in microseconds.
pub const SQL_TIME: &str = "lantern.sql.microseconds";
/// The id of the command.
pub const COMMAND_ID: &str = "lantern.command.id";
/// The type of the command.
pub const COMMAND_TYPE: &str = "lantern.command.type";
/// What became of the command: `accepted`, `rejected` or `failed`.
pub const OUTCOME: &str = "lantern.command.outcome";
/// The module's own word for a rejection.
pub const REJECTION: &str = "lantern.rejection.code";
/// How many events were folded.
pub const REPLAYED: &str = "events.replayed";
/// Whether a snapshot stands in for the first events.
pub const SNAPSHOT_USED: &str = "snapshot.used";
/// The last event in a snapshot.
pub const SNAPSHOT_VERSION: &str = "snapshot.version";
/// Whether there is a snapshot.
pub const SNAPSHOT_FOUND: &str = "lantern.snapshot.found";
/// The type of the event.
pub const EVENT_TYPE: &str = "eventsource.event.type";
/// The id of the event.
pub const EVENT_ID: &str = "eventsource.event.id";
/// How many events.
pub const EVENT_COUNT: &str = "eventsource.event.count";
/// The id part of the stream's name.
pub const AGGREGATE_ID: &str = "eventsource.aggregate.id";
/// The category part of the stream's name.
pub const AGGREGATE_TYPE: &str = "eventsource.aggregate.type";
/// The whole name of the stream.
pub const STREAM: &str = "eventsource.stream.id";
/// The place in the log.
pub const POSITION: &str = "eventsource.position";
/// The place in the stream.
pub const VERSION: &str = "eventsource.version";
/// What the writer believed about the stream.
pub const EXPECTED_VERSION: &str = "eventsource.expected_version";
/// Whose data it is.
pub const TENANT: &str = "eventsource.tenant.id";
/// How many attempts there were before.
pub const RETRY_COUNT: &str = "eventsource.retry.count";
/// How many events a batch handled.
pub const BATCH_SIZE: &str = "eventsource.batch.size";
/// The checkpoint before, or the first position.
pub const FROM_POSITION: &str = "eventsource.from_position";
/// The checkpoint after, or the last position.
pub const TO_POSITION: &str = "eventsource.to_position";
/// The kind of a failure, under the name of the systems before this one.
pub const EVENTSOURCE_ERROR_TYPE: &str = "eventsource.error.type";
/// The kind of a failure, under the name of today's conventions.
pub const ERROR_TYPE: &str = "error.type";
/// The digest of the module.
pub const MODULE: &str = "lantern.module.digest";
/// The number of the generation.
pub const GENERATION: &str = "lantern.generation";
/// 1 for the first attempt.
pub const ATTEMPT: &str = "lantern.attempt";
/// Whether the call has no effect.
pub const DRY_RUN: &str = "lantern.dry_run";
/// The store.
pub const DB_SYSTEM: &str = "db.system.name";
/// What the store was asked for.
pub const DB_OPERATION: &str = "db.operation.name";
/// The bus: `kafka`, `rabbitmq`, `redis` or `memory`.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// The topic.
pub const MESSAGING_DESTINATION: &str = "messaging.destination.name";
/// `publish` or `consume`.
pub const MESSAGING_OPERATION: &str = "messaging.operation.name";
/// `send` or `process`.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// The id of the message, which is its event's.
pub const MESSAGING_ID: &str = "messaging.message.id";
/// The correlation id.
pub const MESSAGING_CONVERSATION: &str = "messaging.message.conversation_id";
/// The consumer group.
pub const MESSAGING_GROUP: &str = "messaging.consumer.group.name";
/// The partition a message came from.
pub const MESSAGING_PARTITION: &str = "messaging.destination.partition.id";
/// The key of a message of Kafka.
pub const MESSAGING_KAFKA_KEY: &str = "messaging.kafka.message.key";
/// The offset of a message of Kafka.
pub const MESSAGING_KAFKA_OFFSET: &str = "messaging.kafka.offset";
/// The routing key of a message of RabbitMQ.
pub const MESSAGING_RABBITMQ_KEY: &str = "messaging.rabbitmq.destination.routing_key";
/// The delivery tag of a message of RabbitMQ.
pub const MESSAGING_RABBITMQ_TAG: &str = "messaging.rabbitmq.message.delivery_tag";
/// The method of an HTTP request.
pub const HTTP_METHOD: &str = "http.request.method";
/// The route of an HTTP request, as a pattern.
pub const HTTP_ROUTE: &str = "http.route";
/// The path of an HTTP request.
pub const URL_PATH: &str = "url.path";
/// `http` or `https`.
pub const URL_SCHEME: &str = "url.scheme";
/// The status of an HTTP response.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// The program that sent an HTTP request.
pub const USER_AGENT: &str = "user_agent.original";

/// The span event of a failure.
pub const EXCEPTION: &str = "exception";
/// The kind of a failure, on its span event.
pub const EXCEPTION_TYPE: &str = "exception.type";
/// The text of a failure, on its span event.
pub const EXCEPTION_MESSAGE: &str = "exception.message";
/// The call stack of a failure, on its span event.
pub const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";
/// The span event of an event that was parked.
pub const PARKED: &str = "lantern.parked";
/// Why an event was set aside: `failed`, `behind` or `skipped`.
pub const STANDING: &str = "lantern.standing";

/// The instrumentation scope of the host's own spans.
pub const SCOPE: &str = "lantern";
