//! Writing a value as a name and data: the counterpart of reading in `data.rs`.
//!
//! A variant of an enum gives its name and its fields, a struct its name and its fields. What has no name is refused.

use serde::ser::{
    self, Impossible, Serialize, SerializeStruct, SerializeStructVariant, SerializeTupleStruct, SerializeTupleVariant,
    Serializer,
};
use std::fmt;

/// A name and JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) name: &'static str,
    pub(crate) data: String,
}

/// A value by its name and its data.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Written, Unwritable> {
    value.serialize(Writer)
}

/// Why a value has no name and data.
#[derive(Debug)]
pub(crate) enum Unwritable {
    /// It is neither a variant nor a struct.
    Nameless(&'static str),
    /// Its fields are no JSON.
    Json(serde_json::Error),
    /// The type's own code refused.
    Refused(String),
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nameless(what) => {
                write!(f, "{what} has no name: use a variant of an enum, or a struct, which serde writes with its name")
            }
            Self::Json(error) => error.fmt(f),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Refused(reason.to_string())
    }
}

impl From<serde_json::Error> for Unwritable {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

struct Writer;

/// The fields written so far.
struct Fields {
    name: &'static str,
    data: String,
    end: char,
}

impl Fields {
    fn begin(name: &'static str, brackets: (char, char)) -> Self {
        Self { name, data: String::from(brackets.0), end: brackets.1 }
    }

    fn add<T: Serialize + ?Sized>(&mut self, key: Option<&'static str>, value: &T) -> Result<(), Unwritable> {
        if self.data.len() > 1 {
            self.data.push(',');
        }
        if let Some(key) = key {
            self.data.push_str(&serde_json::to_string(key)?);
            self.data.push(':');
        }
        self.data.push_str(&serde_json::to_string(value)?);
        Ok(())
    }

    fn finish(mut self) -> Written {
        self.data.push(self.end);
        Written { name: self.name, data: self.data }
    }
}

const OBJECT: (char, char) = ('{', '}');
const LIST: (char, char) = ('[', ']');

macro_rules! nameless {
    ($($method:ident($($type:ty)?) $what:literal;)*) => {
        $(fn $method(self $(, _: $type)?) -> Result<Written, Unwritable> {
            Err(Unwritable::Nameless($what))
        })*
    };
}

impl Serializer for Writer {
    type Ok = Written;
    type Error = Unwritable;
    type SerializeSeq = Impossible<Written, Unwritable>;
    type SerializeTuple = Impossible<Written, Unwritable>;
    type SerializeTupleStruct = Fields;
    type SerializeTupleVariant = Fields;
    type SerializeMap = Impossible<Written, Unwritable>;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    nameless! {
        serialize_bool(bool) "a flag";
        serialize_i8(i8) "a number";
        serialize_i16(i16) "a number";
        serialize_i32(i32) "a number";
        serialize_i64(i64) "a number";
        serialize_u8(u8) "a number";
        serialize_u16(u16) "a number";
        serialize_u32(u32) "a number";
        serialize_u64(u64) "a number";
        serialize_f32(f32) "a number";
        serialize_f64(f64) "a number";
        serialize_char(char) "a character";
        serialize_str(&str) "text";
        serialize_bytes(&[u8]) "bytes";
        serialize_none() "nothing";
        serialize_unit() "nothing";
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Written, Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<Written, Unwritable> {
        Ok(Fields::begin(name, OBJECT).finish())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<Written, Unwritable> {
        Ok(Fields::begin(name, OBJECT).finish())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Written, Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Written, Unwritable> {
        Ok(Written { name, data: serde_json::to_string(value)? })
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Unwritable> {
        Err(Unwritable::Nameless("a list"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unwritable> {
        Err(Unwritable::Nameless("a list"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unwritable> {
        Err(Unwritable::Nameless("a map"))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Fields, Unwritable> {
        Ok(Fields::begin(name, LIST))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Fields, Unwritable> {
        Ok(Fields::begin(name, LIST))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields, Unwritable> {
        Ok(Fields::begin(name, OBJECT))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Fields, Unwritable> {
        Ok(Fields::begin(name, OBJECT))
    }
}

macro_rules! fields {
    ($($kind:ident $method:ident($($key:ident)?);)*) => {
        $(impl $kind for Fields {
            type Ok = Written;
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), Unwritable> {
                self.add(fields!(@ $($key)?), value)
            }

            fn end(self) -> Result<Written, Unwritable> {
                Ok(self.finish())
            }
        })*
    };
    (@ $key:ident) => { Some($key) };
    (@) => { None };
}

fields! {
    SerializeStruct serialize_field(key);
    SerializeStructVariant serialize_field(key);
    SerializeTupleStruct serialize_field();
    SerializeTupleVariant serialize_field();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::lantern::module::types::Payload;
    use crate::data;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Empty,
        #[serde(rename = "One thing")]
        One(u64),
        Two(u64, String),
        Named {
            width: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<String>,
        },
    }

    #[derive(Serialize)]
    struct Reminded {
        order: String,
    }

    #[derive(Serialize)]
    struct Wrapped(Shape);

    fn written<T: Serialize>(value: &T) -> (&'static str, String) {
        let written = write(value).unwrap();
        (written.name, written.data)
    }

    #[test]
    fn variants_and_structs_have_names() {
        assert_eq!(written(&Shape::Empty), ("Empty", "{}".to_owned()));
        assert_eq!(written(&Shape::One(1)), ("One thing", "1".to_owned()));
        assert_eq!(written(&Wrapped(Shape::Two(1, "a\"".to_owned()))), ("Two", r#"[1,"a\""]"#.to_owned()));
        assert_eq!(written(&Shape::Named { width: 2, name: None }), ("Named", r#"{"width":2}"#.to_owned()));
        assert_eq!(written(&Reminded { order: "7".to_owned() }), ("Reminded", r#"{"order":"7"}"#.to_owned()));
    }

    #[test]
    fn what_is_written_can_be_read() {
        for shape in [Shape::Empty, Shape::One(1), Shape::Two(1, "b".to_owned()), Shape::Named { width: 1, name: None }]
        {
            let (name, data) = written(&shape);
            assert_eq!(data::read::<Shape>(name, &Payload::Json(data)).unwrap(), Some(shape));
        }
    }

    #[test]
    fn what_has_no_name_is_refused() {
        assert!(write(&7).unwrap_err().to_string().starts_with("a number has no name"));
        assert!(write("text").unwrap_err().to_string().starts_with("text has no name"));
        assert!(write(&serde_json::json!({})).unwrap_err().to_string().starts_with("a map has no name"));
    }
}
