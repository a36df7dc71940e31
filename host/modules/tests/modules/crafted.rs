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
}

impl Default for Crafted {
    fn default() -> Self {
        Self { version: "0.1.0", position: "u64", describe: String::new(), handle: String::new(), collection: "kept" }
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

/// The bytes of a crafted component.
pub(crate) fn component(crafted: &Crafted) -> Bytes {
    let Crafted { version, position, describe, handle, collection } = crafted;
    let length = collection.len();
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
    (type $description (record (field "name" string) (field "version" string) (field "categories" (list string))
      (field "event-types" (list string)) (field "collections" (list string))))
    (export "description" (type (eq $description)))
  ))
  (alias export $types "trace-context" (type $context))
  (alias export $types "event" (type $event))
  (alias export $types "failure" (type $failure))
  (alias export $types "description" (type $description))
  (import "lantern:module/documents@{version}" (instance $documents
    (export "put" (func (param "collection" string) (param "key" string) (param "value" string)))))
  (core module $memory
    (memory (export "memory") 300)
    (global $free (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $free (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get 3)))))
  (core instance $memory (instantiate $memory))
  (core func $put (canon lower (func $documents "put") (memory (core memory $memory "memory"))))
  (core module $main
    (import "memory" "memory" (memory 1))
    (import "host" "put" (func $put (param i32 i32 i32 i32 i32 i32)))
    (data (i32.const 16) "{collection}")
    (data (i32.const 32) "other")
    (data (i32.const 64) "{{}}")
    (data (i32.const 80) "crafted")
    (data (i32.const 96) "1")
    (func (export "describe") (result i32)
      {describe}
      (i32.store (i32.const 128) (i32.const 16)) (i32.store (i32.const 132) (i32.const {length}))
      (i32.store (i32.const 1024) (i32.const 80)) (i32.store (i32.const 1028) (i32.const 7))
      (i32.store (i32.const 1032) (i32.const 96)) (i32.store (i32.const 1036) (i32.const 1))
      (i32.store (i32.const 1056) (i32.const 128)) (i32.store (i32.const 1060) (i32.const 1))
      (i32.const 1024))
    (func (export "handle") (param i32) (result i32)
      {handle}
      (i32.const 2048)))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory)) (with "host" (instance (export "put" (func $put))))))
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
