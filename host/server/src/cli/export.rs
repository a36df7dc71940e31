//! `lantern event export`: the log into a file, piece by piece.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use flate2::{Compression, write::GzEncoder};

use super::{client::Client, event::Wanted, failure::Failure, output::written};

/// Export events: CloudEvents, one a line, in the order of the log.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file; compressed when its name ends with `.gz`. Standard output when it is `-` or not given.
    file: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
}

impl Export {
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let query = self.wanted.query();
        let mut response = client.stream(&["events", "export"], &query).await?;
        let mut sink = Sink::open(self.file.as_deref())?;
        while let Some(piece) = response.chunk().await.map_err(|error| client.broken(&error))? {
            sink.write(&piece)?;
        }
        sink.finish()
    }
}

/// Where an export goes.
enum Sink<'a> {
    Stdout(std::io::Stdout),
    Plain(BufWriter<File>, &'a Path),
    Gzip(GzEncoder<BufWriter<File>>, &'a Path),
}

impl<'a> Sink<'a> {
    fn open(file: Option<&'a Path>) -> Result<Self, Failure> {
        let Some(path) = file.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::Stdout(std::io::stdout()));
        };
        let file = BufWriter::new(File::create(path).map_err(|error| unwritable(path, &error))?);
        if path.extension().is_some_and(|extension| extension == "gz") {
            return Ok(Self::Gzip(GzEncoder::new(file, Compression::default()), path));
        }
        Ok(Self::Plain(file, path))
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout(stdout) => written(stdout.write_all(piece)),
            Self::Plain(file, path) => file.write_all(piece).map_err(|error| unwritable(path, &error)),
            Self::Gzip(file, path) => file.write_all(piece).map_err(|error| unwritable(path, &error)),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut stdout) => written(stdout.flush()),
            Self::Plain(mut file, path) => file.flush().map_err(|error| unwritable(path, &error)),
            Self::Gzip(file, path) => {
                let ended = file.finish().and_then(|mut file| file.flush());
                ended.map_err(|error| unwritable(path, &error))
            }
        }
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}
