//! Reading a login file: bounded, and whatever stands in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use crate::keychain::KeychainProblem;
use crate::text::LoginText;

/// Largest login file read, in bytes. Real ones have a few kilobytes.
pub const MAX_LOGIN_FILE: u64 = 1024 * 1024;

/// Why a login file could not be read. Tells nothing of its content or place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("there is no login file; log in with the client")]
    Missing,
    /// The process may not read it.
    #[error("the login file may not be read; give the user that runs this read and write permission")]
    NoPermission,
    /// A directory, a pipe or the like stands in its place.
    #[error("what stands in the login file's place is not a file; remove it and log in with the client")]
    NotAFile,
    /// It has more than [`MAX_LOGIN_FILE`] bytes.
    #[error("the login file is larger than 1 MiB, so it is none; log in with the client")]
    TooLarge,
    /// It has no bytes.
    #[error("the login file is empty; log in with the client")]
    Empty,
    /// It is not UTF-8.
    #[error("the login file is not text; log in with the client")]
    NotText,
    /// The file system failed.
    #[error("the login file could not be read ({0}); check its disk")]
    Io(io::ErrorKind),
    /// The keychain did not tell.
    #[error(transparent)]
    Keychain(#[from] KeychainProblem),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::NoPermission,
            kind => Self::Io(kind),
        }
    }
}

/// Reads the file, symbolic links followed.
pub(crate) fn read(path: &Path) -> Result<LoginText, ReadError> {
    // A directory is told apart before it is opened: not every system lets one be.
    if path.metadata()?.is_dir() {
        return Err(ReadError::NotAFile);
    }
    let mut options = OpenOptions::new();
    options.read(true);
    let mut file = open_at_once(&mut options, path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::NotAFile);
    }
    if metadata.len() > MAX_LOGIN_FILE {
        return Err(ReadError::TooLarge);
    }
    let text = read_up_to(&mut file, metadata.len(), MAX_LOGIN_FILE)?.ok_or(ReadError::TooLarge)?;
    if text.as_bytes().is_empty() {
        return Err(ReadError::Empty);
    }
    std::str::from_utf8(text.as_bytes()).map_err(|_| ReadError::NotText)?;
    Ok(text)
}

/// All of a file, or `None` if it has more than `most` bytes. `expected`: its length so far, for one allocation.
pub(crate) fn read_up_to(file: &mut File, expected: u64, most: u64) -> io::Result<Option<LoginText>> {
    let room = usize::try_from(expected.min(most) + 1).unwrap_or(0);
    let mut bytes = Vec::with_capacity(room);
    let result = file.take(most + 1).read_to_end(&mut bytes);
    let text = LoginText::new(bytes);
    result?;
    Ok((text.as_bytes().len() as u64 <= most).then_some(text))
}

/// Opens without waiting: a pipe in the file's place would block until someone writes to it.
pub(crate) fn open_at_once(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags(rustix::fs::OFlags::NONBLOCK));
    options.open(path)
}

/// Open flags as the standard library takes them.
#[cfg(unix)]
pub(crate) fn flags(flags: rustix::fs::OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}
