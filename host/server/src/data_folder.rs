//! The data folder: what lies where, and the lock that keeps a second host out.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// A data folder that is this host's alone for as long as this value lives.
///
/// The system gives the lock back when the process ends, however it ends, so a crash leaves nothing to clean up.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    /// Another host has it.
    #[error(
        "the data folder {path} is in use by another host{}: stop that one, or give this one a folder of its own with \
         --data",
        owner.as_ref().map(|owner| format!(" (process {owner})")).unwrap_or_default()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process id of that host, where it can be read.
        owner: Option<String>,
    },
    /// It cannot be made or written.
    #[error("the data folder {path} cannot be used: {error}; name another with --data")]
    Unusable {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl DataFolder {
    /// Makes the folder where it is not there, and takes its lock.
    pub(crate) fn take(path: &Path) -> Result<Self, DataFolderError> {
        let unusable = |error| DataFolderError::Unusable { path: path.into(), error };
        fs::create_dir_all(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        // What is in the file is the other host's until the lock is ours.
        let file = options.read(true).write(true).create(true).truncate(false).open(path.join("lock"));
        let mut file = file.map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataFolderError::InUse { path: path.into(), owner: owner(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        sign(&mut file).map_err(unusable)?;
        Ok(Self { path: path.into(), _lock: file })
    }

    /// The file of the log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log.db")
    }

    /// The file of the journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal.db")
    }

    /// The file of snapshots.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots.db")
    }

    /// The folder of modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.path.join("modules")
    }

    /// The folder of read models.
    pub(crate) fn read_models(&self) -> PathBuf {
        self.path.join("read-models")
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn owner(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_is_refused_and_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataFolder::take(&path).unwrap();
        let error = DataFolder::take(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DataFolder::take(&path).unwrap();
    }

    #[test]
    fn a_file_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DataFolder::take(&path).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
