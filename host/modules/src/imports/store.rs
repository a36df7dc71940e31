//! `wasi:config/store`: what was given with `--config key=value`.

use crate::{
    bindings::processor::wasi::config::store::{Error, Host},
    state::State,
};

/// The name under which the interface is served.
pub(super) const NAME: &str = "wasi:config/store@0.2.0-rc.1";

impl Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(Ok(self.deployment.settings.config.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self.deployment.settings.config.clone().into_iter().collect()))
    }
}
