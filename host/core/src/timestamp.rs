//! Points in time, in nanoseconds since the epoch, read and written as RFC 3339.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, years 1678 to 2261. Shown in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Why a text is no timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no time: write RFC 3339 between the years 1678 and 2261, for example `2026-11-21T09:30:00Z`")]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// This point moved forward by a duration; the last representable point when it would lie beyond.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to this point; zero when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|time| i64::try_from(time.unix_timestamp_nanos()).ok())
            .map(Self)
            .ok_or_else(|| TimestampError { text: text.into() })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every i64 of nanoseconds lies in the years 1677 to 2262, which both calls can represent.
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0)).map_err(|_| fmt::Error)?;
        f.pad(&time.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_and_shown_in_utc() {
        let time: Timestamp = "2011-10-01T00:38:44.546+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2011-09-30T22:38:44.546Z");
        assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn bad_times_are_refused() {
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!("9999-01-01T00:00:00Z".parse::<Timestamp>().is_err());
    }
}
