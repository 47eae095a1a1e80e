//! Asking a live server what to tell the model: one frame there, one frame back, never past a deadline.
//!
//! A frame is its length in four bytes, little-endian, and that many bytes of JSON. The question goes out before
//! the record is synced, and the answer is read after, so that the server works while the disk does.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::event::push_string;
use crate::record::Place;

/// Longest answer that is printed.
pub(crate) const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Longest event that a server is asked about.
pub(crate) const ASKED_BYTES_MAX: usize = 1024 * 1024;

const SOCKET: &str = "hook.sock";

/// A question on its way.
pub(crate) struct Asked {
    stream: UnixStream,
    frame: Vec<u8>,
    sent: usize,
}

/// The frame of a question.
pub(crate) fn question(event: &str, place: &Place) -> Vec<u8> {
    let mut json = String::with_capacity(event.len() + 300);
    json.push_str("{\"v\":1,\"event\":");
    json.push_str(event);
    for (key, text) in [
        ("cwd", &*place.cwd),
        ("branch", &*place.branch),
        ("commit", &*place.commit),
    ] {
        json.push_str(",\"");
        json.push_str(key);
        json.push_str("\":");
        push_string(&mut json, text);
    }
    json.push('}');
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), json.as_bytes()].concat()
}

impl Asked {
    /// Connects and sends what fits at once; None where no server of this user listens.
    pub(crate) fn new(home: &Path, frame: Vec<u8>) -> Option<Self> {
        let stream = reach(&home.join("run"))?;
        let mut asked = Self {
            stream,
            frame,
            sent: 0,
        };
        match asked.send() {
            Ok(()) => Some(asked),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(asked),
            Err(_) => None,
        }
    }

    /// Waits for the answer until the deadline; past it, takes only what is there already.
    ///
    /// None where the server has not answered, not in time, or not as agreed.
    pub(crate) fn answer(mut self, deadline: Instant) -> Option<Vec<u8>> {
        while self.sent < self.frame.len() {
            match self.send() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(&self.stream, PollFlags::OUT, deadline).then_some(())?;
                }
                sent => sent.ok()?,
            }
        }
        let mut reply = Vec::new();
        loop {
            match read_some(&mut self.stream, &mut reply) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(&self.stream, PollFlags::IN, deadline).then_some(())?;
                }
                Err(_) | Ok(0) => return None,
                Ok(_) => {
                    if let Some(printable) = whole(&reply) {
                        return printable.then(|| reply.split_off(4));
                    }
                }
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while self.sent < self.frame.len() {
            self.sent += self.stream.write(&self.frame[self.sent..])?;
        }
        Ok(())
    }
}

/// Whether a reply is whole and to be printed; None while more is to come.
fn whole(reply: &[u8]) -> Option<bool> {
    let (head, body) = reply.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
    if length > REPLY_BYTES_MAX || body.len() > length {
        return Some(false);
    }
    (body.len() == length).then(|| is_printable(body))
}

/// Whether bytes may be printed as a hook's answer: the client takes anything but an object for plain text.
pub(crate) fn is_printable(reply: &[u8]) -> bool {
    let closed = reply.trim_ascii_end().ends_with(b"}");
    reply.starts_with(b"{") && closed && reply.len() <= REPLY_BYTES_MAX && std::str::from_utf8(reply).is_ok()
}

pub(crate) fn read_some(from: &mut impl Read, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 8192];
    loop {
        match from.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => {
                into.extend_from_slice(&chunk[..*read.as_ref().unwrap_or(&0)]);
                return read;
            }
        }
    }
}

/// Waits until a descriptor is ready; false where the deadline came first.
pub(crate) fn wait(file: &impl std::os::fd::AsFd, flags: PollFlags, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(file, flags)], limit.as_ref()) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// A connection to the server's socket, if that is this user's; it never blocks.
fn reach(run: &Path) -> Option<UnixStream> {
    let path = run.join(SOCKET);
    let found = std::fs::symlink_metadata(&path).ok()?;
    let me = rustix::process::getuid();
    if !found.file_type().is_socket() || found.uid() != me.as_raw() {
        return None;
    }
    let socket = unix_socket().ok()?;
    match SocketAddrUnix::new(&path) {
        Ok(address) => connect(&socket, &address).ok()?,
        Err(_) => connect_from(&socket, run)?,
    }
    if !is_of(&socket, me) {
        return None;
    }
    Some(UnixStream::from(socket))
}

#[cfg(target_os = "linux")]
fn unix_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

#[cfg(not(target_os = "linux"))]
fn unix_socket() -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::empty(),
        None,
    )?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    rustix::io::ioctl_fioclex(&socket)?;
    Ok(socket)
}

/// Connects where the whole path is longer than the address of a socket may be.
#[cfg(target_os = "linux")]
fn connect_from(socket: &OwnedFd, run: &Path) -> Option<()> {
    use std::os::fd::AsRawFd;
    let folder = File::open(run).ok()?;
    let near = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    connect(socket, &SocketAddrUnix::new(near).ok()?).ok()
}

/// Connects where the whole path is longer than the address of a socket may be.
#[cfg(not(target_os = "linux"))]
fn connect_from(socket: &OwnedFd, run: &Path) -> Option<()> {
    let before = File::open(".").ok()?;
    std::env::set_current_dir(run).ok()?;
    let connected = SocketAddrUnix::new(SOCKET).and_then(|address| connect(socket, &address));
    rustix::process::fchdir(before).ok()?;
    connected.ok()
}

/// Whether the other end runs as this user.
#[cfg(target_os = "linux")]
fn is_of(socket: &OwnedFd, me: rustix::process::Uid) -> bool {
    rustix::net::sockopt::socket_peercred(socket).is_ok_and(|peer| peer.uid == me)
}

/// Whether the other end runs as this user; here the owner of the socket's file must do.
#[cfg(not(target_os = "linux"))]
fn is_of(_: &OwnedFd, _: rustix::process::Uid) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::{Asked, REPLY_BYTES_MAX, is_printable, question, whole};
    use crate::record::Place;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    fn framed(body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], body].concat()
    }

    fn asked(ours: UnixStream, frame: Vec<u8>) -> Asked {
        ours.set_nonblocking(true).unwrap();
        Asked {
            stream: ours,
            frame,
            sent: 0,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_question_is_one_frame_of_json() {
        let place = Place {
            cwd: "/a \"b\"".into(),
            branch: "main".into(),
            commit: String::new(),
        };
        let frame = question("{\"x\":1}", &place);
        let json = br#"{"v":1,"event":{"x":1},"cwd":"/a \"b\"","branch":"main","commit":""}"#;
        assert_eq!(frame, framed(json));
    }

    #[test]
    fn an_answer_comes_through_in_pieces_and_a_long_question_goes_out_in_pieces() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let frame = framed(&vec![b'q'; 900_000]);
        let expected = frame.clone();
        let server = std::thread::spawn(move || {
            let mut got = vec![0; expected.len()];
            theirs.read_exact(&mut got).unwrap();
            assert_eq!(got, expected);
            for byte in framed(b"{\"a\":1}") {
                theirs.write_all(&[byte]).unwrap();
            }
        });
        assert_eq!(asked(ours, frame).answer(soon()), Some(b"{\"a\":1}".to_vec()));
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_says_nothing_or_goes_away_has_no_answer() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert_eq!(asked(ours, framed(b"{}")).answer(Instant::now()), None);
        drop(theirs);
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(asked(ours, framed(b"{}")).answer(soon()), None);
    }

    #[test]
    fn what_is_there_at_the_deadline_is_taken() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&framed(b"{}")).unwrap();
        assert_eq!(
            asked(ours, framed(b"{}")).answer(Instant::now()),
            Some(b"{}".to_vec())
        );
    }

    #[test]
    fn a_reply_that_is_not_as_agreed_is_dropped() {
        let long = vec![b' '; REPLY_BYTES_MAX];
        for body in [&b""[..], b"[]", b"plain", b"{", b"{\xff}", b"{} x"] {
            assert_eq!(whole(&framed(body)), Some(false), "{body:?}");
        }
        assert_eq!(
            whole(&[b"\xff\xff\xff\xff{}"[..].to_vec(), long].concat()),
            Some(false)
        );
        assert_eq!(whole(b"\x02\0\0\0{}more"), Some(false));
        assert_eq!(whole(&framed(b"{}\n")), Some(true));
        assert_eq!(
            (whole(b""), whole(b"\x02\0\0"), whole(b"\x02\0\0\0{")),
            (None, None, None)
        );
    }

    #[test]
    fn random_bytes_from_a_server_are_printed_only_where_they_are_an_object() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let length = rng.usize(..40);
            let mut reply: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
            if length > 5 && rng.bool() {
                reply[..4].copy_from_slice(&u32::try_from(length - 4).unwrap().to_le_bytes());
                reply[4] = b'{';
                reply[length - 1] = b'}';
            }
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&reply).unwrap();
            drop(theirs);
            if let Some(body) = asked(ours, Vec::new()).answer(soon()) {
                assert!(is_printable(&body) && reply[4..] == body);
            }
        }
    }
}
