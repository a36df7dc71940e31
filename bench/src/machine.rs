//! The machine of a run: what has to be known to judge its figures.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::figures::percentile;

/// How many writes are made durable to learn what one costs.
const PROBES: usize = 200;

/// The machine in a few words; `folder` is where the files of the benchmarks lie.
pub(crate) fn describe(folder: &Path) -> Result<String> {
    let processors = thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let durable = durable_write(folder).context("the cost of a durable write could not be measured")?;
    let (middle, high) = (percentile(&durable, 0.5).as_micros(), percentile(&durable, 0.99).as_micros());
    Ok(format!(
        "machine: {processors} processors ({}), load {}, a durable write of 4 KiB takes {middle} µs (p99 {high} µs)",
        model(),
        load(),
    ))
}

/// How long each of many small writes takes until it is on disk, in ascending order.
fn durable_write(folder: &Path) -> Result<Vec<Duration>> {
    let path = folder.join("durable-write");
    let mut file = File::create(&path)?;
    let page = [7; 4096];
    let mut took = Vec::with_capacity(PROBES);
    for probe in 0..PROBES {
        file.seek(SeekFrom::Start((probe * page.len()) as u64))?;
        file.write_all(&page)?;
        let began = Instant::now();
        file.sync_data()?;
        took.push(began.elapsed());
    }
    fs::remove_file(path)?;
    took.sort_unstable();
    Ok(took)
}

fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.trim().into())
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").into()
}

/// How much memory the process has in use, in bytes; 0 where the kernel does not tell.
pub(crate) fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kibibytes.unwrap_or(0_u64) * 1024
}
