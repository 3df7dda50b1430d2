//! Files that are watched for changes: the configuration, certificates, keys.
//!
//! What is watched are directories, since editors and clients put a new file in the place of the old one, and since a file
//! need not exist yet. A file has changed if it looks different, or if an event names it: one that came and went again looks
//! as before, but somebody may have read it in between. Watches fail on some file systems; the look comes by itself every few
//! seconds in any case.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// How long nothing must happen before what happened counts: a file is often written in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// The longest wait for that.
const MAX_SETTLE: Duration = Duration::from_secs(2);

/// How often files are looked at although nothing was heard of them.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Symbolic links that are followed from one to the next. What is behind more of them is looked at by the interval alone.
const MAX_LINKS: usize = 8;

/// Events that can wait. One is as good as many.
const QUEUE: usize = 1;

/// Paths that are kept of events until the next look. With more of them, every file counts as touched.
const MAX_TOUCHED: usize = 1_024;

/// Watches files on a thread of its own until dropped.
#[derive(Debug)]
pub struct FileWatch {
    wake: SyncSender<Wake>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Wake {
    Event,
    /// Watch these; tell when that is so.
    Files(Vec<PathBuf>, SyncSender<()>),
    End,
}

impl FileWatch {
    /// Watches `files`. `on_change` is called, on the watching thread, with those that have changed since the last call or
    /// since now.
    pub fn start(
        files: Vec<PathBuf>,
        on_change: impl FnMut(&[PathBuf]) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (wake, woken) = sync_channel(QUEUE);
        let mut watched = Watched::new(files, wake.clone());
        let thread = std::thread::Builder::new()
            .name("file-watch".to_owned())
            .spawn(move || watched.run(&woken, on_change))?;
        Ok(Self { wake, thread: Some(thread) })
    }

    /// Watches these files from now on, instead of those before: what is read of them after this has returned cannot change
    /// unnoticed. Blocks while the thread is busy with a change.
    pub fn set(&self, files: Vec<PathBuf>) {
        let (done, wait) = sync_channel(1);
        if self.wake.send(Wake::Files(files, done)).is_ok() {
            // The thread only goes before this does.
            let _ = wait.recv();
        }
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        let _ = self.wake.send(Wake::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is known of a file: enough to tell that it is not the same any more.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    identity: (u64, u64),
    changed: (i64, i64),
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let (identity, changed) = {
        use std::os::unix::fs::MetadataExt as _;
        ((metadata.dev(), metadata.ino()), (metadata.ctime(), metadata.ctime_nsec()))
    };
    #[cfg(not(unix))]
    let (identity, changed) = ((0, 0), (0, 0));
    Some(Stamp { modified: metadata.modified().ok(), length: metadata.len(), identity, changed })
}

/// The paths that events named since the last look.
#[derive(Debug, Default)]
struct Touched {
    paths: BTreeSet<PathBuf>,
    /// There were too many to be kept.
    is_everything: bool,
}

impl Touched {
    fn note(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            if self.paths.len() < MAX_TOUCHED {
                self.paths.insert(path);
            } else {
                self.is_everything = true;
            }
        }
    }

    /// Whether it is the file at `path`, something that it is a link to, or a directory on the way.
    fn concerns(&self, path: &Path) -> bool {
        let named = |path: &Path| path.ancestors().any(|ancestor| self.paths.contains(ancestor));
        self.is_everything || (!self.paths.is_empty() && chain_of(path).iter().any(|path| named(path)))
    }
}

struct Watched {
    files: Vec<(PathBuf, Option<Stamp>)>,
    directories: BTreeSet<PathBuf>,
    /// `None`: this system has none to give; files are looked at by the interval.
    watcher: Option<RecommendedWatcher>,
    touched: Arc<Mutex<Touched>>,
}

impl Watched {
    fn new(files: Vec<PathBuf>, wake: SyncSender<Wake>) -> Self {
        let touched = Arc::<Mutex<Touched>>::default();
        let noted = Arc::clone(&touched);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            match event {
                // Our own reading of a file is no change of it.
                Ok(event) if event.kind.is_access() => return,
                Ok(event) => noted.lock().unwrap_or_else(PoisonError::into_inner).note(event.paths),
                Err(_) => {}
            }
            match wake.try_send(Wake::Event) {
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        });
        let watcher = watcher.inspect_err(|error| tracing::debug!(%error, "no file watches")).ok();
        let mut watched = Self { files: Vec::new(), directories: BTreeSet::new(), watcher, touched };
        watched.set(files);
        watched
    }

    fn set(&mut self, files: Vec<PathBuf>) {
        let known = std::mem::take(&mut self.files);
        self.files = files
            .into_iter()
            .map(|path| {
                let before = known.iter().find(|(other, _)| *other == path);
                let stamp = before.map_or_else(|| stamp(&path), |(_, stamp)| stamp.clone());
                (path, stamp)
            })
            .collect();
        self.follow();
    }

    fn set_and_tell(&mut self, files: Vec<PathBuf>, done: &SyncSender<()>) {
        self.set(files);
        let _ = done.try_send(());
    }

    /// Watches the directories that matter now.
    fn follow(&mut self) {
        let wanted: BTreeSet<PathBuf> =
            self.files.iter().flat_map(|(path, _)| directories_of(path)).collect();
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.directories.difference(&wanted) {
            // One that was removed has taken its watch with it.
            let _ = watcher.unwatch(gone);
        }
        self.directories.retain(|directory| wanted.contains(directory));
        for directory in wanted {
            if self.directories.contains(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(directory);
                }
                Err(error) => tracing::debug!(directory = %directory.display(), %error, "cannot be watched"),
            }
        }
    }

    fn run(&mut self, woken: &Receiver<Wake>, mut on_change: impl FnMut(&[PathBuf])) {
        loop {
            match woken.recv_timeout(LOOK_INTERVAL) {
                Ok(Wake::End) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Files(files, done)) => self.set_and_tell(files, &done),
                Ok(Wake::Event) => {
                    if self.settle(woken).is_none() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let changed = self.look();
            if !changed.is_empty() {
                on_change(&changed);
            }
        }
    }

    /// Waits until nothing more happens, within bounds. `None` at the end.
    fn settle(&mut self, woken: &Receiver<Wake>) -> Option<()> {
        let until = Instant::now() + MAX_SETTLE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match woken.recv_timeout(SETTLE.min(left)) {
                Ok(Wake::End) | Err(RecvTimeoutError::Disconnected) => return None,
                Ok(Wake::Files(files, done)) => self.set_and_tell(files, &done),
                Ok(Wake::Event) if !left.is_zero() => {}
                Ok(Wake::Event) | Err(RecvTimeoutError::Timeout) => return Some(()),
            }
        }
    }

    fn look(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        let touched = std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        for (path, before) in &mut self.files {
            let now = stamp(path);
            if *before != now || touched.concerns(path) {
                *before = now;
                changed.push(path.clone());
            }
        }
        // A directory may have come or gone with it, or a link may point elsewhere.
        self.follow();
        changed
    }
}

/// The directories in which a change can change what `path` is: its own, and that of everything it is a link to. Of those
/// that do not exist, the nearest one above.
fn directories_of(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in chain_of(path) {
        let Some(parent) = path.parent() else { break };
        let existing = parent.ancestors().find(|directory| directory.is_dir());
        found.extend(existing.map(Path::to_path_buf));
        // The directory itself may be reached through a link, as with files that are swapped by swapping a directory.
        if let Some(outer) = parent.parent().filter(|_| parent.is_symlink()) {
            found.push(outer.to_path_buf());
        }
    }
    found
}

/// A path, and if it is a link, what that leads to, link by link.
fn chain_of(path: &Path) -> Vec<PathBuf> {
    let mut chain = vec![path.to_path_buf()];
    while chain.len() < MAX_LINKS
        && let Some(last) = chain.last()
        && let (Some(parent), Ok(target)) = (last.parent(), std::fs::read_link(last))
    {
        let next = parent.join(target);
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PATIENCE: Duration = Duration::from_secs(120);

    fn watch(files: &[&Path]) -> (FileWatch, Receiver<Vec<PathBuf>>) {
        let (send, receive) = std::sync::mpsc::channel();
        let files = files.iter().map(|path| path.to_path_buf()).collect();
        (FileWatch::start(files, move |changed| send.send(changed.to_vec()).unwrap()).unwrap(), receive)
    }

    /// Waits until `path` is among what has changed.
    fn expect(receive: &Receiver<Vec<PathBuf>>, path: &Path) {
        while !receive.recv_timeout(PATIENCE).expect("a change").contains(&path.to_path_buf()) {}
    }

    #[test]
    fn writes_renames_removals_and_new_directories_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/below/config.json");
        let (_watch, changes) = watch(&[&file]);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "one").unwrap();
        expect(&changes, &file);
        fs::write(&file, "two!").unwrap();
        expect(&changes, &file);
        let beside = file.with_extension("new");
        fs::write(&beside, "three").unwrap();
        fs::rename(&beside, &file).unwrap();
        expect(&changes, &file);
        fs::remove_file(&file).unwrap();
        expect(&changes, &file);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_came_and_went_before_the_look_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let [file, other] = ["login", "other"].map(|name| dir.path().join(name));
        let (_watch, changes) = watch(&[&file, &other]);
        fs::write(&file, "one").unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(changes.recv_timeout(PATIENCE).unwrap(), [file]);
    }

    #[test]
    fn too_many_paths_are_all_of_them() {
        let mut touched = Touched::default();
        touched.note(vec!["/a/b".into()]);
        assert!(touched.concerns(Path::new("/a/b/c")) && touched.concerns(Path::new("/a/b")));
        assert!(!touched.concerns(Path::new("/a")) && !touched.concerns(Path::new("/a/x")));
        touched.note((0..MAX_TOUCHED).map(|nth| format!("/x/{nth}").into()).collect());
        assert!(touched.paths.len() == MAX_TOUCHED && touched.concerns(Path::new("/a")));
    }

    #[cfg(unix)]
    #[test]
    fn a_change_behind_links_is_noticed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        for directory in [&one, &two] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("cert.pem"), directory.to_str().unwrap()).unwrap();
        }
        // As orchestrators do it: the file is a link through a directory link that is swapped.
        let data = dir.path().join("data");
        symlink(&one, &data).unwrap();
        let file = dir.path().join("cert.pem");
        symlink("data/cert.pem", &file).unwrap();
        let (_watch, changes) = watch(&[&file]);
        let fresh = dir.path().join("fresh");
        symlink(&two, &fresh).unwrap();
        fs::rename(&fresh, &data).unwrap();
        expect(&changes, &file);
        fs::write(two.join("cert.pem"), "other").unwrap();
        expect(&changes, &file);
    }

    #[test]
    fn other_files_do_not_matter_and_the_set_can_change() {
        let dir = tempfile::tempdir().unwrap();
        let [watched, other] = ["watched", "other"].map(|name| dir.path().join(name));
        let (watch, changes) = watch(&[&watched]);
        fs::write(&other, "x").unwrap();
        // A rename is one event. What is written may be told twice, the second time after the set has changed.
        let beside = watched.with_extension("new");
        fs::write(&beside, "x").unwrap();
        fs::rename(&beside, &watched).unwrap();
        assert_eq!(changes.recv_timeout(PATIENCE).unwrap(), std::slice::from_ref(&watched));
        watch.set(vec![other.clone()]);
        fs::write(&watched, "more").unwrap();
        fs::write(&other, "more").unwrap();
        assert_eq!(changes.recv_timeout(PATIENCE).unwrap(), [other]);
    }
}
