//! Points in time, as the log counts them, and their text.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Add;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z.
///
/// Its text, in documents too, is RFC 3339 in UTC with three digits after the point, or six or nine where they are needed:
/// `2011-09-30T22:38:44.546Z`. Between times of the same number of digits the order of the texts is the order of the times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The time so many nanoseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is, in nanoseconds; negative when it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    fn write(self, text: &mut [u8; 30]) -> usize {
        let (seconds, fraction) = (self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND));
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = date_of_day(days);
        *text = *b"0000-00-00T00:00:00.000000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], second / 3600);
        digits(&mut text[14..16], second / 60 % 60);
        digits(&mut text[17..19], second % 60);
        digits(&mut text[20..29], fraction);
        let length = match fraction {
            f if f % 1_000_000 == 0 => 24,
            f if f % 1_000 == 0 => 27,
            _ => 30,
        };
        text[length - 1] = b'Z';
        length
    }

    fn with_text<R>(self, f: impl FnOnce(&str) -> R) -> R {
        let mut text = [0; 30];
        let length = self.write(&mut text);
        // Cannot fail: `write` leaves nothing but ASCII.
        f(str::from_utf8(&text[..length]).expect("ASCII"))
    }
}

/// A while later; the last time there is when that is beyond it.
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanoseconds = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.pad(text))
    }
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> Self {
        let distance = Duration::from_nanos(time.0.unsigned_abs());
        if time.0 < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTime(String);

impl fmt::Display for InvalidTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no time; write it as in 2011-09-30T22:38:44.546Z, between the years 1678 and 2261", self.0)
    }
}

impl std::error::Error for InvalidTime {}

/// Reads RFC 3339, with any offset; digits beyond nanoseconds are dropped.
impl FromStr for Time {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        parse(text.as_bytes()).map(Self).ok_or_else(|| InvalidTime(text.to_owned()))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as RFC 3339 text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

fn digits(text: &mut [u8], mut number: i64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years run from March here, so that the leap day is the last one, and are counted in cycles of 400.
fn date_of_day(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

/// The inverse of [`date_of_day`].
fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day = (153 * month + 2) / 5 + day - 1;
    cycle * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

fn parse(text: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?
            .iter()
            .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
    };
    let sign = |at: usize, allowed: &[u8]| text.get(at).filter(|sign| allowed.contains(sign)).copied();

    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    sign(4, b"-").and(sign(7, b"-")).and(sign(10, b"Tt ")).and(sign(13, b":")).and(sign(16, b":"))?;
    let days = day_of_date(year, month, day);
    // A leap second counts as the first second of the next minute.
    if !(1..=12).contains(&month) || date_of_day(days) != (year, month, day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }

    let mut at = 19;
    let mut fraction = 0;
    if sign(at, b".").is_some() {
        let length = text[at + 1..].iter().take_while(|digit| digit.is_ascii_digit()).count();
        let read = length.min(9);
        fraction = number(at + 1, at + 1 + read)? * 10_i64.pow(9 - read as u32);
        at += 1 + length;
        if length == 0 {
            return None;
        }
    }
    let offset = match sign(at, b"Zz+-")? {
        b'Z' | b'z' if text.len() == at + 1 => 0,
        direction @ (b'+' | b'-') if text.len() == at + 6 => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            sign(at + 3, b":").filter(|_| hours <= 23 && minutes <= 59)?;
            (hours * 60 + minutes) * if direction == b'+' { 60 } else { -60 }
        }
        _ => return None,
    };
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    i64::try_from(i128::from(seconds) * i128::from(SECOND) + i128::from(fraction)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanoseconds(text: &str) -> Option<i64> {
        text.parse().ok().map(Time::nanoseconds)
    }

    #[test]
    fn text_has_as_many_digits_as_needed() {
        for (nanoseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_317_422_324_546_000_000, "2011-09-30T22:38:44.546Z"),
            (1_317_422_324_546_700_000, "2011-09-30T22:38:44.546700Z"),
            (1_317_422_324_000_000_001, "2011-09-30T22:38:44.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(Time::from_nanoseconds(nanoseconds).to_string(), text);
            assert_eq!(text.parse(), Ok(Time::from_nanoseconds(nanoseconds)));
        }
    }

    #[test]
    fn every_day_survives_the_way_there_and_back() {
        let mut before = Time::from_nanoseconds(i64::MIN).to_string();
        for day in -106_000..106_000 {
            let time = Time::from_nanoseconds(day * DAY * SECOND);
            let text = time.to_string();
            assert!(text[..10] > before[..10], "{text} after {before}");
            assert_eq!(text.parse(), Ok(time));
            before = text;
        }
    }

    #[test]
    fn offsets_and_odd_spellings_are_read() {
        let time = nanoseconds("2011-09-30T22:38:44.546Z");
        assert!(time.is_some());
        for text in
            ["2011-10-01T00:38:44.546+02:00", "2011-09-30t17:08:44.546-05:30", "2011-09-30 22:38:44.5460000000009z"]
        {
            assert_eq!(nanoseconds(text), time, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2011",
            "2011-09-30",
            "2011-09-30T22:38:44",
            "2011-09-30T22:38:44.Z",
            "2011-09-30T22:38:44.5",
            "2011-02-29T00:00:00Z",
            "2011-13-01T00:00:00Z",
            "2011-00-01T00:00:00Z",
            "2011-09-30T24:00:00Z",
            "2011-09-30T22:38:44+2:00",
            "2011-09-30T22:38:44Z ",
            "2011/09/30T22:38:44Z",
            "2011-09-30T22:38:44+24:00",
            "9999-01-01T00:00:00Z",
            "２011-09-30T22:38:44Z",
        ] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
        assert!(serde_json::from_str::<Time>("\"now\"").unwrap_err().to_string().contains("write it as in"));
    }

    #[test]
    fn documents_hold_the_text() {
        let time = Time::from_nanoseconds(1_317_422_324_546_000_000);
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(json, "\"2011-09-30T22:38:44.546Z\"");
        assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
    }
}
