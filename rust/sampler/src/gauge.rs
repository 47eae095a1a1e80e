//! What the kernel says of this process's memory, through files that stay open.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::cgroup::{self, Group};

/// Which limit a [`Pair`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Resident bytes, and the limit that the caller gave.
    Limit,
    /// Resident bytes, and the memory of the machine.
    Machine,
    /// The control group's use without droppable file pages, and its tightest limit.
    Cgroup,
    /// Address space, and `RLIMIT_AS`.
    AddressSpace,
    /// Data pages, and `RLIMIT_DATA`.
    Data,
}

impl Source {
    /// A name for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "setting",
            Self::Machine => "machine",
            Self::Cgroup => "cgroup",
            Self::AddressSpace => "rlimit_as",
            Self::Data => "rlimit_data",
        }
    }
}

/// Bytes in use, and their limit, above 0.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Which limit.
    pub source: Source,
    /// Bytes in use.
    pub used: u64,
    /// The most there may be.
    pub limit: u64,
}

impl Pair {
    /// How full it is; above 1 where the limit is none that the kernel enforces.
    pub fn fraction(&self) -> f64 {
        self.used as f64 / self.limit as f64
    }
}

/// What the slower signals said over the last second or longer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slow {
    /// Share of the time in which some task waited for memory; None where the kernel does not tell.
    pub stalled: Option<f64>,
    /// Whether a limit of the control group was hit.
    pub hit: bool,
}

/// The open files. Made once; a reading allocates nothing and costs some microseconds.
pub struct Gauges {
    statm: Option<File>,
    page: u64,
    given: Option<u64>,
    machine: Option<u64>,
    address_space: Option<u64>,
    data: Option<u64>,
    groups: Vec<Group>,
    stalls: Option<File>,
    stalled_us: Option<(u64, Instant)>,
    first_threshold: f64,
}

impl Gauges {
    /// Opens what there is below `root` (`/`, or a test's own tree).
    pub fn open(root: &Path, limit_bytes: Option<u64>, first_threshold: f64) -> Self {
        let (groups, folder) = cgroup::groups(root);
        let stalls = folder
            .and_then(|folder| File::open(folder.join("memory.pressure")).ok())
            .or_else(|| File::open(root.join("proc/pressure/memory")).ok());
        let meminfo = std::fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        let mut gauges = Self {
            statm: File::open(root.join("proc/self/statm")).ok(),
            page: rustix::param::page_size() as u64,
            given: limit_bytes,
            machine: field(&meminfo, "MemTotal:").map(|kib| kib * 1024),
            address_space: None,
            data: None,
            groups,
            stalls,
            stalled_us: None,
            first_threshold,
        };
        gauges.refresh(Instant::now());
        gauges
    }

    /// Whether this system can say how large the process is.
    pub fn supported(&self) -> bool {
        self.statm.is_some()
    }

    /// Reads use and limit of every gauge into `pairs`, and returns the resident bytes.
    pub fn read(&self, pairs: &mut Vec<Pair>) -> Option<u64> {
        pairs.clear();
        let [size, resident, data] = read_at_start::<128, _>(self.statm.as_ref()?, statm)?;
        let resident = resident * self.page;
        let mut add = |source, used, limit: Option<u64>| {
            if let Some(limit) = limit.filter(|limit| *limit > 0) {
                pairs.push(Pair { source, used, limit });
            }
        };
        add(Source::Limit, resident, self.given);
        add(Source::Machine, resident, self.machine);
        add(Source::AddressSpace, size * self.page, self.address_space);
        add(Source::Data, data * self.page, self.data);
        for group in &self.groups {
            if let Some((used, limit)) = group.read(self.first_threshold) {
                add(Source::Cgroup, used, Some(limit));
            }
        }
        Some(resident)
    }

    /// Reads limits, hits and stalls again; to be called about once a second.
    pub fn refresh(&mut self, now: Instant) -> Slow {
        use rustix::process::{Resource, getrlimit};
        self.address_space = getrlimit(Resource::As).current;
        self.data = getrlimit(Resource::Data).current;
        let mut hit = false;
        for group in &mut self.groups {
            hit |= group.refresh();
        }
        Slow {
            stalled: self.stalled(now),
            hit,
        }
    }

    fn stalled(&mut self, now: Instant) -> Option<f64> {
        let total = read_at_start::<256, _>(self.stalls.as_ref()?, |text| {
            let line = text.lines().find(|line| line.starts_with("some"))?;
            number(line.rsplit_once("total=")?.1)
        })?;
        let (before, since) = self.stalled_us.replace((total, now))?;
        let elapsed_us = now.duration_since(since).as_micros().max(1) as f64;
        Some(total.saturating_sub(before) as f64 / elapsed_us)
    }
}

/// The fullest of the gauges.
pub fn fullest(pairs: &[Pair]) -> Option<Pair> {
    let compare = |a: &&Pair, b: &&Pair| a.fraction().total_cmp(&b.fraction());
    pairs.iter().max_by(compare).copied()
}

/// Reads up to `SIZE` bytes from the start of a kept file and hands them on as text.
pub(crate) fn read_at_start<const SIZE: usize, T>(
    file: &File,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let mut buffer = [0; SIZE];
    let length = file.read_at(&mut buffer, 0).ok()?;
    parse(std::str::from_utf8(buffer.get(..length)?).ok()?)
}

/// The number that is the whole text; None for `max` and for anything else.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number behind a name at the beginning of a line.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
    })
}

/// Pages of address space, resident, and data.
fn statm(text: &str) -> Option<[u64; 3]> {
    let mut words = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let (size, resident) = (words.next()??, words.next()??);
    Some([size, resident, words.nth(3)??])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use super::{Gauges, Pair, Source, fullest};

    /// A tree of files like the kernel's, removed at the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("retain-sampler-{}-{name}", std::process::id()));
            let tree = Self(path);
            tree.write("proc/self/statm", "5000 1000 300 1 0 2000 0\n");
            tree.write("proc/meminfo", "MemTotal:       8000000 kB\nMemFree: 1 kB\n");
            tree
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn v2(name: &str) -> Self {
            let tree = Self::new(name);
            tree.write(
                "proc/self/mountinfo",
                "35 31 0:29 / /sys/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n",
            );
            tree.write("proc/self/cgroup", "8:cpu:/x\n0::/a/b\n");
            let leaf = "sys/fs/cgroup/a/b/memory";
            tree.write(&format!("{leaf}.current"), "900\n");
            tree.write(&format!("{leaf}.max"), "max\n");
            tree.write(&format!("{leaf}.high"), "1000\n");
            tree.write(&format!("{leaf}.stat"), "anon 500\ninactive_file 300\n");
            tree.write(&format!("{leaf}.events"), "low 0\nhigh 2\nmax 1\noom 0\n");
            tree.write("sys/fs/cgroup/a/memory.current", "900\n");
            tree.write("sys/fs/cgroup/a/memory.max", "4000\n");
            tree
        }

        fn gauges(&self) -> Gauges {
            Gauges::open(&self.0, None, 0.7)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn groups_of(gauges: &Gauges) -> Vec<(u64, u64)> {
        let mut pairs = Vec::new();
        gauges.read(&mut pairs);
        let groups = pairs.iter().filter(|pair| pair.source == Source::Cgroup);
        groups.map(|pair| (pair.used, pair.limit)).collect()
    }

    #[test]
    fn this_process_has_a_size_and_a_machine() {
        let gauges = Gauges::open(Path::new("/"), Some(1 << 40), 0.7);
        let mut pairs = Vec::new();
        let resident = gauges.read(&mut pairs).unwrap();
        assert!(resident > 100_000);
        assert!(
            pairs
                .iter()
                .any(|pair| pair.source == Source::Limit && pair.used == resident)
        );
        assert!(
            pairs
                .iter()
                .any(|pair| pair.source == Source::Machine && pair.limit > resident)
        );
    }

    #[test]
    fn groups_of_version_2_count_up_to_the_root_and_leave_droppable_pages_out() {
        let tree = Tree::v2("v2");
        assert_eq!(groups_of(&tree.gauges()), [(600, 1000), (900, 4000)]);
    }

    #[test]
    fn groups_of_version_1_are_read_where_there_is_no_other() {
        let tree = Tree::new("v1");
        tree.write(
            "proc/self/mountinfo",
            "35 31 0:32 /top /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        );
        tree.write("proc/self/cgroup", "4:memory:/top/in\n0::/\n");
        let leaf = "sys/fs/cgroup/memory/in/memory";
        tree.write(&format!("{leaf}.usage_in_bytes"), "800\n");
        tree.write(&format!("{leaf}.limit_in_bytes"), "1000\n");
        tree.write(&format!("{leaf}.stat"), "cache 1\ntotal_inactive_file 50\n");
        tree.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "800\n");
        tree.write(
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        assert_eq!(groups_of(&tree.gauges()), [(750, 1000)]);
    }

    #[test]
    fn a_limit_that_changes_or_is_hit_is_seen_at_the_next_refresh() {
        let tree = Tree::v2("hits");
        let mut gauges = tree.gauges();
        assert!(!gauges.refresh(Instant::now()).hit);
        tree.write("sys/fs/cgroup/a/b/memory.events", "low 0\nhigh 3\nmax 1\n");
        tree.write("sys/fs/cgroup/a/b/memory.max", "950\n");
        assert!(gauges.refresh(Instant::now()).hit);
        assert_eq!(groups_of(&gauges).first(), Some(&(600, 950)));
    }

    #[test]
    fn stalls_are_the_share_of_the_time_between_two_refreshes() {
        let tree = Tree::new("stalls");
        let line = |total: u32| format!("some avg10=0.00 total={total}\nfull avg10=0.00 total=0\n");
        tree.write("proc/pressure/memory", &line(1_000));
        let mut gauges = tree.gauges();
        let start = Instant::now();
        gauges.refresh(start);
        tree.write("proc/pressure/memory", &line(501_000));
        let slow = gauges.refresh(start + Duration::from_secs(1));
        assert_eq!(slow.stalled, Some(0.5));
    }

    #[test]
    fn a_system_without_proc_is_not_supported() {
        let tree = Tree::new("bare");
        fs::remove_file(tree.0.join("proc/self/statm")).unwrap();
        let gauges = tree.gauges();
        assert!(!gauges.supported());
        assert_eq!(gauges.read(&mut Vec::new()), None);
    }

    #[test]
    fn the_fullest_gauge_decides() {
        let pair = |source, used, limit| Pair { source, used, limit };
        let pairs = [
            pair(Source::Machine, 5, 10),
            pair(Source::Data, 3, 4),
            pair(Source::Cgroup, 0, 1),
        ];
        assert_eq!(fullest(&pairs).unwrap().source, Source::Data);
        assert!(fullest(&[]).is_none());
    }
}
