//! `retain-hook`: takes one hook event from stdin into the spool, prints an answer, and exits 0, always.
//!
//! It does what `retain hook` does in Python (`retain/interfaces/hook.py`), at the price of a native process, and
//! asks a live server for what the model should be told. A memory tool must never block or fail a session:
//! whatever goes wrong is told on stderr, in `failures.log`, and once at the start of a session.

#![forbid(unsafe_code)]

mod ask;
mod cold;
mod controls;
mod event;
mod head;
mod losses;
mod place;
mod record;
mod seal;
mod spool;

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use ask::{ASKED_BYTES_MAX, Asked};
use losses::{Failure, Untold};
use place::{Here, Lost};
use record::{Event, PAYLOAD_BYTES_MAX, Place};

const NOTHING: &[u8] = b"{}\n";
const SESSION_START: &str = "SessionStart";

/// Longest time from the start of this process to its answer, where the event has one.
fn patience(event: &str) -> Option<Duration> {
    match event {
        SESSION_START => Some(Duration::from_secs(2)),
        "UserPromptSubmit" | "PreToolUse" | "PostToolUseFailure" => Some(Duration::from_millis(50)),
        _ => None,
    }
}

/// Of a start's time, what is left to a process of its own where a server is there and does not answer.
const COLD: Duration = Duration::from_millis(800);

/// What is printed, and the losses that the user was told of when it is.
struct Printed {
    answer: Vec<u8>,
    told: Option<(PathBuf, Untold)>,
}

impl From<Vec<u8>> for Printed {
    fn from(answer: Vec<u8>) -> Self {
        Self { answer, told: None }
    }
}

/// Whether an event is kept: a call of a tool is told whole when it has ended.
fn is_captured(event: Option<&str>) -> bool {
    event != Some("PreToolUse")
}

fn main() -> ExitCode {
    let started = Instant::now();
    let received_at_us = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_micros());
    let received_at_us = u64::try_from(received_at_us).unwrap_or(u64::MAX);
    std::panic::set_hook(Box::new(|_| {})); // its text could hold some of the event
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let home = home_of(&arguments);
    let run = std::panic::AssertUnwindSafe(|| run(home, started, received_at_us));
    let printed = std::panic::catch_unwind(run).unwrap_or_else(|_| {
        losses::tell(
            None,
            received_at_us,
            &Failure {
                kind: "panic",
                errno: None,
            },
        );
        NOTHING.to_vec().into()
    });
    let done = io::stdout()
        .write_all(&printed.answer)
        .and_then(|()| io::stdout().flush());
    if let (Ok(()), Some((directory, told))) = (done, printed.told) {
        losses::mark_told(&directory, &told);
    }
    ExitCode::SUCCESS
}

/// The data directory that was asked for: `retain-hook [hook] [--home DIR]`.
fn home_of(arguments: &[OsString]) -> Option<&OsStr> {
    match arguments {
        [word, rest @ ..] if word == "hook" => home_of(rest),
        [option, home, ..] if option == "--home" => Some(home),
        _ => None,
    }
}

/// Takes the event; gives what is to be printed.
fn run(home: Option<&OsStr>, started: Instant, received_at_us: u64) -> Printed {
    let data_home = place::data_home(&Here { home });
    if data_home == Err(Lost::Rare) {
        let error = cold::hand_over(home);
        losses::tell(None, received_at_us, &error.into());
        return NOTHING.to_vec().into();
    }
    let data_home = data_home.map(|path| PathBuf::from(OsString::from_vec(path)));
    let read = read_bounded(&mut io::stdin().lock(), PAYLOAD_BYTES_MAX);
    let (payload, truncated, failed) = match read {
        Ok((payload, truncated)) => (payload, truncated, None),
        Err(error) => (Vec::new(), false, Some(Failure::from(error))),
    };
    let folder = std::env::current_dir().unwrap_or_default();
    let cwd = folder.as_os_str().as_bytes();
    if !payload.is_empty()
        && data_home
            .as_ref()
            .is_ok_and(|home| controls::holds_back(home, &payload, cwd))
    {
        return NOTHING.to_vec().into();
    }
    let hook = Hook {
        home,
        data_home,
        place: here(),
        name: event::name(&payload).filter(|_| !truncated),
        payload: &payload,
        truncated,
        started,
        received_at_us,
    };
    match failed {
        Some(failure) => {
            hook.tell(&failure);
            NOTHING.to_vec().into()
        }
        None if payload.is_empty() => NOTHING.to_vec().into(),
        None => hook.take(),
    }
}

/// One event on its way.
struct Hook<'a> {
    home: Option<&'a OsStr>,
    data_home: Result<PathBuf, Lost>,
    place: Place,
    name: Option<&'a str>,
    payload: &'a [u8],
    truncated: bool,
    started: Instant,
    received_at_us: u64,
}

impl Hook<'_> {
    fn take(&self) -> Printed {
        let (written, mut failure) = if is_captured(self.name) {
            self.write()
                .map_or_else(|error| (None, Some(error)), |done| (Some(done), None))
        } else {
            (None, None)
        };
        let asked = self.ask();
        if let Some(Err(error)) = written.map(spool::Written::sync) {
            failure = Some(error.into());
        }
        // The session was told when it began, unless it begins now; read before this event is among them.
        let warns =
            self.name == Some(SESSION_START) && event::field(self.payload, "\"source\"") != Some("compact");
        let directory = self.spool().ok().filter(|_| warns);
        let before = directory.as_deref().and_then(losses::untold);
        if let Some(failure) = &failure {
            self.tell(failure);
        }
        let reply = self.answer(asked).unwrap_or_else(|| NOTHING.to_vec());
        let warning = losses::warning(failure.as_ref().filter(|_| warns), before.as_ref());
        match warning.and_then(|warning| with_warning(&reply, &warning)) {
            Some(answer) => Printed {
                answer,
                told: directory.zip(before),
            },
            None => reply.into(),
        }
    }

    fn write(&self) -> Result<spool::Written, Failure> {
        let record = record::encode(&Event {
            payload: self.payload,
            truncated: self.truncated,
            received_at_us: self.received_at_us,
            place: &self.place,
        });
        Ok(spool::write(&self.spool()?, &self.at_rest(&record))?)
    }

    fn spool(&self) -> Result<PathBuf, Failure> {
        match &self.data_home {
            Ok(home) => Ok(home.join("spool")),
            Err(Lost::NoFolder(errno)) => Err(Failure::numbered(Some(*errno))),
            Err(_) => Err(Failure::NO_HOME),
        }
    }

    /// The record as it lies in the spool: sealed where the data directory is encrypted.
    fn at_rest<'r>(&self, record: &'r [u8]) -> Cow<'r, [u8]> {
        let home = self.data_home.as_deref().ok();
        home.and_then(|home| seal::sealed(home, record, self.received_at_us))
            .map_or(Cow::Borrowed(record), Cow::Owned)
    }

    fn tell(&self, failure: &Failure) {
        losses::tell(self.spool().ok().as_deref(), self.received_at_us, failure);
    }

    /// The question to the server, sent; None where the event has no answer, or no server is there.
    fn ask(&self) -> Option<Asked> {
        self.name.and_then(patience)?;
        let event = event::object(self.payload).filter(|event| event.len() <= ASKED_BYTES_MAX)?;
        Asked::new(self.data_home.as_ref().ok()?, ask::question(event, &self.place))
    }

    /// What a server says, within the event's time; else a start is answered by a process of its own.
    fn answer(&self, asked: Option<Asked>) -> Option<Vec<u8>> {
        let deadline = self.started + self.name.and_then(patience)?;
        let starts = self.name == Some(SESSION_START);
        let of_server = deadline.checked_sub(COLD).filter(|_| starts).unwrap_or(deadline);
        match asked.and_then(|asked| asked.answer(of_server)) {
            None if starts && self.has_store() => cold::answer(self.payload, self.home, deadline),
            said => said,
        }
    }

    /// Whether there is a store that could tell something.
    fn has_store(&self) -> bool {
        self.data_home
            .as_ref()
            .is_ok_and(|home| home.join("retain.db").exists())
    }
}

/// An answer with a message for the user put in front; None where it has one of its own.
fn with_warning(reply: &[u8], warning: &str) -> Option<Vec<u8>> {
    let rest = std::str::from_utf8(reply).ok()?.strip_prefix('{')?;
    if rest.contains("\"systemMessage\"") {
        return None;
    }
    let mut json = "{\"systemMessage\":".to_owned();
    event::push_string(&mut json, warning);
    if !rest.trim_start().starts_with('}') {
        json.push(',');
    }
    json.push_str(rest);
    Some(json.into_bytes())
}

/// Reads to the end, keeping at most `limit` bytes; says whether some were left out.
///
/// The rest is read and dropped, so that the writer of the pipe never sees it break.
fn read_bounded(from: &mut impl Read, limit: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut payload = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    let mut truncated = false;
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => return Ok((payload, truncated)),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let kept = count.min(limit - payload.len());
        payload.extend_from_slice(&chunk[..kept]);
        truncated |= kept < count;
    }
}

/// Where this process runs.
fn here() -> Place {
    let Ok(folder) = std::env::current_dir() else {
        return Place::default();
    };
    let (branch, commit) = head::read(folder.as_os_str().as_bytes());
    Place {
        cwd: text_of(&folder),
        branch,
        commit,
    }
}

/// A path as text; each byte that is none becomes a question mark, as Python writes it.
fn text_of(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{read_bounded, text_of, with_warning};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    #[test]
    fn reading_keeps_the_start_and_says_that_the_rest_is_missing() {
        let data = vec![7; 200_000];
        assert_eq!(
            read_bounded(&mut &data[..], 200_000).unwrap(),
            (data.clone(), false)
        );
        assert_eq!(
            read_bounded(&mut &data[..], 70_000).unwrap(),
            (data[..70_000].to_vec(), true)
        );
        assert_eq!(read_bounded(&mut &b""[..], 0).unwrap(), (Vec::new(), false));
    }

    #[test]
    fn a_warning_goes_in_front_of_what_the_server_said() {
        let warned = |reply: &str| {
            with_warning(reply.as_bytes(), "lost").map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(warned("{}\n").unwrap(), "{\"systemMessage\":\"lost\"}\n");
        assert_eq!(
            warned("{\"a\":1}").unwrap(),
            "{\"systemMessage\":\"lost\",\"a\":1}"
        );
        assert_eq!(warned("{\"systemMessage\":\"x\"}"), None);
    }

    #[test]
    fn what_is_no_text_in_a_path_is_marked() {
        assert_eq!(text_of(Path::new(OsStr::from_bytes(b"/a\xff\xc3b"))), "/a??b");
    }
}
