//! Whom a server runs as: its package's user when root starts it, otherwise whoever starts it.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};

/// Whom a server runs as.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    /// The user who runs this program.
    Caller,
    /// The user that a package made for its server.
    Package { uid: u32, gid: u32 },
}

/// Whether this program runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Account {
    /// The account for a server whose package made the user `name`; only root can become another.
    pub(crate) fn of(name: Option<&str>) -> Result<Self> {
        let Some(name) = name.filter(|_| is_root()) else { return Ok(Self::Caller) };
        let users = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        let (uid, gid) = find(&users, name)
            .with_context(|| format!("there is no user `{name}`: the server's Debian package makes it"))?;
        Ok(Self::Package { uid, gid })
    }

    /// A program that will run as this account, with nothing of the caller's environment that could lead it astray.
    pub(crate) fn command(&self, program: impl AsRef<Path>, folder: &Path) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", folder)
            .current_dir(folder);
        if let Self::Package { uid, gid } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Gives it a file or an empty folder.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        match self {
            Self::Caller => Ok(()),
            Self::Package { uid, gid } => chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("{} could not be given to user {uid}", path.display())),
        }
    }

    /// Writes a file that only this account reads.
    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<()> {
        fs::write(path, "")
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)))
            .and_then(|()| fs::write(path, text))
            .with_context(|| format!("writing {}", path.display()))?;
        self.own(path)
    }
}

/// The ids of a user and of its group in the text of /etc/passwd.
fn find(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        found.then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\nbroken\npostgres-2:x:7:8::/:/bin/sh\npostgres:x:101:104:a:/b:/c\n";
        assert_eq!(find(users, "postgres"), Some((101, 104)));
        assert_eq!(find(users, "root"), Some((0, 0)));
        assert_eq!(find(users, "redis"), None);
    }
}
