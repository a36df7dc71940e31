//! The environment variables that steer telemetry, read once. A value that cannot be read is a warning and its
//! default is used, so that a slip of the pen never keeps a host from starting.

use std::{collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

/// Environment variables, by name.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// Reads variables and gathers what is wrong with them.
pub(crate) struct Reader<'a> {
    environment: &'a Environment,
    warnings: Vec<String>,
}

impl Environment {
    /// The variables of this process. Those that are not Unicode are left out.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os();
        Self {
            variables: variables.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
        }
    }

    /// The value of a variable; as the specification asks, an empty one counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { variables: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(environment: &'a Environment) -> Self {
        Self { environment, warnings: Vec::new() }
    }

    /// The first of some variables that is set, with its name.
    pub(crate) fn text(&self, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
        names.iter().find_map(|name| Some((*name, self.environment.get(name)?)))
    }

    /// A number, where the variable holds one that is at least `least`.
    pub(crate) fn number<T: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        names: &[&'static str],
        least: T,
        default: T,
    ) -> T {
        let Some((name, text)) = self.text(names) else { return default };
        match text.parse::<T>() {
            Ok(number) if number >= least => number,
            _ => {
                self.warn(name, text, &format!("a number of at least {least} is needed; {default} is used"));
                default
            }
        }
    }

    /// A span of time, written in milliseconds.
    pub(crate) fn milliseconds(&mut self, names: &[&'static str], default: Duration) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.number(names, 1, default))
    }

    /// Whether a switch is on: `true` in any case. Anything but `true` and `false` is off, with a warning.
    pub(crate) fn switch(&mut self, name: &'static str) -> bool {
        let Some((_, text)) = self.text(&[name]) else { return false };
        if !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") {
            self.warn(name, text, "`true` or `false` is needed; `false` is used");
        }
        text.eq_ignore_ascii_case("true")
    }

    /// Notes that a variable's value is not used, and why.
    pub(crate) fn warn(&mut self, name: &str, value: &str, reason: &str) {
        self.warnings.push(format!("{name}=`{}` is not used: {reason}", value.escape_debug()));
    }

    /// What was wrong.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }
}

/// Pairs written `key=value,key=value`, values percent-encoded, as in `OTEL_RESOURCE_ATTRIBUTES` and the headers.
/// The second list names what is no pair, without its value, since a value may be a secret.
pub(crate) fn pairs(text: &str) -> (Vec<(String, String)>, Vec<String>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => good.push((key.trim().into(), percent_decoded(value))),
            Some(_) => bad.push("a pair without a key".into()),
            None => bad.push(format!("a part of {} characters without `=`", part.chars().count())),
        }
    }
    (good, bad)
}

/// The text with `%XX` replaced by what it stands for; what is no valid escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let text = text.trim();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2).and_then(hexadecimal)).flatten();
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.into())
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_a_warning_with_name_and_value() {
        let environment = Environment::from_iter([("A", "12"), ("B", "many"), ("C", "0"), ("D", " "), ("E", "yes")]);
        let mut reader = Reader::new(&environment);
        assert_eq!(reader.number(&["A"], 1, 5), 12);
        assert_eq!(reader.number(&["B"], 1, 5), 5);
        assert_eq!(reader.number(&["C"], 1, 5), 5);
        assert_eq!(reader.number(&["D"], 1, 5), 5, "an empty value counts as not set");
        assert_eq!(reader.number(&["X", "A"], 1, 5), 12, "the first that is set wins");
        assert!(!reader.switch("E"));
        let warnings = reader.into_warnings();
        assert_eq!(warnings.len(), 3);
        assert!(warnings[0].contains("B=`many`"), "{warnings:?}");
        assert!(warnings[1].contains("C=`0`") && warnings[1].contains("at least 1"), "{warnings:?}");
        assert!(warnings[2].contains("E=`yes`"), "{warnings:?}");
    }

    #[test]
    fn pairs_are_decoded_and_bad_ones_named_without_their_value() {
        let (good, bad) = pairs("a=1, b = x%20y%2Cz ,secret-without-key,=v,c=100%");
        assert_eq!(good, [("a", "1"), ("b", "x y,z"), ("c", "100%")].map(|(k, v)| (k.to_string(), v.to_string())));
        assert_eq!(bad, ["a part of 18 characters without `=`", "a pair without a key"]);
    }
}
