//! Where retain keeps its files: the rule of `retain/home.py`, to the letter.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Why there is no data directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Neither the environment nor the password database names a home.
    NoHome,
    /// The folder that a relative place starts from is gone.
    NoFolder(i32),
    /// A rare form (`~name`, a HOME that is no absolute path) that only the Python hook resolves.
    Rare,
}

/// What the rule asks of the world.
pub(crate) trait World {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<OsString>;
    /// The home that the password database names for this user.
    fn home_of_user(&self) -> Option<OsString>;
    /// The current folder.
    fn folder(&self) -> Result<OsString, i32>;
    /// Whether the platform is macOS.
    fn is_mac(&self) -> bool;
}

/// The data directory: an absolute path, not yet created.
pub(crate) fn data_home(world: &impl World) -> Result<Vec<u8>, Lost> {
    let named = |name| world.variable(name).unwrap_or_default().into_vec();
    let explicit = named("RETAIN_HOME");
    if !explicit.is_empty() {
        return absolute(world, &explicit);
    }
    let shared = named("XDG_DATA_HOME");
    if shared.starts_with(b"/") {
        return Ok([without_slashes(&shared), b"/retain"].concat());
    }
    let user = match world.variable("HOME") {
        Some(user) if user.as_bytes().starts_with(b"/") => user.into_vec(),
        Some(_) => return Err(Lost::Rare),
        None => world.home_of_user().ok_or(Lost::NoHome)?.into_vec(),
    };
    if !user.starts_with(b"/") {
        return Err(Lost::NoHome);
    }
    let tail: &[u8] = if world.is_mac() {
        b"/Library/Application Support/retain"
    } else {
        b"/.local/share/retain"
    };
    Ok([without_slashes(&user), tail].concat())
}

fn absolute(world: &impl World, path: &[u8]) -> Result<Vec<u8>, Lost> {
    let mut path = path.to_vec();
    if path.starts_with(b"~") {
        if path.len() > 1 && path[1] != b'/' {
            return Err(Lost::Rare);
        }
        let user = world.variable("HOME").or_else(|| world.home_of_user());
        if let Some(user) = user {
            path = [without_slashes(user.as_bytes()), &path[1..]].concat();
            if path.is_empty() {
                path = b"/".to_vec();
            }
        }
    }
    if !path.starts_with(b"/") {
        let folder = world.folder().map_err(Lost::NoFolder)?;
        path = [without_slashes(folder.as_bytes()), b"/", &path].concat();
    }
    Ok(normal(&path))
}

/// An absolute path without `.`, `..` and doubled slashes; two at the start stay, as POSIX lets them.
fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let start: &[u8] = if path.starts_with(b"//") && !path.starts_with(b"///") {
        b"//"
    } else {
        b"/"
    };
    [start, &parts.join(&b'/')].concat()
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |last| last + 1);
    &path[..end]
}

/// The world as it is.
pub(crate) struct Here<'a> {
    /// A data directory from the command line, which wins over the environment.
    pub(crate) home: Option<&'a OsStr>,
}

impl World for Here<'_> {
    fn variable(&self, name: &str) -> Option<OsString> {
        match self.home {
            Some(home) if name == "RETAIN_HOME" => Some(home.to_os_string()),
            _ => std::env::var_os(name),
        }
    }

    fn home_of_user(&self) -> Option<OsString> {
        // Asked only where HOME is not set, and then this is the password database.
        std::env::home_dir().map(Into::into)
    }

    fn folder(&self) -> Result<OsString, i32> {
        std::env::current_dir()
            .map(Into::into)
            .map_err(|error| error.raw_os_error().unwrap_or_default())
    }

    fn is_mac(&self) -> bool {
        cfg!(target_os = "macos")
    }
}

#[cfg(test)]
mod tests {
    use super::{Lost, World, data_home};
    use std::ffi::OsString;

    struct Made(&'static [(&'static str, &'static str)]);

    impl World for Made {
        fn variable(&self, name: &str) -> Option<OsString> {
            let found = self.0.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.into())
        }
        fn home_of_user(&self) -> Option<OsString> {
            self.variable("passwd")
        }
        fn folder(&self) -> Result<OsString, i32> {
            self.variable("cwd").ok_or(2)
        }
        fn is_mac(&self) -> bool {
            self.variable("mac").is_some()
        }
    }

    fn found(variables: &'static [(&'static str, &'static str)]) -> Result<String, Lost> {
        data_home(&Made(variables)).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn the_places_follow_each_other() {
        let all = &[("RETAIN_HOME", "/r"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(found(all).unwrap(), "/r");
        assert_eq!(
            found(&[("XDG_DATA_HOME", "/x//"), ("HOME", "/h")]).unwrap(),
            "/x/retain"
        );
        assert_eq!(
            found(&[("XDG_DATA_HOME", "x"), ("HOME", "/h/")]).unwrap(),
            "/h/.local/share/retain"
        );
        assert_eq!(found(&[("HOME", "/")]).unwrap(), "/.local/share/retain");
        assert_eq!(found(&[("passwd", "/p")]).unwrap(), "/p/.local/share/retain");
        assert_eq!(
            found(&[("HOME", "/h"), ("mac", "1")]).unwrap(),
            "/h/Library/Application Support/retain"
        );
    }

    #[test]
    fn a_place_that_is_written_in_another_way_becomes_absolute() {
        for (given, place) in [
            ("/a/", "/a"),
            ("/", "/"),
            ("/a//b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", "/"),
            ("//a", "//a"),
            ("///a", "/a"),
            ("rel/x", "/cwd/rel/x"),
            ("..", "/"),
            ("~", "/h"),
            ("~/x", "/h/x"),
            ("/a/.b", "/a/.b"),
        ] {
            let world = Box::leak(Box::new([
                ("RETAIN_HOME", given),
                ("HOME", "/h/"),
                ("cwd", "/cwd"),
            ]));
            assert_eq!(found(world).unwrap(), place, "{given}");
        }
    }

    #[test]
    fn without_any_home_there_is_no_place() {
        assert_eq!(found(&[]), Err(Lost::NoHome));
        assert_eq!(found(&[("passwd", "p")]), Err(Lost::NoHome));
        assert_eq!(found(&[("HOME", "relative")]), Err(Lost::Rare));
        assert_eq!(found(&[("HOME", "")]), Err(Lost::Rare));
        assert_eq!(found(&[("RETAIN_HOME", "~ann/x")]), Err(Lost::Rare));
        assert_eq!(found(&[("RETAIN_HOME", "x")]), Err(Lost::NoFolder(2)));
    }
}
