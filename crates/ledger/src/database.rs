//! The file and its schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// The file's name in the data directory.
pub const FILE: &str = "trunkline.sqlite";

/// The steps of the schema, each from the version of its place to the next. A step that was released is never changed.
const MIGRATIONS: &[&str] = &[include_str!("migrations/1_sessions.sql")];

/// What the file belongs to: `trnk`.
const APPLICATION: i32 = 0x7472_6e6b;

/// How long a lock is waited for. One process has the data directory; another may be reading.
const BUSY: Duration = Duration::from_secs(5);

/// The database, open.
#[derive(Debug)]
pub struct Database {
    pub(crate) connection: Connection,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A newer version wrote it.
    #[error("it was written by a newer version of trunkline (schema {found}, this one knows {known})")]
    Newer {
        /// Its schema.
        found: i64,
        /// The newest schema that is known here.
        known: usize,
    },
    /// It belongs to another program.
    #[error("it is another program's database")]
    Foreign,
    /// A file operation failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl DatabaseError {
    /// Whether the file is no database any more, so that nothing in it can be kept.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Sqlite(error)
            if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)))
    }
}

impl Database {
    /// Opens the database in a data directory, and brings its schema up to date. One that is corrupt is put aside, and begun
    /// anew: the path it was put at is given.
    pub fn open(directory: &Path) -> Result<(Self, Option<PathBuf>), DatabaseError> {
        let path = directory.join(FILE);
        match Self::open_file(&path) {
            Ok(database) => Ok((database, None)),
            Err(error) if error.is_corrupt() => {
                let aside = put_aside(&path)?;
                Ok((Self::open_file(&path)?, Some(aside)))
            }
            Err(error) => Err(error),
        }
    }

    fn open_file(path: &Path) -> Result<Self, DatabaseError> {
        make_private(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A crash of the machine loses at most what was written last; never the file.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        migrate(&mut connection, path)?;
        Ok(Self { connection })
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), DatabaseError> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if application != APPLICATION && (application != 0 || found != 0) {
        return Err(DatabaseError::Foreign);
    }
    let known = MIGRATIONS.len();
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= known) else {
        return Err(DatabaseError::Newer { found, known });
    };
    if done == known {
        return Ok(());
    }
    if done > 0 {
        // Whatever goes wrong, what was there is still there.
        let copy = with_suffix(path, &format!(".schema-{done}"));
        // One that is empty was begun, and may be written into; SQLite itself would make it as the umask has it.
        if !fs::metadata(&copy).is_ok_and(|found| found.len() > 0) {
            make_private(&copy)?;
            connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
        }
    }
    let transaction = connection.transaction()?;
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", i64::try_from(known).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(())
}

/// Makes the file for this user alone, if it is not there: it tells who talks when.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Renames the file and what belongs to it. An older one that was put aside gives way: one is enough to look at.
fn put_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = with_suffix(path, ".corrupt");
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        match fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_is_private_and_opens_again() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let (database, aside) = Database::open(directory.path()).unwrap();
            assert_eq!(aside, None);
            let version: i64 =
                database.connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(version, 1);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_corrupt_one_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, "this is no database, and long enough not to be taken for an empty one".repeat(50))
            .unwrap();
        let (_, aside) = Database::open(directory.path()).unwrap();
        let aside = aside.unwrap();
        assert!(fs::read_to_string(aside).unwrap().starts_with("this is no database"));
        assert_eq!(Database::open(directory.path()).unwrap().1, None);
    }

    #[test]
    fn those_of_others_and_of_newer_versions_are_left_alone() {
        for (application, version, foreign) in [(APPLICATION, 99, false), (7, 1, true), (0, 3, true)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(FILE);
            let connection = Connection::open(&path).unwrap();
            connection.pragma_update(None, "application_id", application).unwrap();
            connection.pragma_update(None, "user_version", version).unwrap();
            drop(connection);
            let error = Database::open(directory.path()).unwrap_err();
            assert_eq!(matches!(error, DatabaseError::Foreign), foreign, "{error}");
            assert!(!error.is_corrupt());
        }
    }

    #[test]
    fn one_that_cannot_be_written_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(FILE)).unwrap();
        assert!(Database::open(directory.path()).is_err());
    }
}
