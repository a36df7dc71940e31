//! Where the built things lie: the binary `lantern` and the guests.

use std::{
    env,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The target directory this test binary was built into, whatever it is called.
static TARGET: LazyLock<PathBuf> = LazyLock::new(|| {
    let test_binary = env::current_exe().unwrap();
    // <target>/debug/deps/lantern-<hash>
    test_binary.ancestors().nth(3).unwrap().to_path_buf()
});

static LANTERN: LazyLock<PathBuf> = LazyLock::new(|| match env::var_os("LANTERN_BIN") {
    Some(path) => built(PathBuf::from(path)),
    None => built(TARGET.join("debug").join(format!("lantern{}", env::consts::EXE_SUFFIX))),
});

/// The binary `lantern`; the variable `LANTERN_BIN` names another one.
pub fn lantern() -> &'static Path {
    &LANTERN
}

/// The component of a guest or an example, by the name of its package.
pub fn component(package: &str) -> PathBuf {
    let file = format!("{}.wasm", package.replace('-', "_"));
    built(TARGET.join("guests/wasm32-wasip2/release").join(file))
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[track_caller]
fn built(path: PathBuf) -> PathBuf {
    assert!(
        path.is_file(),
        "{} is not built: run `cargo xtask test`, which builds the guests and the host first",
        path.display()
    );
    path
}

/// A guest or example that does the same under another digest: a custom section more, which nobody reads.
pub fn variant(package: &str, number: u8) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    let mut bytes = std::fs::read(component(package)).unwrap();
    // Section 0, its size, the length of its name, the name, the content (WebAssembly, 5.5.3).
    bytes.extend([0, NAME.len() as u8 + 2, NAME.len() as u8]);
    bytes.extend(NAME);
    bytes.push(number);
    bytes
}
