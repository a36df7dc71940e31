//! SHA-256 digests: the address of a module and the proof of a read model.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::{SqlValue, documents::OWN};

/// A SHA-256 digest, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no digest: 64 hexadecimal digits are needed")]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first twelve digits: enough for people to tell modules apart.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix("sha256:").unwrap_or(text), &mut bytes)
            .map_err(|_| DigestError { text: text.into() })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What stands before a table and before a row, where a document has the length of its collection's name.
const TABLE: u64 = u64::MAX;
const ROW: u64 = u64::MAX - 1;

/// The digest of a read model: its documents in order of collection and key, then its SQL tables in order of their names
/// with their rows in order of their values. Each part is preceded by its length.
#[derive(Default)]
pub struct ReadModelDigest(Sha256);

impl ReadModelDigest {
    /// Adds the next document. Documents must come in ascending order of the bytes of collection and key. Those of the
    /// host's own collections are left out.
    pub fn add(&mut self, collection: &str, key: &str, value: &str) {
        if collection.starts_with(OWN) {
            return;
        }
        for part in [collection, key, value] {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part.as_bytes());
        }
    }

    /// Begins the next table. Tables must come in ascending order of the bytes of their names, after all documents.
    pub fn table(&mut self, name: &str, columns: &[String]) {
        self.0.update(TABLE.to_be_bytes());
        for part in [name].into_iter().chain(columns.iter().map(String::as_str)) {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part.as_bytes());
        }
    }

    /// Adds the next row of the table. Rows must come in an order that depends on nothing but their values.
    pub fn row(&mut self, values: &[SqlValue]) {
        self.0.update(ROW.to_be_bytes());
        for value in values {
            self.0.update((value.size() as u64).to_be_bytes());
            match value {
                SqlValue::Null => self.0.update(b"n"),
                SqlValue::Boolean(value) => self.0.update(if *value { b"t" } else { b"f" }),
                SqlValue::Integer(number) => {
                    self.0.update(b"i");
                    self.0.update(number.to_be_bytes());
                }
                SqlValue::Real(number) => {
                    self.0.update(b"r");
                    self.0.update(number.to_be_bytes());
                }
                SqlValue::Text(text) => {
                    self.0.update(b"s");
                    self.0.update(text.as_bytes());
                }
                SqlValue::Blob(bytes) => {
                    self.0.update(b"b");
                    self.0.update(bytes);
                }
            }
        }
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}
