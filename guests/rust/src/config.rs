//! The configuration of the deployment: what was given with `--config key=value`.

use crate::Failure;
use crate::bindings::wasi::config::store::Error;
use crate::host::store;
use std::str::FromStr;

/// The value of a key, or none.
pub fn get(key: &str) -> Result<Option<String>, Failure> {
    store::get(key).map_err(|error| match error {
        Error::Upstream(reason) | Error::Io(reason) => {
            Failure::transient(format_args!("cannot read the configuration key `{key}`: {reason}"))
        }
    })
}

/// The value of a key as a number, a flag or whatever else can be parsed, or `default` when the key is not set.
pub fn get_or<T: FromStr>(key: &str, default: T) -> Result<T, Failure> {
    match get(key)? {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| {
            Failure::permanent(format_args!(
                "the configuration key `{key}` is `{text}`, which is no {}; deploy with `--config {key}=…`",
                std::any::type_name::<T>()
            ))
        }),
    }
}
