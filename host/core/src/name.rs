//! The name under which a module is deployed, which is also the name of its folder.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The name under which a module is deployed: 1 to 64 of `a-z A-Z 0-9 _ -`, beginning with a letter or digit. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no name: 1 to 64 letters, digits, `_` and `-` are allowed, the first a letter or digit")]
pub struct NameError {
    text: String,
}

impl Name {
    /// Checks and takes a name.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let text = text.into();
        let fits = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(Self(text)) } else { Err(NameError { text: text.to_string() }) }
    }

    /// The name of what the host keeps for something that is configured and not deployed, for example
    /// `publish.orders`. No text is read as such a name, so nothing that users deploy can have it.
    #[must_use]
    pub fn reserved(sort: &str, name: &Self) -> Self {
        Self(format!("{sort}.{name}").into())
    }

    /// Reads a name that a store has kept, which may be a [`Self::reserved`] one.
    pub fn stored(text: &str) -> Result<Self, NameError> {
        match text.split_once('.') {
            None => Self::new(text),
            Some((sort, name)) => Ok(Self::reserved(Self::new(sort)?.as_str(), &Self::new(name)?)),
        }
    }

    /// Whether it is a [`Self::reserved`] one.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.contains('.')
    }

    /// The name of what a [`Self::reserved`] one is for; any other as it is.
    #[must_use]
    pub fn plain(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(_, name)| name)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_name_is_nobody_elses() {
        let orders = Name::new("orders").unwrap();
        let reserved = Name::reserved("publish", &orders);
        assert_eq!(reserved.as_str(), "publish.orders");
        assert!(reserved.is_reserved() && !orders.is_reserved());
        assert!(Name::new("publish.orders").is_err());
        assert_eq!((Name::stored("publish.orders"), Name::stored("orders")), (Ok(reserved.clone()), Ok(orders)));
        assert!(
            Name::stored("publish.").is_err() && Name::stored(".orders").is_err() && Name::stored("a.b.c").is_err()
        );
        assert_eq!(reserved.plain(), "orders");
    }
}
