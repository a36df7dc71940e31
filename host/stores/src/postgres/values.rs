//! Values of SQL tables on their way to PostgreSQL and back.

use lantern_core::{SqlError, SqlValue};
use sqlx::{
    Column as _, Encode, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgValueRef, types::Oid},
};
use uuid::Uuid;

/// Parameters for a statement.
pub(super) fn arguments(values: &[SqlValue]) -> Result<PgArguments, SqlError> {
    use sqlx::Arguments as _;
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            SqlValue::Null => arguments.add(Nothing),
            SqlValue::Boolean(value) => arguments.add(*value),
            SqlValue::Integer(number) => arguments.add(*number),
            SqlValue::Real(number) => arguments.add(*number),
            SqlValue::Text(text) if text.contains('\0') => {
                return Err(SqlError::Refused(
                    "one of its texts has the character U+0000, which PostgreSQL cannot hold".into(),
                ));
            }
            SqlValue::Text(text) => arguments.add(text.as_ref()),
            SqlValue::Blob(bytes) => arguments.add(bytes.as_ref()),
        };
        added.map_err(|error| SqlError::Failed(error.to_string()))?;
    }
    Ok(arguments)
}

/// What tells the types of some values from those of others. A prepared statement is of one such row of types.
pub(super) fn types(values: &[SqlValue]) -> String {
    let letter = |value: &SqlValue| match value {
        SqlValue::Null => 'n',
        SqlValue::Boolean(_) => 'b',
        SqlValue::Integer(_) => 'i',
        SqlValue::Real(_) => 'r',
        SqlValue::Text(_) => 't',
        SqlValue::Blob(_) => 'x',
    };
    values.iter().map(letter).collect()
}

/// No value, of whatever type is asked for there.
struct Nothing;

impl Type<Postgres> for Nothing {
    fn type_info() -> PgTypeInfo {
        // The server finds out itself what is meant.
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Nothing {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

/// The values of a row.
pub(super) fn row(row: &PgRow) -> Result<Vec<SqlValue>, SqlError> {
    let values = row.columns().iter().enumerate().map(|(index, column)| {
        let raw = row.try_get_raw(index).map_err(|error| SqlError::Failed(error.to_string()))?;
        value(row, index, &raw).map_err(|reason| SqlError::Failed(format!("column `{}` {reason}", column.name())))
    });
    values.collect()
}

fn value(row: &PgRow, index: usize, raw: &PgValueRef<'_>) -> Result<SqlValue, String> {
    if raw.is_null() {
        return Ok(SqlValue::Null);
    }
    let unread = |error: sqlx::Error| format!("cannot be read: {error}");
    let kind = raw.type_info().name().to_ascii_lowercase();
    Ok(match kind.as_str() {
        "bool" => SqlValue::Boolean(row.try_get(index).map_err(unread)?),
        "int2" => SqlValue::Integer(row.try_get::<i16, _>(index).map_err(unread)?.into()),
        "int4" => SqlValue::Integer(row.try_get::<i32, _>(index).map_err(unread)?.into()),
        "int8" => SqlValue::Integer(row.try_get(index).map_err(unread)?),
        "float4" => SqlValue::Real(row.try_get::<f32, _>(index).map_err(unread)?.into()),
        "float8" => SqlValue::Real(row.try_get(index).map_err(unread)?),
        "text" | "varchar" | "bpchar" | "name" | "\"char\"" | "unknown" => {
            SqlValue::Text(row.try_get::<&str, _>(index).map_err(unread)?.into())
        }
        "bytea" => SqlValue::Blob(row.try_get::<Vec<u8>, _>(index).map_err(unread)?.into()),
        "uuid" => SqlValue::Text(row.try_get::<Uuid, _>(index).map_err(unread)?.to_string().into()),
        "numeric" => numeric(raw.as_bytes().map_err(|error| error.to_string())?)?,
        "json" => SqlValue::Text(utf8(raw.as_bytes().map_err(|error| error.to_string())?)?.into()),
        // The binary form begins with its version.
        "jsonb" => SqlValue::Text(
            utf8(raw.as_bytes().map_err(|error| error.to_string())?.get(1..).unwrap_or_default())?.into(),
        ),
        other => return Err(format!("has the type `{other}`: cast it to text, a number or bytes")),
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// A decimal number: a whole number where it is one that fits, otherwise its exact text. Its binary form is a row of digits
/// to the base of 10,000.
fn numeric(bytes: &[u8]) -> Result<SqlValue, String> {
    const NEGATIVE: i16 = 0x4000;
    let mut words = bytes.chunks_exact(2).map(|word| i16::from_be_bytes([word[0], word[1]]));
    let mut word = || words.next().ok_or_else(|| "is no number".to_owned());
    let (count, weight, sign, scale) = (word()?, word()?, word()?, word()?);
    if sign != 0 && sign != NEGATIVE {
        return Ok(SqlValue::Text(
            if sign as u16 == 0xC000 {
                "NaN"
            } else if sign as u16 == 0xD000 {
                "Infinity"
            } else {
                "-Infinity"
            }
            .into(),
        ));
    }
    let digits = (0..count).map(|_| word()).collect::<Result<Vec<_>, _>>()?;
    let digit =
        |place: i16| usize::try_from(weight - place).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0);
    let mut text = String::new();
    for place in (0..=weight.max(0)).rev() {
        text.push_str(&format!("{:04}", digit(place)));
    }
    let mut text = text.trim_start_matches('0').to_owned();
    if text.is_empty() {
        text.push('0');
    }
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale > 0 {
        let mut fraction = String::new();
        for place in 1..=i16::try_from(scale.div_ceil(4)).unwrap_or(i16::MAX) {
            fraction.push_str(&format!("{:04}", digit(-place)));
        }
        fraction.truncate(scale);
        text = format!("{text}.{fraction}");
    }
    if sign == NEGATIVE {
        text.insert(0, '-');
    }
    Ok(text.parse().map_or_else(|_| SqlValue::Text(text.as_str().into()), SqlValue::Integer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_are_exact() {
        let read =
            |words: &[i16]| numeric(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>()).unwrap();
        let text = |text: &str| SqlValue::Text(text.into());
        assert_eq!(read(&[0, 0, 0, 0]), SqlValue::Integer(0));
        assert_eq!(read(&[2, 1, 0, 0, 1, 2345]), SqlValue::Integer(12345));
        assert_eq!(read(&[1, 1, 0x4000, 0, 1]), SqlValue::Integer(-10_000));
        assert_eq!(read(&[2, 0, 0, 2, 12, 3400]), text("12.34"));
        assert_eq!(read(&[1, -1, 0x4000, 3, 50]), text("-0.005"));
        assert_eq!(read(&[1, 5, 0, 0, 1]), text("100000000000000000000"));
        assert_eq!(read(&[0, 0, 0xC000_u16.cast_signed(), 0]), text("NaN"));
    }
}
