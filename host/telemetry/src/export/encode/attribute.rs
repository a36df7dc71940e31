//! Attributes: a key and a value of any kind.

use serde_json::Value;

use super::wire;

/// Field numbers of `KeyValue`, `AnyValue` and `ArrayValue`.
mod value {
    pub(super) const KEY: u8 = 1;
    pub(super) const VALUE: u8 = 2;
    pub(super) const STRING: u8 = 1;
    pub(super) const BOOL: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const DOUBLE: u8 = 4;
    pub(super) const ARRAY: u8 = 5;
    pub(super) const ITEM: u8 = 1;
}

/// An attribute with a text, all lengths known beforehand: the usual one of a handle span.
pub(super) fn text(buffer: &mut Vec<u8>, field: u8, key: &str, text: &str) {
    let inner = wire::field_length(text.len());
    wire::length(buffer, field, wire::field_length(key.len()) + wire::field_length(inner));
    wire::bytes(buffer, value::KEY, key.as_bytes());
    wire::length(buffer, value::VALUE, inner);
    wire::bytes(buffer, value::STRING, text.as_bytes());
}

pub(super) fn int(buffer: &mut Vec<u8>, field: u8, key: &str, number: u64) {
    wire::message(buffer, field, |buffer| {
        wire::bytes(buffer, value::KEY, key.as_bytes());
        wire::message(buffer, value::VALUE, |buffer| wire::number(buffer, value::INT, number));
    });
}

pub(super) fn attribute(buffer: &mut Vec<u8>, field: u8, key: &str, of: &Value) {
    wire::message(buffer, field, |buffer| {
        wire::bytes(buffer, value::KEY, key.as_bytes());
        wire::message(buffer, value::VALUE, |buffer| any(buffer, of));
    });
}

/// An `AnyValue`. Lists of plain values stay lists; what is deeper travels as JSON text, which collectors show well.
fn any(buffer: &mut Vec<u8>, of: &Value) {
    match of {
        Value::Null => {}
        Value::Bool(yes) => wire::number(buffer, value::BOOL, (*yes).into()),
        Value::String(text) => wire::bytes(buffer, value::STRING, text.as_bytes()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            // A negative number travels as its two's complement.
            (Some(int), _) => wire::number(buffer, value::INT, int as u64),
            (None, Some(float)) => wire::fixed64(buffer, value::DOUBLE, float.to_bits()),
            (None, None) => wire::bytes(buffer, value::STRING, number.to_string().as_bytes()),
        },
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            wire::message(buffer, value::ARRAY, |buffer| {
                items.iter().for_each(|item| wire::message(buffer, value::ITEM, |buffer| any(buffer, item)));
            });
        }
        Value::Array(_) | Value::Object(_) => wire::bytes(buffer, value::STRING, of.to_string().as_bytes()),
    }
}
