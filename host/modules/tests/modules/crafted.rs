//! Components written by hand, for what no SDK would build.

use bytes::Bytes;

/// What differs between the crafted components.
pub(crate) struct Crafted {
    /// The version of the package it is built against.
    pub(crate) version: &'static str,
    /// The type of the event's position.
    pub(crate) position: &'static str,
    /// What `describe` does before it answers.
    pub(crate) describe: String,
    /// What `handle` does before it answers that all went well.
    pub(crate) handle: String,
    /// The name of the one collection it declares, at most 16 bytes.
    pub(crate) collection: &'static str,
    /// Whether it says that it is a handler.
    pub(crate) is_handler: bool,
    /// Whether it imports `emit`.
    pub(crate) emits: bool,
    /// Whether it imports `schedule`.
    pub(crate) schedules: bool,
    /// Whether it imports a clock that it can wait for.
    pub(crate) waits: bool,
}

impl Default for Crafted {
    fn default() -> Self {
        Self {
            version: "0.1.0",
            position: "u64",
            describe: String::new(),
            handle: String::new(),
            collection: "kept",
            is_handler: false,
            emits: false,
            schedules: false,
            waits: false,
        }
    }
}

/// Texts in the memory of a crafted component. All that is not said is zeros.
#[derive(Clone, Copy)]
pub(crate) enum Text {
    /// The declared collection.
    Collection,
    /// `other`, which is not declared.
    Other,
    /// `{}`.
    Json,
    /// `Order-1`.
    Stream,
    /// So many zeros.
    Zeros(usize),
    /// A JSON string of so many bytes, its quotes included.
    Long(usize),
}

impl Text {
    /// Where it is and how long.
    fn place(self, collection: &str) -> String {
        let (start, length) = match self {
            Self::Collection => (16, collection.len()),
            Self::Other => (32, 5),
            Self::Json => (64, 2),
            Self::Stream => (144, 7),
            Self::Zeros(length) => (4096, length),
            Self::Long(length) => (8 << 20, length),
        };
        format!("(i32.const {start}) (i32.const {length})")
    }
}

/// An instruction that writes a document.
pub(crate) fn put(collection: Text, key: Text, value: Text) -> String {
    let [collection, key, text] = [collection, key, value].map(|text| text.place("kept"));
    let quote = match value {
        // Quotes around a run of spaces.
        Text::Long(length) => format!(
            "(memory.fill (i32.const {start}) (i32.const 32) (i32.const {length})) \
             (i32.store8 (i32.const {start}) (i32.const 34)) (i32.store8 (i32.const {end}) (i32.const 34))",
            start = 8 << 20,
            end = (8 << 20) + length - 1
        ),
        _ => String::new(),
    };
    format!("{quote} (call $put {collection} {key} {text})")
}

/// An instruction that emits an event whose data are JSON text, without metadata.
pub(crate) fn emit(stream: Text, event_type: Text, data: Text) -> String {
    format!("(call $emit {} {})", stream.place("kept"), event(event_type, data))
}

/// An instruction that schedules such an event.
pub(crate) fn emit_at(key: Text, time: i64, stream: Text, event_type: Text, data: Text) -> String {
    let [key, stream] = [key, stream].map(|text| text.place("kept"));
    format!("(call $emit-at {key} (i64.const {time}) {stream} {})", event(event_type, data))
}

/// An instruction that takes back what is scheduled.
pub(crate) fn cancel(key: Text) -> String {
    format!("(call $cancel {})", key.place("kept"))
}

/// The fields of a new event: of schema version 1, without content type and metadata.
fn event(event_type: Text, data: Text) -> String {
    let none = "(i32.const 0)";
    let [event_type, data] = [event_type, data].map(|text| text.place("kept"));
    format!("{event_type} (i32.const 1) {none} {none} {none} {none} {data} {none} {none}")
}

/// A function of an interface: its interface, its name, its parameters, and those of the core function.
type Imported = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

const EMIT: Imported = (
    "emit",
    &[(
        "emit",
        r#"(param "stream" string) (param "event" $event)"#,
        "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32",
    )],
);

const SCHEDULE: Imported = (
    "schedule",
    &[
        (
            "emit-at",
            r#"(param "key" string) (param "time" s64) (param "stream" string) (param "event" $event)"#,
            "i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32",
        ),
        ("cancel", r#"(param "key" string)"#, "i32 i32"),
    ],
);

/// Adds an interface: its import, its functions as core functions, as they are imported and as they are given.
fn add(parts: &mut [String; 4], version: &str, (interface, functions): Imported) {
    let [imports, lowered, given, exported] = parts;
    let exports = functions.iter().map(|(name, parameters, _)| format!(r#"(export "{name}" (func {parameters}))"#));
    let exports = exports.collect::<String>();
    imports.push_str(&format!(
        r#"(import "lantern:module/{interface}@{version}" (instance ${interface}
          (alias outer 1 $new-event (type $new)) (export "new-event" (type $event (eq $new))) {exports}))"#
    ));
    for (name, _, core) in functions {
        lowered.push_str(&format!(
            r#"(core func ${name} (canon lower (func ${interface} "{name}") (memory (core memory $memory "memory"))))"#
        ));
        given.push_str(&format!(r#"(import "host" "{name}" (func ${name} (param {core})))"#));
        exported.push_str(&format!(r#"(export "{name}" (func ${name}))"#));
    }
}

/// An instruction that waits for so many nanoseconds.
pub(crate) fn wait(nanoseconds: u64) -> String {
    format!("(call $block (call $alarm (i64.const {nanoseconds})))")
}

/// Adds a clock and the function that waits for its alarms.
fn add_clock([imports, lowered, given, exported]: &mut [String; 4]) {
    imports.push_str(
        r#"(import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type $pollable (sub resource)))
          (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
          (alias outer 1 $pollable (type $outer)) (export "pollable" (type $alarm (eq $outer)))
          (export "subscribe-duration" (func (param "when" u64) (result (own $alarm))))))"#,
    );
    lowered.push_str(
        r#"(core func $alarm (canon lower (func $clock "subscribe-duration")))
        (core func $block (canon lower (func $poll "[method]pollable.block")))"#,
    );
    given.push_str(
        r#"(import "host" "alarm" (func $alarm (param i64) (result i32)))
        (import "host" "block" (func $block (param i32)))"#,
    );
    exported.push_str(r#"(export "alarm" (func $alarm)) (export "block" (func $block))"#);
}

/// The bytes of a crafted component.
pub(crate) fn component(crafted: &Crafted) -> Bytes {
    let Crafted { version, position, describe, handle, collection, is_handler, emits, schedules, waits } = crafted;
    let (length, kind) = (collection.len(), u8::from(*is_handler));
    let mut parts = [const { String::new() }; 4];
    if *emits {
        add(&mut parts, version, EMIT);
    }
    if *schedules {
        add(&mut parts, version, SCHEDULE);
    }
    if *waits {
        add_clock(&mut parts);
    }
    let [imports, lowered, given, exported] = parts;
    let text = format!(
        r#"
(component
  (import "lantern:module/types@{version}" (instance $types
    (type $context (record (field "trace-id-high" u64) (field "trace-id-low" u64) (field "span-id" u64)
      (field "flags" u8) (field "state" (option string))))
    (export "trace-context" (type (eq $context)))
    (type $payload (variant (case "json" string) (case "bytes" (list u8))))
    (export "payload" (type $data (eq $payload)))
    (type $event (record (field "id-high" u64) (field "id-low" u64) (field "event-type" string)
      (field "schema-version" u32) (field "stream" string) (field "version" u64) (field "position" {position})
      (field "time" s64) (field "content-type" (option string)) (field "data" $data)
      (field "metadata" (list (tuple string string)))))
    (export "event" (type (eq $event)))
    (type $failure (variant (case "transient" string) (case "permanent" string)))
    (export "failure" (type (eq $failure)))
    (type $new (record (field "event-type" string) (field "schema-version" u32) (field "content-type" (option string))
      (field "data" $data) (field "metadata" (list (tuple string string)))))
    (export "new-event" (type $new-event (eq $new)))
    (type $kind (enum "projection" "handler"))
    (export "processor-kind" (type $processor-kind (eq $kind)))
    (type $change (record (field "name" string) (field "sql" string)))
    (export "migration" (type $migration (eq $change)))
    (type $description (record (field "kind" $processor-kind) (field "name" string) (field "version" string)
      (field "categories" (list string)) (field "event-types" (list string)) (field "collections" (list string))
      (field "schema-versions" (list (tuple string u32))) (field "migrations" (list $migration))))
    (export "description" (type (eq $description)))
  ))
  (alias export $types "trace-context" (type $context))
  (alias export $types "event" (type $event))
  (alias export $types "failure" (type $failure))
  (alias export $types "description" (type $description))
  (alias export $types "new-event" (type $new-event))
  (import "lantern:module/documents@{version}" (instance $documents
    (export "put" (func (param "collection" string) (param "key" string) (param "value" string)))))
  {imports}
  (core module $memory
    (memory (export "memory") 300)
    (global $free (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $free (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get 3)))))
  (core instance $memory (instantiate $memory))
  (core func $put (canon lower (func $documents "put") (memory (core memory $memory "memory"))))
  {lowered}
  (core module $main
    (import "memory" "memory" (memory 1))
    (import "host" "put" (func $put (param i32 i32 i32 i32 i32 i32)))
    {given}
    (data (i32.const 16) "{collection}")
    (data (i32.const 32) "other")
    (data (i32.const 64) "{{}}")
    (data (i32.const 80) "crafted")
    (data (i32.const 96) "1")
    (data (i32.const 144) "Order-1")
    (func (export "describe") (result i32)
      {describe}
      (i32.store (i32.const 128) (i32.const 16)) (i32.store (i32.const 132) (i32.const {length}))
      (i32.store8 (i32.const 1024) (i32.const {kind}))
      (i32.store (i32.const 1028) (i32.const 80)) (i32.store (i32.const 1032) (i32.const 7))
      (i32.store (i32.const 1036) (i32.const 96)) (i32.store (i32.const 1040) (i32.const 1))
      (i32.store (i32.const 1060) (i32.const 128)) (i32.store (i32.const 1064) (i32.const 1))
      (i32.const 1024))
    (func (export "handle") (param i32) (result i32)
      {handle}
      (i32.const 2048)))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory)) (with "host" (instance (export "put" (func $put)) {exported}))))
  (func $describe (result $description)
    (canon lift (core func $main "describe") (memory (core memory $memory "memory"))))
  (func $handle (param "context" $context) (param "event" $event) (result (result (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (export "describe" (func $describe))
  (export "handle" (func $handle)))
"#
    );
    Bytes::from(wat::parse_str(text).unwrap())
}
