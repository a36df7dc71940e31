//! The few rules of the protobuf wire format that spans need, writing straight into a buffer.

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

/// Field numbers up to 15 fit one byte of key together with the wire type; 16 and more take two.
fn key(buffer: &mut Vec<u8>, field: u8, wire_type: u8) {
    varint(buffer, u64::from(field) << 3 | u64::from(wire_type));
}

fn varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

const fn varint_length(value: usize) -> usize {
    (64 - (value as u64 | 1).leading_zeros() as usize).div_ceil(7)
}

/// How long a field of so many bytes is, for a field number below 16.
pub(super) const fn field_length(content: usize) -> usize {
    1 + varint_length(content) + content
}

pub(super) fn number(buffer: &mut Vec<u8>, field: u8, value: u64) {
    key(buffer, field, VARINT);
    varint(buffer, value);
}

pub(super) fn fixed64(buffer: &mut Vec<u8>, field: u8, value: u64) {
    key(buffer, field, FIXED64);
    buffer.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn fixed32(buffer: &mut Vec<u8>, field: u8, value: u32) {
    key(buffer, field, FIXED32);
    buffer.extend_from_slice(&value.to_le_bytes());
}

/// Bytes, text or a message that is encoded already.
pub(super) fn bytes(buffer: &mut Vec<u8>, field: u8, value: &[u8]) {
    length(buffer, field, value.len());
    buffer.extend_from_slice(value);
}

/// The head of a field whose content the caller writes next.
pub(super) fn length(buffer: &mut Vec<u8>, field: u8, content: usize) {
    key(buffer, field, LENGTH);
    varint(buffer, content as u64);
}

/// A message of unknown length: room for a length below 128 is left, and what follows moves when more is needed.
pub(super) fn message(buffer: &mut Vec<u8>, field: u8, content: impl FnOnce(&mut Vec<u8>)) {
    key(buffer, field, LENGTH);
    let at = buffer.len();
    buffer.push(0);
    content(buffer);
    let written = buffer.len() - at - 1;
    if written < 0x80 {
        buffer[at] = written as u8;
        return;
    }
    let more = varint_length(written) - 1;
    buffer.resize(buffer.len() + more, 0);
    buffer.copy_within(at + 1..at + 1 + written, at + 1 + more);
    let mut rest = written;
    for byte in &mut buffer[at..at + more] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    buffer[at + more] = rest as u8;
}
