//! Writing a login file: a complete new one in its place, or, where that cannot be, the old one over.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::fault;
use crate::place::{directory_of, suffixed};
use crate::read::open_at_once;

/// Puts a new file in the place of the one at `real`, which is no link, with its mode and owner, or 0600 if there is
/// none. When this returns, the new one is on the disk; if it fails, the old one is as it was, or the new one is there.
pub(crate) fn replace(real: &Path, text: &[u8]) -> io::Result<()> {
    let old = match fs::metadata(real) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    remove_leftover(real);
    let new = new_file(real);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&new)?;
    let result = fill(&file, old.as_ref(), text).and_then(|()| fs::rename(&new, real));
    if result.is_err() {
        remove_leftover(real);
        return result;
    }
    fault::point("login.renamed")?;
    sync_directory(directory_of(real))?;
    fault::point("login.directory_synced")
}

fn fill(file: &File, old: Option<&Metadata>, text: &[u8]) -> io::Result<()> {
    fault::point("login.created")?;
    if let Some(old) = old {
        give_to(file, old)?;
        #[cfg(unix)]
        {
            // Behind the change of owner, which clears bits of the mode.
            use std::os::unix::fs::PermissionsExt as _;
            let mode = old.permissions().mode() & 0o7777;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
    }
    fault::write_all(file, text, "login.half_written")?;
    fault::point("login.written")?;
    file.sync_all()?;
    fault::point("login.synced")
}

/// Writes over a file, without it ever being shorter than what it holds of either text: bytes, then length, then sync.
pub(crate) fn rewrite(real: &Path, text: &[u8]) -> io::Result<()> {
    let file = open_for_writing(real)?;
    fault::point("login.opened")?;
    fault::write_all(&file, text, "login.half_overwritten")?;
    fault::point("login.overwritten")?;
    file.set_len(text.len() as u64)?;
    fault::point("login.cut")?;
    file.sync_all()?;
    fault::point("login.rewritten")
}

/// Opens a login file for writing, as it is.
pub(crate) fn open_for_writing(real: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    let file = open_at_once(&mut options, real)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Makes sure that what is at `real` is on the disk.
pub(crate) fn sync(real: &Path) -> io::Result<()> {
    File::open(real)?.sync_all()?;
    match sync_directory(directory_of(real)) {
        // Of a bind-mounted file the directory may be out of reach; then it was not renamed either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// Removes what a process left that died while it wrote. Only the owner of the journal writes.
pub(crate) fn remove_leftover(real: &Path) {
    let _ = fs::remove_file(new_file(real));
}

fn new_file(real: &Path) -> PathBuf {
    suffixed(real, ".trunkline-new")
}

/// Gives a file the owner and group of another.
pub(crate) fn give_to(file: &File, like: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let own = file.metadata()?;
        let differing = |own: u32, wanted: u32| (own != wanted).then_some(wanted);
        let (user, group) = (differing(own.uid(), like.uid()), differing(own.gid(), like.gid()));
        if user.is_some() || group.is_some() {
            fchown(file, user, group)?;
        }
    }
    #[cfg(not(unix))]
    let _ = (file, like);
    Ok(())
}

/// Makes names in a directory durable. Some file systems have nothing to sync there and say so.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(directory)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
        result => return result,
    }
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

/// Whether a failure to replace a file means that it has to be written in place, if it can be.
pub(crate) fn asks_for_in_place(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    crate::identity::admits_nothing(kind)
        || matches!(kind, Kind::ResourceBusy | Kind::CrossesDevices | Kind::Unsupported | Kind::InvalidInput)
}
