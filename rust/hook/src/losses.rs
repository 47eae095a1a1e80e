//! Events that could not be kept: listed in `failures.log`, and told to the user once.
//!
//! A line of the list is the moment in microseconds, `hook.failed`, the kind of error as Python names it, and
//! its number. Where a full disk has no room for a line, the list grows by one NUL, which needs none.
//! `failures.told` holds how many bytes of the list the user was told of. `retain/capture/losses.py` reads both.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::spool::{appending, check_room, make_directory};

const FAILURES: &str = "failures.log";
const TOLD: &str = "failures.told";
const FAILURE_BYTES_MAX: u64 = 64 * 1024;
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Why an event could not be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The class of the error in Python.
    pub(crate) kind: &'static str,
    /// The number of the system's error.
    pub(crate) errno: Option<i32>,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::numbered(error.raw_os_error())
    }
}

impl Failure {
    /// That of a number, or of an error without one.
    pub(crate) fn numbered(errno: Option<i32>) -> Self {
        use rustix::io::Errno;
        let kind = match errno.map(Errno::from_raw_os_error) {
            Some(Errno::PERM | Errno::ACCESS) => "PermissionError",
            Some(Errno::NOENT) => "FileNotFoundError",
            Some(Errno::EXIST) => "FileExistsError",
            Some(Errno::ISDIR) => "IsADirectoryError",
            Some(Errno::NOTDIR) => "NotADirectoryError",
            Some(Errno::AGAIN) => "BlockingIOError",
            Some(Errno::INTR) => "InterruptedError",
            Some(Errno::TIMEDOUT) => "TimeoutError",
            _ => "OSError",
        };
        Self { kind, errno }
    }

    /// There is no place for the data.
    pub(crate) const NO_HOME: Self = Self {
        kind: "LookupError",
        errno: None,
    };

    /// For people: what the system says.
    fn reason(&self) -> String {
        if *self == Self::NO_HOME {
            return "neither RETAIN_HOME nor HOME names a place".to_owned();
        }
        reason(self.errno, self.kind)
    }

    fn line(&self, at_us: u64) -> String {
        let errno = self
            .errno
            .map_or_else(|| "None".to_owned(), |number| number.to_string());
        format!("{at_us} hook.failed type={} errno={errno}\n", self.kind)
    }
}

/// Tells of a failure on stderr and in the list; never fails.
pub(crate) fn tell(directory: Option<&Path>, at_us: u64, failure: &Failure) {
    let line = failure.line(at_us);
    let _ = io::stderr().write_all(format!("retain: {line}").as_bytes());
    if let Some(directory) = directory {
        let _ = note(directory, line.as_bytes());
    }
}

fn note(directory: &Path, line: &[u8]) -> io::Result<()> {
    make_directory(directory)?;
    let mut file = appending(&directory.join(FAILURES))?;
    let locked = lock(&file);
    let size = file.metadata()?.len();
    if size >= FAILURE_BYTES_MAX {
        return Ok(());
    }
    match check_room(size, line.len()).and_then(|()| file.write_all(line)) {
        Err(_) if locked => {
            file.set_len(size)?; // without the part that was written
            check_room(size, 1)?;
            file.set_len(size + 1)
        }
        written => written,
    }
}

fn lock(file: &File) -> bool {
    (0..LOCK_TRIES).any(|_| {
        let locked = flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if !locked {
            std::thread::sleep(LOCK_PAUSE);
        }
        locked
    })
}

/// What the user was not told yet of earlier failures.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Untold {
    /// Events that were not kept.
    count: usize,
    /// The moment of the first that has one, microseconds since the epoch.
    since_us: Option<u64>,
    /// Why the last was not kept.
    reason: String,
    /// Bytes of the list that this speaks of, from its start.
    size: u64,
}

/// Reads what is new in the list; None where nothing is.
pub(crate) fn untold(directory: &Path) -> Option<Untold> {
    let mut file = File::open(directory.join(FAILURES)).ok()?;
    let size = file.metadata().ok()?.len();
    let told = std::fs::read_to_string(directory.join(TOLD)).ok();
    let told = told
        .and_then(|text| text.trim().parse().ok())
        .filter(|&told: &u64| told <= size);
    let start = told.unwrap_or(0);
    if start == size {
        return None;
    }
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(start)).ok()?;
    file.take(2 * FAILURE_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(summed(&String::from_utf8_lossy(&text), start + text.len() as u64))
}

fn summed(text: &str, size: u64) -> Untold {
    let count = text.bytes().filter(|&byte| byte == b'\n' || byte == 0).count();
    let lines: Vec<&str> = text.split(['\n', '\0']).filter(|line| !line.is_empty()).collect();
    let since_us = lines
        .first()
        .and_then(|line| line.split(' ').next()?.parse().ok());
    let after = |key: &str| {
        lines
            .last()
            .and_then(|line| line.rsplit_once(key))
            .map(|(_, value)| value)
    };
    let errno = after("errno=").and_then(|number| number.parse().ok());
    let kind = after("type=").and_then(|rest| rest.split(' ').next());
    let reason = if lines.is_empty() {
        "the disk was full".to_owned()
    } else {
        reason(errno, kind.unwrap_or(""))
    };
    Untold {
        count,
        since_us,
        reason,
        size,
    }
}

fn reason(errno: Option<i32>, kind: &str) -> String {
    let Some(errno) = errno else {
        return kind.to_owned();
    };
    let text = io::Error::from_raw_os_error(errno).to_string();
    let end = text.rfind(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}

/// What the user is told at the start of a session.
pub(crate) fn warning(failed: Option<&Failure>, before: Option<&Untold>) -> Option<String> {
    let earlier = before.map(|lost| {
        let events = if lost.count == 1 {
            "1 event was".to_owned()
        } else {
            format!("{} events were", lost.count)
        };
        let since = lost
            .since_us
            .map(|us| format!(" since {}", moment(us)))
            .unwrap_or_default();
        format!("{events} not kept{since} ({})", lost.reason)
    });
    let text = match (failed, earlier) {
        (None, None) => return None,
        (None, Some(earlier)) => format!("retain: {earlier}."),
        (Some(now), None) => format!("retain: events are not kept ({}).", now.reason()),
        (Some(now), Some(earlier)) => format!("retain: events are not kept ({}); {earlier}.", now.reason()),
    };
    Some(text + " `retain doctor` says how to mend it.")
}

/// Remembers that the user was told.
pub(crate) fn mark_told(directory: &Path, told: &Untold) {
    let path = directory.join(TOLD);
    let _ = appending(&path).and_then(|mut file| {
        file.set_len(0)?;
        file.write_all(told.size.to_string().as_bytes())
    });
}

/// A moment in UTC, to the minute.
fn moment(us: u64) -> String {
    let minutes = us / 60_000_000;
    let days = i64::try_from(minutes / 1440).unwrap_or_default();
    // Days since 0000-03-01 in eras of 400 years: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        minutes / 60 % 24,
        minutes % 60
    )
}

#[cfg(test)]
mod tests {
    use super::{Failure, Untold, mark_told, moment, note, summed, untold, warning};

    #[test]
    fn errors_have_the_names_that_python_gives_them() {
        for (errno, kind) in [
            (13, "PermissionError"),
            (1, "PermissionError"),
            (2, "FileNotFoundError"),
            (20, "NotADirectoryError"),
            (21, "IsADirectoryError"),
            (17, "FileExistsError"),
            (28, "OSError"),
            (30, "OSError"),
        ] {
            assert_eq!(Failure::numbered(Some(errno)).kind, kind);
        }
        let line = Failure::numbered(Some(28)).line(5);
        assert_eq!(line, "5 hook.failed type=OSError errno=28\n");
        assert_eq!(
            Failure::NO_HOME.line(5),
            "5 hook.failed type=LookupError errno=None\n"
        );
    }

    #[test]
    fn a_moment_is_written_in_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(
            moment(1_795_457_999_000_000),
            "2026-11-23 18:59 UTC".replace("18:59", "18:19")
        );
        assert_eq!(moment(951_827_696_000_000), "2000-02-29 12:34 UTC");
        assert_eq!(moment(1_767_225_540_000_000), "2025-12-31 23:59 UTC");
    }

    #[test]
    fn lines_and_marks_are_counted() {
        let lost = summed("7 hook.failed type=OSError errno=28\n\0\0", 40);
        assert_eq!((lost.count, lost.since_us, lost.size), (3, Some(7), 40));
        assert_eq!(lost.reason, "No space left on device");
        assert_eq!(summed("\0", 1).reason, "the disk was full");
        assert_eq!(
            summed("1 hook.failed type=LookupError errno=None\n", 1).reason,
            "LookupError"
        );
    }

    #[test]
    fn the_user_is_told_once_of_each_failure() {
        let folder = std::env::temp_dir().join(format!("retain-losses-{}", std::process::id()));
        let spool = folder.join("data/spool");
        assert_eq!(untold(&spool), None);
        note(&spool, b"7 hook.failed type=OSError errno=28\n").unwrap();
        let lost = untold(&spool).unwrap();
        mark_told(&spool, &lost);
        assert_eq!(untold(&spool), None);
        note(&spool, b"8 hook.failed type=OSError errno=30\n").unwrap();
        let again = untold(&spool).unwrap();
        assert_eq!((again.count, again.since_us), (1, Some(8)));
        mark_told(&spool, &again);
        std::fs::write(
            spool.join("failures.log"),
            "9 hook.failed type=OSError errno=28\n",
        )
        .unwrap();
        assert_eq!(
            untold(&spool).unwrap().count,
            1,
            "a list that was removed begins anew"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_warning_says_how_many_since_when_and_why() {
        let before = Untold {
            count: 2,
            since_us: Some(0),
            reason: "No space left on device".into(),
            size: 9,
        };
        let failed = Failure::numbered(Some(30));
        assert_eq!(warning(None, None), None);
        assert_eq!(
            warning(None, Some(&before)).unwrap(),
            "retain: 2 events were not kept since 1970-01-01 00:00 UTC (No space left on device). \
             `retain doctor` says how to mend it."
        );
        assert_eq!(
            warning(Some(&failed), None).unwrap(),
            "retain: events are not kept (Read-only file system). `retain doctor` says how to mend it."
        );
        assert!(
            warning(Some(&Failure::NO_HOME), None)
                .unwrap()
                .contains("(neither RETAIN_HOME nor HOME names a place)")
        );
    }
}
