//! The cache against naive twins, over random operations.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use retain_core::cache::{Cache, EntryOptions, Limits, PolicyName, Read, Removed};

/// A map with the same promises, and for LRU the same order, in the simplest words.
struct Twin {
    /// From least to most recently used.
    order: Vec<u64>,
    entries: BTreeMap<u64, TwinEntry>,
    limits: Limits,
    idle_ttl: Option<u64>,
}

#[derive(Clone)]
struct TwinEntry {
    value: u64,
    bytes: u64,
    ends: Option<u64>,
    used_at: u64,
    tags: Vec<String>,
}

impl Twin {
    fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.bytes).sum()
    }

    fn remove(&mut self, key: u64) -> Option<TwinEntry> {
        self.order.retain(|other| *other != key);
        self.entries.remove(&key)
    }

    fn expire(&mut self, now: u64) {
        let idle_ttl = self.idle_ttl;
        self.retain(|entry| {
            let idles = idle_ttl.is_some_and(|ttl| entry.used_at + ttl <= now);
            !idles && entry.ends.is_none_or(|ends| ends > now)
        });
    }

    fn retain(&mut self, keep: impl Fn(&TwinEntry) -> bool) {
        self.entries.retain(|_, entry| keep(entry));
        self.order.retain(|key| self.entries.contains_key(key));
    }

    fn use_key(&mut self, key: u64, now: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.used_at = now;
        }
        self.order.retain(|other| *other != key);
        self.order.push(key);
    }

    fn set(&mut self, key: u64, entry: TwinEntry) {
        self.remove(key);
        let too_large = self.limits.max_bytes.is_some_and(|max| entry.bytes > max);
        if self.limits.max_entries > 0 && !too_large {
            let used_at = entry.used_at;
            self.entries.insert(key, entry);
            self.use_key(key, used_at);
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        let over = |twin: &Self| {
            twin.entries.len() > twin.limits.max_entries
                || twin.limits.max_bytes.is_some_and(|max| twin.bytes() > max)
        };
        while over(self) {
            let victim = self.order[0];
            self.remove(victim);
        }
    }
}

struct Pair {
    cache: Cache<u64, u64>,
    twin: Twin,
    policy: PolicyName,
    /// Pairs put in and pairs that came out: nothing may get lost or appear twice.
    given: u64,
    returned: u64,
}

impl Pair {
    fn settle(&mut self, removed: Removed<u64, u64>) {
        self.returned += removed.into_pairs().count() as u64;
    }

    /// Clears ended entries away on both sides, so that room is made alike.
    fn expire(&mut self, now: u64) {
        let mut removed = Removed::new();
        self.cache.expire(now, usize::MAX, &mut removed);
        self.settle(removed);
        self.twin.expire(now);
    }

    fn get(&mut self, key: u64, now: u64) {
        let slot = self.cache.locate(hash(key), |stored| *stored == key);
        let live = slot.is_some_and(|slot| self.cache.is_live(slot, now));
        let found = match self.cache.read(slot, now) {
            Read::Hit(value) => Some(*value),
            Read::Miss => None,
            Read::Ended(_) => {
                self.returned += 1;
                None
            }
        };
        assert_eq!(live, found.is_some());
        self.twin.expire(now);
        let expected = self.twin.entries.get(&key).map(|entry| entry.value);
        if self.policy == PolicyName::Lru {
            assert_eq!(found, expected);
        } else if found.is_some() {
            assert_eq!(found, expected, "what is there is what was put there");
        } else {
            // The twin does not know W-TinyLFU's victims; it learns them here.
            self.twin.remove(key);
        }
        if found.is_some() {
            self.twin.use_key(key, now);
        }
    }

    fn set(&mut self, key: u64, entry: TwinEntry, now: u64) {
        self.expire(now);
        let known = self.cache.locate(hash(key), |stored| *stored == key);
        let ttl = entry.ends.map(|ends| ends - now);
        let options = EntryOptions {
            ttl,
            bytes: entry.bytes,
            tags: &entry.tags,
        };
        let mut removed = Removed::new();
        self.given += 1;
        self.cache
            .insert(known, hash(key), (key, entry.value), options, now, &mut removed);
        self.settle(removed);
        self.twin.set(key, entry);
        if self.policy != PolicyName::Lru {
            self.learn();
        }
    }

    /// Makes the twin hold what the cache holds, where the cache may choose.
    fn learn(&mut self) {
        let kept: BTreeSet<u64> = self.cache.iter().map(|(key, _)| *key).collect();
        assert!(
            kept.iter().all(|key| self.twin.entries.contains_key(key)),
            "none from nowhere"
        );
        self.twin.entries.retain(|key, _| kept.contains(key));
        self.twin.order.retain(|key| kept.contains(key));
    }

    fn take(&mut self, key: u64) {
        let slot = self.cache.locate(hash(key), |stored| *stored == key);
        let taken = slot.and_then(|slot| self.cache.take(slot));
        self.returned += u64::from(taken.is_some());
        assert_eq!(
            taken.map(|(_, value)| value),
            self.twin.remove(key).map(|entry| entry.value)
        );
    }

    fn invalidate_tag(&mut self, tag: &str) {
        let mut removed = Removed::new();
        let count = self.cache.invalidate_tag(tag, &mut removed);
        self.settle(removed);
        let carries = |entry: &TwinEntry| entry.tags.iter().any(|name| name == tag);
        let before = self.twin.entries.len();
        self.twin.retain(|entry| !carries(entry));
        assert_eq!(count, before - self.twin.entries.len());
    }

    fn resize(&mut self, limits: Limits) {
        let mut removed = Removed::new();
        self.cache.resize(limits, &mut removed).unwrap();
        self.settle(removed);
        if self.policy == PolicyName::Lru {
            self.twin.limits = limits;
            self.twin.shrink();
        } else {
            self.learn();
        }
    }

    fn clear(&mut self) {
        let mut removed = Removed::new();
        self.cache.clear(&mut removed);
        self.settle(removed);
        self.twin.retain(|_| false);
    }

    fn check(&self) {
        let stored: BTreeMap<u64, u64> = self.cache.iter().map(|(key, value)| (*key, *value)).collect();
        let expected = self
            .twin
            .entries
            .iter()
            .map(|(key, entry)| (*key, entry.value))
            .collect();
        assert_eq!(stored, expected);
        assert_eq!(self.cache.len(), stored.len(), "no key twice");
        assert_eq!(self.cache.bytes(), self.twin.bytes());
        assert_eq!(self.given, self.returned + stored.len() as u64);
        let timed = self.twin.entries.values().any(|entry| entry.ends.is_some());
        assert_eq!(self.cache.needs_clock(), timed || self.twin.idle_ttl.is_some());
        let limits = self.cache.limits();
        assert!(self.cache.len() <= limits.max_entries);
        assert!(limits.max_bytes.is_none_or(|max| self.cache.bytes() <= max));
    }
}

/// Collides often, so that comparing keys matters.
fn hash(key: u64) -> u64 {
    key % 61
}

fn run(policy: PolicyName, seed: u64, operations: u64) {
    let mut rng = Rng::with_seed(seed);
    let limits = Limits {
        max_entries: rng.usize(1..60),
        max_bytes: rng.bool().then(|| rng.u64(50..400)),
    };
    let mut twin = Twin {
        order: Vec::new(),
        entries: BTreeMap::new(),
        limits,
        idle_ttl: (rng.u32(0..3) == 0).then(|| rng.u64(1..200)),
    };
    if policy == PolicyName::WTinyLfu {
        // The twin learns after each write what W-TinyLFU chose, and must not choose itself.
        twin.limits = Limits {
            max_entries: usize::MAX,
            max_bytes: None,
        };
    }
    let mut cache = Cache::new(limits, policy).unwrap();
    if let Some(idle_ttl) = twin.idle_ttl {
        cache = cache.with_idle_ttl(idle_ttl);
    }
    let mut pair = Pair {
        cache,
        twin,
        policy,
        given: 0,
        returned: 0,
    };
    let mut now = 1;
    for step in 0..operations {
        now += rng.u64(0..3);
        let key = rng.u64(0..100).min(rng.u64(0..100));
        let chosen = rng.u32(0..1000);
        if chosen >= 500 || step % 16 == 0 {
            pair.expire(now);
            pair.check();
        }
        match chosen {
            0..500 => pair.get(key, now),
            500..950 => {
                let ends = (rng.u32(0..4) == 0).then(|| now + rng.u64(1..40));
                let tags = (0..rng.u32(0..6).saturating_sub(3))
                    .map(|_| tag(&mut rng))
                    .collect();
                let bytes = rng.u64(1..30);
                pair.set(
                    key,
                    TwinEntry {
                        value: step,
                        bytes,
                        ends,
                        used_at: now,
                        tags,
                    },
                    now,
                );
            }
            950..980 => pair.take(key),
            980..996 => pair.invalidate_tag(&tag(&mut rng)),
            996..999 => pair.resize(Limits {
                max_entries: rng.usize(1..60),
                ..limits
            }),
            _ => pair.clear(),
        }
    }
    pair.expire(now);
    pair.check();
}

fn tag(rng: &mut Rng) -> String {
    format!("tag {}", rng.u32(0..5))
}

/// A million operations; `cargo test -- --nocapture` shows the line.
fn run_all(policy: PolicyName) {
    const SEEDS: u64 = 250;
    const OPERATIONS: u64 = 4_000;
    (0..SEEDS).for_each(|seed| run(policy, seed, OPERATIONS));
    println!("{policy:?}: {} random operations as the twin", SEEDS * OPERATIONS);
}

#[test]
fn lru_behaves_as_its_naive_twin() {
    run_all(PolicyName::Lru);
}

#[test]
fn wtinylfu_keeps_what_it_holds_true_and_within_bounds() {
    run_all(PolicyName::WTinyLfu);
}

#[test]
fn wtinylfu_of_a_size_that_is_tuned_keeps_what_it_holds_true() {
    for seed in 0..4 {
        let mut rng = Rng::with_seed(seed);
        let limits = Limits {
            max_entries: 600,
            max_bytes: (seed % 2 == 0).then_some(5_000),
        };
        let mut cache = Cache::new(limits, PolicyName::WTinyLfu).unwrap();
        for step in 0_u64..250_000 {
            // Phases that want windows of different sizes.
            let key = match step / 50_000 % 3 {
                0 => step % 750,
                1 => rng.u64(0..2_000).min(rng.u64(0..2_000)),
                _ => step / 4 + step % 4 * 90,
            };
            let slot = cache.locate(key, |stored| *stored == key);
            if let Read::Hit(value) = cache.read(slot, 0) {
                assert_eq!(*value, key);
                continue;
            }
            let options = EntryOptions {
                bytes: key % 20,
                ..EntryOptions::default()
            };
            let mut removed = Removed::new();
            cache.insert(None, key, (key, key), options, 0, &mut removed);
            assert!(removed.into_pairs().all(|(key, value)| key == value));
            assert!(cache.len() <= 600 && limits.max_bytes.is_none_or(|max| cache.bytes() <= max));
        }
        let bytes = cache.iter().map(|(key, _)| key % 20).sum::<u64>();
        assert_eq!(cache.bytes(), bytes);
    }
}

#[test]
fn wtinylfu_hits_more_often_than_lru_where_few_keys_get_most_reads() {
    let hit_ratio = |policy| {
        let mut rng = Rng::with_seed(7);
        let mut cache = Cache::new(
            Limits {
                max_entries: 500,
                max_bytes: None,
            },
            policy,
        )
        .unwrap();
        for step in 0_u64..200_000 {
            // Zipf-like: the key's logarithm is uniform; each fourth read belongs to a scan.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 20,000"
            )]
            let zipf = (20_000_f64.powf(rng.f64())) as u64;
            let key = if step % 4 == 0 { 100_000 + step } else { zipf };
            let slot = cache.locate(key, |stored| *stored == key);
            if !matches!(cache.read(slot, 0), Read::Hit(())) {
                let mut removed = Removed::new();
                cache.insert(slot, key, (key, ()), EntryOptions::default(), 0, &mut removed);
            }
        }
        cache.stats().hits as f64 / 200_000.0
    };
    let (lru, wtinylfu) = (hit_ratio(PolicyName::Lru), hit_ratio(PolicyName::WTinyLfu));
    assert!(wtinylfu > lru + 0.03, "{wtinylfu} against {lru}");
}

#[test]
fn wtinylfu_misses_no_round_of_a_loop_when_it_halves_its_counts() {
    for entries in 400..420_usize {
        let limits = Limits {
            max_entries: entries,
            max_bytes: None,
        };
        let mut cache = Cache::new(limits, PolicyName::WTinyLfu).unwrap();
        let keys = entries as u64 * 5 / 4;
        for round in 0..60 {
            let hits_before = cache.stats().hits;
            for key in 0..keys {
                let hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let slot = cache.locate(hash, |stored| *stored == key);
                if !matches!(cache.read(slot, 0), Read::Hit(())) {
                    let mut removed = Removed::new();
                    cache.insert(slot, hash, (key, ()), EntryOptions::default(), 0, &mut removed);
                }
            }
            let hits = cache.stats().hits - hits_before;
            // The main part holds 72 % of the loop.
            assert!(
                round < 2 || hits * 100 >= keys * 60,
                "{hits} of {keys} in round {round}"
            );
        }
    }
}
