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
    /// The last part of every value, ascending, with the value.
    named: Vec<(String, String)>,
    /// Entries of the column: a row with three values has three.
    entries: f64,
}

impl Sample {
    pub(crate) fn new(mut values: Vec<String>, entries: u64) -> Self {
        values.sort_unstable();
        let named = values
            .iter()
            .map(|value| (last_part(value).to_owned(), value.clone()));
        let mut named: Vec<(String, String)> = named.collect();
        named.sort_unstable();
        Self {
            values,
            named,
            entries: entries as f64,
        }
    }

    pub(crate) fn entries(&self) -> f64 {
        self.entries
    }

    /// Entries whose value matches; where the sample holds none, half of one sampled entry's weight.
    pub(crate) fn matching(&self, pattern: &Glob<'_>) -> f64 {
        if let Some(folder) = pattern.folder() {
            let inside = self
                .ranges(&format!("{folder}/"))
                .into_iter()
                .map(<[String]>::len);
            return self.weigh(inside.sum());
        }
        let hits = match pattern.name() {
            Some(name) => {
                let named = among(
                    &self.named,
                    |(one, _)| one.as_str() < name,
                    |(one, _)| one == name,
                );
                named.iter().filter(|(_, value)| pattern.matches(value)).count()
            }
            None if pattern.is_of_names() => {
                let names = self.named.iter().map(|(name, _)| name);
                names.filter(|name| pattern.matches(name)).count()
            }
            None => {
                let ranges = self.ranges(&pattern.prefix());
                let values = ranges.into_iter().flatten();
                values.filter(|value| pattern.matches(value)).count()
            }
        };
        self.weigh(hits)
    }

    /// Entries whose value begins with a prefix, after a slash or not.
    pub(crate) fn beginning_with(&self, prefix: &str) -> f64 {
        self.weigh(self.ranges(prefix).into_iter().map(<[String]>::len).sum())
    }

    fn ranges(&self, prefix: &str) -> [&[String]; 2] {
        let of = |prefix: &str| {
            among(
                &self.values,
                |value| value.as_str() < prefix,
                |value| value.starts_with(prefix),
            )
        };
        // An empty prefix takes everything already.
        let slashed = if prefix.is_empty() {
            Default::default()
        } else {
            of(&format!("/{prefix}"))
        };
        [of(prefix), slashed]
    }

    fn weigh(&self, hits: usize) -> f64 {
        if self.values.is_empty() {
            return 0.0;
        }
        (hits as f64).max(0.5) * self.entries / self.values.len() as f64
    }
}

/// The run of ascending `values` that fits; those before it are less.
fn among<T>(values: &[T], less: impl Fn(&T) -> bool, fits: impl Fn(&T) -> bool) -> &[T] {
    let rest = values.get(values.partition_point(less)..).unwrap_or_default();
    rest.get(..rest.partition_point(fits)).unwrap_or_default()
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
