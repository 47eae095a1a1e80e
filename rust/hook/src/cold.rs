//! The Python beside this executable: it answers where no server is alive, and takes over what is rare.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::event::PollFlags;

use crate::ask::{REPLY_BYTES_MAX, is_printable, read_some, wait};

/// The answer of `retain hook --answer` to an event; None where it does not come by the deadline.
pub(crate) fn answer(payload: &[u8], home: Option<&OsStr>, deadline: Instant) -> Option<Vec<u8>> {
    let mut child = command(home)
        .arg("--answer")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let mut stdout = child.stdout.take()?;
    let payload = payload.to_vec();
    // By itself, since the child may not read what the pipe does not hold; it ends with this process.
    std::thread::spawn(move || {
        let _ = stdin.write_all(&payload);
    });
    let mut reply = Vec::new();
    let whole = loop {
        if !wait(&stdout, PollFlags::IN, deadline) {
            break reply.ends_with(b"\n"); // said, and not done with what it keeps for itself
        }
        match read_some(&mut stdout, &mut reply) {
            Ok(0) => break true,
            Ok(_) if reply.len() <= REPLY_BYTES_MAX => {}
            _ => break false,
        }
    };
    if !whole {
        let _ = child.kill();
        return None;
    }
    is_printable(&reply).then_some(reply)
}

/// Becomes the Python hook, which reads the same stdin; returns only where that cannot be started.
pub(crate) fn hand_over(home: Option<&OsStr>) -> std::io::Error {
    command(home).exec()
}

fn command(home: Option<&OsStr>) -> Command {
    let mut command = Command::new(python());
    command.args(["-P", "-m", "retain", "hook"]);
    if let Some(home) = home {
        command.env("RETAIN_HOME", home);
    }
    command
}

fn python() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .map(|own| own.with_file_name("python3"));
    let runs = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    beside.filter(runs).unwrap_or_else(|| "python3".into())
}
