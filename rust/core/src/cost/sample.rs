//! An even sample of the entries of a text column.
//!
//! Taken in the order of the values, it is at once a histogram over them (how many begin with a
//! prefix is known to one sampled entry a side) and a sample to try patterns on. It answers for the
//! long tail that the most common values leave out; paths have one.

use super::glob::{Glob, last_part};

#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Ascending; a value that many rows have occurs often.
    values: Vec<String>,
    /// The last parts of all values, ascending.
    names: Vec<String>,
    /// Entries of the column: a row with three values has three.
    entries: f64,
}

impl Sample {
    pub(crate) fn new(mut values: Vec<String>, entries: u64) -> Self {
        values.sort_unstable();
        let mut names: Vec<String> = values.iter().map(|value| last_part(value).to_owned()).collect();
        names.sort_unstable();
        Self {
            values,
            names,
            entries: entries as f64,
        }
    }

    pub(crate) fn entries(&self) -> f64 {
        self.entries
    }

    /// Entries whose value matches; where the sample holds none, half of one sampled entry's weight.
    pub(crate) fn matching(&self, pattern: &Glob<'_>) -> f64 {
        if let Some(name) = pattern.name() {
            return self.weigh(among(&self.names, name, |one| one == name).len());
        }
        let prefix = pattern.prefix();
        let hits = |values: &[String]| values.iter().filter(|value| pattern.matches(value)).count();
        self.weigh(self.ranges(&prefix).map(hits).sum())
    }

    /// Entries whose value begins with a prefix, after a slash or not.
    pub(crate) fn beginning_with(&self, prefix: &str) -> f64 {
        self.weigh(self.ranges(prefix).map(<[String]>::len).sum())
    }

    fn ranges(&self, prefix: &str) -> impl Iterator<Item = &[String]> {
        let slashed = format!("/{prefix}");
        let bare = among(&self.values, prefix, |one| one.starts_with(prefix));
        // An empty prefix takes everything already.
        let other = if prefix.is_empty() {
            Default::default()
        } else {
            among(&self.values, &slashed, |one| one.starts_with(&slashed))
        };
        [bare, other].into_iter()
    }

    fn weigh(&self, hits: usize) -> f64 {
        if self.values.is_empty() {
            return 0.0;
        }
        (hits as f64).max(0.5) * self.entries / self.values.len() as f64
    }
}

/// The run of `values` that fits, found by the least value that it can have.
fn among<'a>(values: &'a [String], from: &str, fits: impl Fn(&str) -> bool) -> &'a [String] {
    let start = values.partition_point(|value| value.as_str() < from);
    let rest = values.get(start..).unwrap_or_default();
    let end = rest.partition_point(|value| fits(value));
    rest.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Glob, Sample};

    #[test]
    fn a_sample_answers_for_prefixes_names_and_patterns() {
        let values = (0..200).map(|n| format!("src/part{}/file{}.py", n % 10, n / 10));
        let sample = Sample::new(values.collect(), 2_000);
        let matching = |pattern| sample.matching(&Glob::new(pattern));
        assert_eq!(matching("src/part3/**"), 200.0);
        assert_eq!(matching("file7.py"), 100.0);
        assert_eq!(matching("*7.py"), 200.0);
        assert_eq!(matching("src/*/file7.py"), 100.0);
        assert_eq!(matching("lib/**"), 5.0);
        assert_eq!(sample.beginning_with("src/part1"), 200.0);
        assert_eq!(sample.beginning_with(""), 2_000.0);
        assert_eq!(Sample::new(Vec::new(), 0).matching(&Glob::new("*")), 0.0);
    }
}
