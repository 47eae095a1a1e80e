//! Appending a record durably, beside other writers: what `append` of `retain/capture/spool.py` does.
//!
//! Writing and syncing are two steps, so that a server can work on the event while the disk syncs.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock};

const LIVE: &str = "live.spool";
/// Longest wait for the lock of the live segment before a segment of one's own is made.
const LOCK_WAIT: Duration = Duration::from_millis(20);
const LOCK_PAUSE: Duration = Duration::from_micros(500);

/// A record that is in its segment and may not be on the disk yet.
pub(crate) struct Written {
    file: File,
    new_in: Option<PathBuf>,
}

impl Written {
    /// Waits for the disk: when this returns, the record survives kill -9 and power loss.
    pub(crate) fn sync(self) -> io::Result<()> {
        self.file.sync_data()?;
        self.new_in.as_deref().map_or(Ok(()), sync_directory)
    }
}

/// Writes a record; all of it or nothing.
pub(crate) fn write(directory: &Path, data: &[u8]) -> io::Result<Written> {
    let Some(mut file) = open_live(directory)? else {
        return write_own(directory, data);
    };
    let start = write_or_undo(&mut file, data)?;
    flock(&file, FlockOperation::Unlock)?;
    let new_in = (start == 0).then(|| directory.to_path_buf());
    Ok(Written { file, new_in })
}

/// The live segment, locked, made where missing; None where the lock is not had in time.
fn open_live(directory: &Path) -> io::Result<Option<File>> {
    let path = directory.join(LIVE);
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        let file = open_segment(directory, &path)?;
        if !lock_until(&file, deadline)? {
            return Ok(None);
        }
        if is_still(&file, &path)? {
            return Ok(Some(file));
        }
    }
}

fn open_segment(directory: &Path, path: &Path) -> io::Result<File> {
    match appending(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_directory(directory)?;
            appending(path)
        }
        opened => opened,
    }
}

/// Opens a file of the user alone for appending, makes it where missing, follows no link.
pub(crate) fn appending(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

/// Creates the spool directory and the data directory around it, both with mode 0700.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    let home = directory.parent().unwrap_or(Path::new("/"));
    if let Some(around) = home.parent() {
        std::fs::create_dir_all(around)?;
    }
    for made in [home, directory] {
        match DirBuilder::new().mode(0o700).create(made) {
            Err(error) if !(error.kind() == ErrorKind::AlreadyExists && made.is_dir()) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn lock_until(file: &File, deadline: Instant) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() >= deadline => return Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the file is still the one at the path: a reader may have sealed it meanwhile.
fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    let there = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    let here = file.metadata()?;
    Ok((here.ino(), here.dev()) == (there.ino(), there.dev()))
}

/// Makes a segment of one record; it gets its final name only when it is whole and synced.
fn write_own(directory: &Path, data: &[u8]) -> io::Result<Written> {
    let time_ns = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_nanos());
    let name = format!("own-{time_ns:020}-{}", std::process::id());
    let part = directory.join(format!("{name}.part"));
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    let done = write_or_undo(&mut file, data)
        .and_then(|_| file.sync_data())
        .and_then(|()| std::fs::rename(&part, directory.join(format!("{name}.spool"))));
    if let Err(error) = done {
        std::fs::remove_file(&part)?;
        return Err(error);
    }
    Ok(Written {
        file,
        new_in: Some(directory.to_path_buf()),
    })
}

/// Writes all of the data or nothing; returns where it starts.
fn write_or_undo(file: &mut File, data: &[u8]) -> io::Result<u64> {
    let start = file.metadata()?.len();
    check_room(start, data.len())?;
    if let Err(error) = file.write_all(data) {
        file.set_len(start)?;
        return Err(error);
    }
    Ok(start)
}

/// Refuses to let a file grow beyond the limit of this process: the system would end it by a signal.
pub(crate) fn check_room(start: u64, more: usize) -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    let end = start.saturating_add(more as u64);
    if limit.is_some_and(|limit| end > limit) {
        Err(rustix::io::Errno::FBIG.into())
    } else {
        Ok(())
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{LIVE, write};
    use rustix::fs::{FlockOperation, flock};
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("retain-hook-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }
        fn spool(&self) -> PathBuf {
            self.0.join("data/spool")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn append(directory: &Path, data: &[u8]) {
        write(directory, data).unwrap().sync().unwrap();
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn records_follow_each_other_in_files_of_the_user_alone() {
        let folder = Folder::new("append");
        append(&folder.spool(), b"one");
        append(&folder.spool(), b"two");
        let live = folder.spool().join(LIVE);
        assert_eq!(std::fs::read(&live).unwrap(), b"onetwo");
        assert_eq!(
            (mode(&live), mode(&folder.spool()), mode(&folder.0.join("data"))),
            (0o600, 0o700, 0o700)
        );
    }

    #[test]
    fn where_the_lock_is_held_the_record_gets_a_segment_of_its_own() {
        let folder = Folder::new("own");
        append(&folder.spool(), b"before");
        let held = File::open(folder.spool().join(LIVE)).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        append(&folder.spool(), b"alone");
        let names: Vec<_> = std::fs::read_dir(folder.spool())
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        let own: Vec<_> = names.iter().filter(|path| !path.ends_with(LIVE)).collect();
        assert_eq!(own.len(), 1);
        assert!(own[0].file_name().unwrap().to_str().unwrap().starts_with("own-"));
        assert_eq!(own[0].extension().unwrap(), "spool");
        assert_eq!(std::fs::read(own[0]).unwrap(), b"alone");
    }

    #[test]
    fn a_link_in_the_place_of_the_live_segment_is_not_followed() {
        let folder = Folder::new("link");
        std::fs::create_dir_all(folder.spool()).unwrap();
        let target = folder.0.join("target");
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, folder.spool().join(LIVE)).unwrap();
        assert!(write(&folder.spool(), b"x").is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    }
}
