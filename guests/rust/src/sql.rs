//! SQL tables: statements with parameters, and rows read as what they are.

use crate::bindings::lantern::module::{sql as wit, types};
use crate::host::sql;
use crate::{EventId, Time};
use serde::de::value::{Error as Invalid, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;
use std::rc::Rc;

/// A change to the tables of a module. It runs once in a read model, before its first event or when a module that has it
/// takes over. Leave those that were deployed as they are, and add new ones behind them.
///
/// ```
/// # use lantern_guest::sql::Migration;
/// const MIGRATIONS: &[Migration] = &[
///     Migration::new("orders", "create table orders (id text primary key, total integer not null)"),
///     Migration::new("orders by total", "create index orders_by_total on orders (total)"),
/// ];
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    name: &'static str,
    sql: &'static str,
}

impl Migration {
    /// A change with a name that says what it is for, and its statements, divided by `;`.
    #[must_use]
    pub const fn new(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql }
    }
}

pub(crate) fn migrations(migrations: &[Migration]) -> Vec<types::Migration> {
    let owned = |migration: &Migration| types::Migration { name: migration.name.into(), sql: migration.sql.into() };
    migrations.iter().map(owned).collect()
}

/// A value of a row or a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// True or false. SQLite keeps them as the integers 1 and 0.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// Why a statement had no effect, or what it found cannot be read so. Through `?` it is a permanent failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It would leave the module's tables, or would not do the same a second time.
    Refused(String),
    /// It is wrong.
    Failed(String),
    /// It breaks a constraint of a table.
    Constraint(String),
    /// It found, took or wrote more than the limits of the deployment allow.
    Exceeded(String),
    /// A row does not fit the type it is read as.
    Unreadable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "the statement is refused: {reason}"),
            Self::Failed(reason) => write!(f, "the statement failed: {reason}"),
            Self::Constraint(reason) => write!(f, "the statement breaks a constraint: {reason}"),
            Self::Exceeded(reason) => write!(f, "the statement went over its budget: {reason}"),
            Self::Unreadable(reason) => write!(f, "a row cannot be read so: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// Runs one statement and answers how many rows it changed.
///
/// ```no_run
/// # use lantern_guest::prelude::*;
/// # fn handle(id: &str, total: i64) -> Result<(), Failure> {
/// sql::execute("insert into orders (id, total) values ($1, $2)", params![id, total])?;
/// # Ok(())
/// # }
/// ```
pub fn execute(statement: &str, parameters: Vec<Value>) -> Result<u64, Error> {
    let parameters = parameters.into_iter().map(Into::into).collect::<Vec<_>>();
    Ok(sql::execute(statement, &parameters)?)
}

/// Runs one statement and answers the rows it found: those of a `select`, or of `returning`.
///
/// ```no_run
/// # use lantern_guest::prelude::*;
/// # fn handle() -> Result<(), Failure> {
/// for row in sql::query("select id, total from orders where total > $1", params![100])? {
///     let (id, total): (String, i64) = row.read()?;
///     info!("{id} {total}");
/// }
/// # Ok(())
/// # }
/// ```
pub fn query(statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, Error> {
    let parameters = parameters.into_iter().map(Into::into).collect::<Vec<_>>();
    let wit::Rows { columns, rows } = sql::query(statement, &parameters)?;
    let columns: Rc<[String]> = columns.into();
    let row = |values: Vec<wit::Value>| Row {
        columns: columns.clone(),
        values: values.into_iter().map(Into::into).collect(),
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Runs one statement and answers the first row it found.
pub fn query_one(statement: &str, parameters: Vec<Value>) -> Result<Option<Row>, Error> {
    Ok(query(statement, parameters)?.into_iter().next())
}

/// A row that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    columns: Rc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// The value of a column, by its place from 0.
    pub fn get<T: DeserializeOwned>(&self, column: usize) -> Result<T, Error> {
        let Some(value) = self.values.get(column) else {
            return Err(Error::Unreadable(format!("it has {} columns, none is at {column}", self.values.len())));
        };
        let name = self.columns.get(column).map_or("", String::as_str);
        T::deserialize(value).map_err(|error| Error::Unreadable(format!("column `{name}`: {error}")))
    }

    /// The whole row: a struct with a field for each column, or a tuple of the columns in their order.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(self).map_err(|error| Error::Unreadable(error.to_string()))
    }

    /// The values, in the order of the columns.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

/// Parameters for a statement, in the order of `$1`, `$2` …: `params![order.id, total, None::<i64>]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::sql::Value::from($value)),*]
    };
}

macro_rules! from {
    ($($type:ty => |$value:ident| $variant:expr),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                use Value::*;
                $variant
            }
        }
    )*};
}

from! {
    bool => |value| Boolean(value),
    i8 => |number| Integer(number.into()),
    i16 => |number| Integer(number.into()),
    i32 => |number| Integer(number.into()),
    i64 => |number| Integer(number),
    u8 => |number| Integer(number.into()),
    u16 => |number| Integer(number.into()),
    u32 => |number| Integer(number.into()),
    u64 => |number| Integer(whole(number)),
    usize => |number| Integer(whole(number as u64)),
    f32 => |number| Real(number.into()),
    f64 => |number| Real(number),
    &str => |text| Text(text.to_owned()),
    &String => |text| Text(text.clone()),
    String => |text| Text(text),
    &[u8] => |bytes| Blob(bytes.to_vec()),
    Vec<u8> => |bytes| Blob(bytes),
    Time => |time| Integer(time.nanoseconds()),
    EventId => |id| Text(id.to_string()),
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A number as tables hold it.
///
/// # Panics
///
/// When it is larger than any they can hold.
fn whole(number: u64) -> i64 {
    i64::try_from(number)
        .unwrap_or_else(|_| panic!("{number} is larger than any integer of a table: hand it over as text"))
}

impl From<Value> for wit::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Integer(number) => Self::Integer(number),
            Value::Real(number) => Self::Real(number),
            Value::Text(text) => Self::Text(text),
            Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

impl From<wit::Value> for Value {
    fn from(value: wit::Value) -> Self {
        match value {
            wit::Value::Null => Self::Null,
            wit::Value::Boolean(value) => Self::Boolean(value),
            wit::Value::Integer(number) => Self::Integer(number),
            wit::Value::Real(number) => Self::Real(number),
            wit::Value::Text(text) => Self::Text(text),
            wit::Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::Refused(reason) => Self::Refused(reason),
            wit::Error::Failed(reason) => Self::Failed(reason),
            wit::Error::Constraint(reason) => Self::Constraint(reason),
            wit::Error::Exceeded(reason) => Self::Exceeded(reason),
        }
    }
}

impl<'de> IntoDeserializer<'de, Invalid> for &'de Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Real(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Blob(bytes) => visitor.visit_borrowed_bytes(bytes),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self {
            Value::Integer(number @ (0 | 1)) => visitor.visit_bool(*number == 1),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        if *self == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self {
            Value::Blob(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        match self {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(Invalid::custom("a variant is read from a text")),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for &'de Row {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_map(MapDeserializer::new(self.columns.iter().map(String::as_str).zip(&self.values)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Invalid> {
        if length != self.values.len() {
            return Err(Invalid::custom(format!("it has {} columns, {length} are read", self.values.len())));
        }
        visitor.visit_seq(SeqDeserializer::new(self.values.iter()))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_seq(SeqDeserializer::new(self.values.iter()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum State {
        Paid,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        id: String,
        total: i64,
        paid: bool,
        note: Option<String>,
        state: State,
    }

    fn row(values: Vec<(&str, Value)>) -> Row {
        let (columns, values): (Vec<_>, _) = values.into_iter().map(|(name, value)| (name.to_owned(), value)).unzip();
        Row { columns: columns.into(), values }
    }

    #[test]
    fn rows_are_read_as_structs_and_tuples() {
        let found = row(vec![
            ("id", "a".into()),
            ("total", 5.into()),
            ("paid", 1.into()),
            ("note", Value::Null),
            ("state", "paid".into()),
        ]);
        let order = Order { id: "a".into(), total: 5, paid: true, note: None, state: State::Paid };
        assert_eq!(found.read::<Order>(), Ok(order));
        assert_eq!(row(vec![("a", 1.into()), ("b", 2.5.into())]).read::<(u8, f64)>(), Ok((1, 2.5)));
        assert_eq!(found.get::<i64>(1), Ok(5));
        assert_eq!(found.get::<Option<String>>(3), Ok(None));
        let wrong = found.get::<i64>(0).unwrap_err().to_string();
        assert!(wrong.contains("column `id`") && wrong.contains("a row cannot be read so"), "{wrong}");
        assert!(found.get::<i64>(9).unwrap_err().to_string().contains("none is at 9"));
        assert!(found.read::<(i64,)>().unwrap_err().to_string().contains("5 columns"));
    }

    #[test]
    fn parameters_are_made_of_what_there_is() {
        let made = crate::params![true, 7_u64, "text", None::<i64>, vec![1_u8], 0.5];
        let wanted = [
            Value::Boolean(true),
            Value::Integer(7),
            Value::Text("text".into()),
            Value::Null,
            Value::Blob(vec![1]),
            Value::Real(0.5),
        ];
        assert_eq!(made, wanted);
    }

    #[test]
    #[should_panic(expected = "hand it over as text")]
    fn a_number_that_does_not_fit_is_no_other_number() {
        let _ = Value::from(u64::MAX);
    }
}
