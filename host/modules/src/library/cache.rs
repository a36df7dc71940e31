//! Compiled code on disk, so that a host starts without compiling. Everything here can be made again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lantern_core::Digest;
use wasmtime::{Engine, component::Component};

use super::shelf::{remove, write};
use crate::engine::compatibility;

/// The compiled code for one engine: for each module a file and its checksum.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the part of a folder that is for this engine, and removes the parts for other ones.
    pub(super) fn open(root: &Path, engine: &Engine) -> io::Result<Self> {
        let folder = root.join(compatibility(engine));
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path != folder && path.is_dir() {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(Self { folder })
    }

    /// The compiled code of a module; nothing when it is missing or not as it was written.
    pub(super) fn get(&self, digest: Digest, engine: &Engine) -> Option<Component> {
        let (code, checksum) = self.paths(digest);
        let expected = fs::read_to_string(&checksum).ok()?;
        let is_whole = Digest::of(&fs::read(&code).ok()?).to_string() == expected.trim();
        if !is_whole {
            tracing::warn!(file = %code.display(), "the compiled code is damaged: it is compiled again");
            return None;
        }
        match load(&code, engine) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(file = %code.display(), %error, "the compiled code cannot be used: it is compiled again");
                None
            }
        }
    }

    /// Keeps the compiled code of a module. The checksum is written last: code without it is not used.
    pub(super) fn put(&self, digest: Digest, component: &Component) -> io::Result<()> {
        let (code, checksum) = self.paths(digest);
        let bytes = component.serialize().map_err(io::Error::other)?;
        write(&code, &bytes)?;
        write(&checksum, Digest::of(&bytes).to_string().as_bytes())
    }

    /// Removes the compiled code of a module.
    pub(super) fn remove(&self, digest: Digest) -> io::Result<()> {
        let (code, checksum) = self.paths(digest);
        remove(&checksum)?;
        remove(&code)
    }

    fn paths(&self, digest: Digest) -> (PathBuf, PathBuf) {
        (self.folder.join(format!("{digest}.cwasm")), self.folder.join(format!("{digest}.sum")))
    }
}

#[expect(unsafe_code, reason = "the engine can only load compiled code on its caller's word that it made it")]
fn load(code: &Path, engine: &Engine) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by `Cache::put` from `Component::serialize`, which the checksum beside it has just
    // confirmed, into the data folder of this host, which is trusted as the host's own program is. It is never changed in
    // place: it is replaced by a rename and removed by name, both of which leave a mapped file as it is.
    unsafe { Component::deserialize_file(engine, code) }
}
