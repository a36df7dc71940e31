//! Reading events and commands as values of the module's own types, and finding out which ones a type stands for.

use crate::bindings::lantern::module::types::Payload;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, Unexpected, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;
use std::cell::{Cell, OnceCell};
use std::fmt;

/// An event or command as a value of `T`; none when `T` has no variant for its type.
pub(crate) fn read<T: DeserializeOwned>(name: &str, data: &Payload) -> Result<Option<T>, Misfit> {
    match T::deserialize(Reader { name, data }) {
        Ok(data) => Ok(Some(data)),
        Err(Misfit::Unwanted) => Ok(None),
        Err(misfit) => Err(misfit),
    }
}

/// The text of data that is JSON.
pub(crate) fn json(data: &Payload) -> Result<&str, Misfit> {
    match data {
        Payload::Json(text) => Ok(text),
        Payload::Bytes(_) => Err(Misfit::Bytes),
    }
}

/// The types of events or commands that `T` has variants for; empty, which is all of them, when `T` is no enum or has an
/// `#[serde(other)]` variant.
pub(crate) fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let probe = Probe::default();
    // Always an error: a probe has no value to give. What was asked of it on the way is the answer.
    drop(T::deserialize(&probe));
    if probe.open.get() { &[] } else { probe.variants.get().copied().unwrap_or(&[]) }
}

/// Why an event is no value of a type.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// The type has no variant for the event's type.
    Unwanted,
    /// The data is no JSON at all.
    Bytes,
    /// The data is not the JSON the type expects.
    Json(serde_json::Error),
    /// The type's own code refused.
    Refused(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwanted => f.write_str("the type has no variant of that name"),
            Self::Bytes => f.write_str("it is bytes"),
            Self::Json(error) => error.fmt(f),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Misfit {}

impl From<serde_json::Error> for Misfit {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Refused(reason.to_string())
    }

    // Only the name of the event's type is ever looked up through this error; enums in the data use serde_json's.
    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::Unwanted
    }
}

/// Gives a type's name as the variant of an enum and the data as that variant's content.
#[derive(Clone, Copy)]
struct Reader<'de> {
    name: &'de str,
    data: &'de Payload,
}

impl<'de> Reader<'de> {
    fn json<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'de>>) -> serde_json::Result<T>,
    ) -> Result<T, Misfit> {
        let mut json = serde_json::Deserializer::from_str(json(self.data)?);
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Misfit;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_enum(self)
    }

    // `type Data = ()`: the module does not look at the data, so it is not read.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.json(|json| json.deserialize_option(visitor))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.json(|json| json.deserialize_any(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq tuple tuple_struct map struct
        identifier
    }
}

impl<'de> EnumAccess<'de> for Reader<'de> {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Misfit> {
        let name: StrDeserializer<'_, Misfit> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Reader<'de> {
    type Error = Misfit;

    // The data of a variant without fields is not read, whatever it is.
    fn unit_variant(self) -> Result<(), Misfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Misfit> {
        self.json(|json| seed.deserialize(json))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.json(|json| json.deserialize_tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Misfit> {
        self.json(|json| json.deserialize_struct("", fields, visitor))
    }
}

/// Answers no question, but remembers which variants a type has.
#[derive(Default)]
struct Probe {
    variants: OnceCell<&'static [&'static str]>,
    open: Cell<bool>,
}

impl Probe {
    fn nothing<T>() -> Result<T, Misfit> {
        Err(de::Error::invalid_type(Unexpected::Other("probe"), &"nothing"))
    }
}

impl<'de> Deserializer<'de> for &Probe {
    type Error = Misfit;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.variants.get_or_init(|| variants);
        visitor.visit_enum(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Misfit> {
        Probe::nothing()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for &Probe {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Misfit> {
        // No event type is empty: only an `#[serde(other)]` variant takes this name.
        let name: StrDeserializer<'_, Misfit> = "".into_deserializer();
        let variant = seed.deserialize(name)?;
        self.open.set(true);
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for &Probe {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        Probe::nothing()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Misfit> {
        Probe::nothing()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Misfit> {
        Probe::nothing()
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Misfit> {
        Probe::nothing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Placed {
        customer: String,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum OrderEvent {
        OrderPlaced(Placed),
        #[serde(rename = "Order shipped", alias = "OrderShipped")]
        Shipped {
            carrier: Option<String>,
        },
        OrderMoved(u64, u64),
        OrderClosed,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Open {
        OrderClosed,
        #[serde(other)]
        Other,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Wrapped(OrderEvent);

    fn parse<T: DeserializeOwned>(event_type: &str, data: &str) -> Result<Option<T>, String> {
        read(event_type, &Payload::Json(data.to_owned())).map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn the_event_type_chooses_the_variant() {
        assert_eq!(
            parse("OrderPlaced", r#"{"customer":"ada","x":1}"#),
            Ok(Some(OrderEvent::OrderPlaced(Placed { customer: "ada".to_owned() })))
        );
        assert_eq!(parse("Order shipped", "{}"), Ok(Some(OrderEvent::Shipped { carrier: None })));
        assert_eq!(
            parse("OrderShipped", r#"{"carrier":"dhl"}"#),
            Ok(Some(OrderEvent::Shipped { carrier: Some("dhl".to_owned()) }))
        );
        assert_eq!(parse("OrderMoved", "[1,2]"), Ok(Some(OrderEvent::OrderMoved(1, 2))));
        assert_eq!(parse("OrderClosed", "{\"any\":[]}"), Ok(Some(OrderEvent::OrderClosed)));
        assert_eq!(parse("OrderClosed", "{}"), Ok(Some(Wrapped(OrderEvent::OrderClosed))));
    }

    #[test]
    fn other_event_types_are_not_wanted() {
        assert_eq!(parse::<OrderEvent>("OrderLost", "{}"), Ok(None));
        assert_eq!(parse("OrderLost", "{}"), Ok(Some(Open::Other)));
    }

    #[test]
    fn an_unknown_variant_inside_the_data_is_an_error() {
        #[derive(Debug, PartialEq, Deserialize)]
        enum Colour {
            Red,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        enum Paint {
            Painted { colour: Colour },
        }
        assert_eq!(parse("Painted", r#"{"colour":"Red"}"#), Ok(Some(Paint::Painted { colour: Colour::Red })));
        let reason = parse::<Paint>("Painted", r#"{"colour":"Blue"}"#).unwrap_err();
        assert!(reason.starts_with("unknown variant `Blue`, expected `Red`"), "{reason}");
    }

    #[test]
    fn anything_else_is_read_from_the_data_of_every_event() {
        assert_eq!(parse("Any", r#"{"customer":"ada"}"#), Ok(Some(Placed { customer: "ada".to_owned() })));
        assert_eq!(parse("Any", "7"), Ok(Some(7_u64)));
        assert_eq!(parse("Any", "null"), Ok(Some(None::<u64>)));
        assert_eq!(parse("Any", "not JSON"), Ok(Some(())));
        assert_eq!(parse("Any", "[1]"), Ok(Some(serde_json::json!([1]))));
    }

    #[test]
    fn text_after_the_value_is_an_error() {
        assert!(parse::<Placed>("Any", r#"{"customer":"ada"} x"#).unwrap_err().starts_with("trailing characters"));
        assert!(
            parse::<OrderEvent>("OrderPlaced", r#"{"customer":"ada"} x"#)
                .unwrap_err()
                .starts_with("trailing characters")
        );
    }

    #[test]
    fn an_enum_says_which_events_it_wants() {
        assert_eq!(
            names::<OrderEvent>(),
            ["OrderPlaced", "Order shipped", "OrderShipped", "OrderMoved", "OrderClosed"]
        );
        assert_eq!(names::<Wrapped>(), names::<OrderEvent>());
        assert!(names::<Open>().is_empty());
        assert!(names::<()>().is_empty());
        assert!(names::<Placed>().is_empty());
        assert!(names::<serde_json::Value>().is_empty());
    }
}
