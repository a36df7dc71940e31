//! A Python with the clients of other makers, for the tests of interoperation: a virtual environment in the target folder.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    packages,
    repository::{self, Repository},
};

/// The variable that leads tests to it.
pub(crate) const VARIABLE: &str = "LANTERN_TEST_PYTHON";

/// What it is to have.
const REQUIREMENTS: &str = "tests/python/requirements.txt";

/// Makes the environment, or leaves the one that has what is required; answers its Python.
///
/// # Errors
/// When Python or what is required cannot be installed: the text says what to do.
pub(crate) fn equip(repository: &Repository) -> Result<PathBuf> {
    let file = repository.root.join(REQUIREMENTS);
    let required = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let folder = repository.target.join("python");
    let (python, installed) = (folder.join("bin/python3"), folder.join("requirements.txt"));
    // Written last, so an environment that was interrupted is made anew. Its Python is a link that may lead nowhere by now.
    if python.exists() && fs::read_to_string(&installed).is_ok_and(|installed| installed == required) {
        return Ok(python);
    }
    install_python()?;
    println!("Installing the Python packages of {REQUIREMENTS}");
    repository::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--requirement",
    ]);
    repository::run(pip.arg(&file)).with_context(|| {
        format!("the tests of other makers' clients need the packages of {REQUIREMENTS}, and Python 3.11 or newer")
    })?;
    fs::write(&installed, required).with_context(|| format!("writing {}", installed.display()))?;
    Ok(python)
}

fn install_python() -> Result<()> {
    let has_modules = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    let missing = if has_modules.is_ok_and(|it| it.status.success()) { None } else { Some("python3-venv") };
    packages::install(&BTreeSet::from_iter(missing), "or, on another system, Python 3.11 with its module `venv`")
}
