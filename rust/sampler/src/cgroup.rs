//! The memory controller's groups above this process, version 2 or 1: what they use, and their limits.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::gauge::{field, number, read_at_start};

/// From here on a limit means that there is none (version 1 writes a number for "unlimited").
const UNLIMITED: u64 = 1 << 60;

/// The names of the files of one version.
struct Names {
    usage: &'static str,
    limits: [&'static str; 2],
    /// The field of `memory.stat` with the file pages that are given up first.
    reclaimable: &'static str,
    /// Files that count how often a limit was hit.
    hits: &'static str,
}

const V2: Names = Names {
    usage: "memory.current",
    limits: ["memory.max", "memory.high"],
    reclaimable: "inactive_file",
    hits: "memory.events",
};
const V1: Names = Names {
    usage: "memory.usage_in_bytes",
    limits: ["memory.limit_in_bytes", "memory.limit_in_bytes"],
    reclaimable: "total_inactive_file",
    hits: "memory.failcnt",
};

/// One group that has, or may get, a limit.
pub(crate) struct Group {
    names: &'static Names,
    usage: File,
    limits: Vec<File>,
    stat: Option<File>,
    hits: Option<File>,
    limit: Option<u64>,
    hit_count: u64,
}

impl Group {
    fn open(folder: &Path, names: &'static Names) -> Option<Self> {
        let open = |name: &str| File::open(folder.join(name)).ok();
        let mut group = Self {
            names,
            usage: open(names.usage)?,
            limits: names.limits.iter().filter_map(|name| open(name)).collect(),
            stat: open("memory.stat"),
            hits: open(names.hits),
            limit: None,
            hit_count: 0,
        };
        group.refresh();
        Some(group)
    }

    /// Reads the limit again; whether it was hit since the last time.
    pub(crate) fn refresh(&mut self) -> bool {
        let limits = self
            .limits
            .iter()
            .filter_map(|file| read_at_start::<64, _>(file, number));
        self.limit = limits.filter(|limit| (1..UNLIMITED).contains(limit)).min();
        let count = self.hits.as_ref().and_then(|file| {
            read_at_start::<512, _>(file, |text| {
                number(text).or_else(|| Some(field(text, "high")? + field(text, "max")?))
            })
        });
        let before = std::mem::replace(&mut self.hit_count, count.unwrap_or(0));
        self.hit_count > before
    }

    /// Bytes in use and the limit. File pages that can be dropped count only far below the limit, where
    /// it makes no difference: to know them costs a longer reading.
    pub(crate) fn read(&self, first_threshold: f64) -> Option<(u64, u64)> {
        let limit = self.limit?;
        let used = read_at_start::<64, _>(&self.usage, number)?;
        if (used as f64) < first_threshold * limit as f64 {
            return Some((used, limit));
        }
        let droppable = self
            .stat
            .as_ref()
            .and_then(|file| read_at_start::<8192, _>(file, |text| field(text, self.names.reclaimable)));
        Some((used.saturating_sub(droppable.unwrap_or(0)), limit))
    }

    pub(crate) fn limited(&self) -> bool {
        self.limit.is_some()
    }
}

/// The group of this process, if readable, and those above it that have a limit; and its folder.
pub(crate) fn groups(root: &Path) -> (Vec<Group>, Option<PathBuf>) {
    let text = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    let (mounts, paths) = (text("proc/self/mountinfo"), text("proc/self/cgroup"));
    for (kind, names) in [("cgroup2", &V2), ("cgroup", &V1)] {
        let Some((top, leaf)) = place(root, &mounts, &paths, kind) else {
            continue;
        };
        let mut found = Vec::new();
        for folder in leaf.ancestors().take_while(|folder| folder.starts_with(&top)) {
            found.extend(Group::open(folder, names).filter(|group| group.limited() || *folder == leaf));
        }
        if !found.is_empty() {
            return (found, Some(leaf));
        }
    }
    (Vec::new(), None)
}

/// The mount point of a hierarchy with the memory controller, and the folder of this process's group.
fn place(root: &Path, mounts: &str, paths: &str, kind: &str) -> Option<(PathBuf, PathBuf)> {
    let (mounted, point) = mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut tail = tail.split(' ');
        let fits = tail.next() == Some(kind)
            && (kind == "cgroup2" || tail.nth(1)?.split(',').any(|option| option == "memory"));
        let mut head = head.split(' ').skip(3);
        fits.then_some((head.next()?, head.next()?))
    })?;
    let path = paths.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        let fits = if kind == "cgroup2" {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|name| name == "memory")
        };
        fits.then(|| parts.next())?
    })?;
    let below = Path::new(path).strip_prefix(mounted).unwrap_or(Path::new(""));
    let top = root.join(point.trim_start_matches('/'));
    let leaf = top.join(below.strip_prefix("/").unwrap_or(below));
    Some((top, leaf))
}
