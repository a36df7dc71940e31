//! The switch between the module as it is and its compiled component: the feature `component`.

use std::env;
use std::path::PathBuf;

/// Names the component that the tests run against.
const VARIABLE: &str = "LANTERN_TEST_COMPONENT";

/// The component that the tests run against; none without the feature.
#[cfg(not(feature = "component"))]
#[track_caller]
pub(crate) fn component() -> Option<PathBuf> {
    assert!(
        env::var_os(VARIABLE).is_none(),
        "{VARIABLE} is set, but the tests are built without an engine: add `--features lantern-testing/component`"
    );
    None
}

/// The component that the tests run against: the one the variable names, otherwise the release build of the package.
#[cfg(feature = "component")]
#[track_caller]
pub(crate) fn component() -> Option<PathBuf> {
    let path = env::var_os(VARIABLE).map_or_else(built, Into::into);
    assert!(
        path.is_file(),
        "there is no component {}: build it with `cargo build --release --target wasm32-wasip2`, or name another one \
         in {VARIABLE}",
        path.display()
    );
    Some(path)
}

#[cfg(feature = "component")]
#[track_caller]
fn built() -> PathBuf {
    let (Ok(package), Ok(test)) = (env::var("CARGO_PKG_NAME"), env::current_exe()) else {
        panic!("which component is meant? Run the tests with `cargo test`, or name it in {VARIABLE}");
    };
    // <target>/debug/deps/<test>
    let target = test.ancestors().nth(3).unwrap_or(&test);
    target.join("wasm32-wasip2/release").join(format!("{}.wasm", package.replace('-', "_")))
}
