use super::{Cache, CacheStats, ENTRIES_MAX, EntryOptions, Limits, PolicyName, Read, Removed};

type Small = Cache<u64, &'static str>;

fn cache(policy: PolicyName, max_entries: usize, max_bytes: Option<u64>) -> Small {
    Cache::new(
        Limits {
            max_entries,
            max_bytes,
        },
        policy,
    )
    .unwrap()
}

fn set(cache: &mut Small, key: u64, options: EntryOptions<'_>, now: u64) -> Vec<u64> {
    let known = cache.locate(key, |k| *k == key);
    let mut removed = Removed::new();
    cache.insert(known, key, (key, "value"), options, now, &mut removed);
    removed.into_pairs().map(|(key, _)| key).collect()
}

fn put(cache: &mut Small, key: u64) -> Vec<u64> {
    set(cache, key, EntryOptions::default(), 0)
}

fn sized(bytes: u64) -> EntryOptions<'static> {
    EntryOptions {
        bytes,
        ..EntryOptions::default()
    }
}

fn lasting(ttl: u64) -> EntryOptions<'static> {
    EntryOptions {
        ttl: Some(ttl),
        ..EntryOptions::default()
    }
}

fn has(cache: &mut Small, key: u64, now: u64) -> bool {
    let slot = cache.locate(key, |k| *k == key);
    matches!(cache.read(slot, now), Read::Hit(_))
}

fn keys(cache: &Small) -> Vec<u64> {
    let mut keys: Vec<u64> = cache.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn lru_evicts_what_was_used_longest_ago() {
    let mut cache = cache(PolicyName::Lru, 2, None);
    assert!(put(&mut cache, 1).is_empty());
    put(&mut cache, 2);
    assert!(has(&mut cache, 1, 0));
    assert_eq!(put(&mut cache, 3), [2]);
    assert_eq!(keys(&cache), [1, 3]);
}

#[test]
fn wtinylfu_lets_a_scan_pass_by() {
    let mut cache = cache(PolicyName::WTinyLfu, 100, None);
    for key in 0..50 {
        put(&mut cache, key);
    }
    for key in (0..50).chain(0..50) {
        assert!(has(&mut cache, key, 0));
    }
    for key in 1000..1500 {
        put(&mut cache, key);
    }
    assert!((0..50).all(|key| has(&mut cache, key, 0)));
    assert_eq!(cache.len(), 100);
}

#[test]
fn wtinylfu_takes_back_a_key_that_was_used_often_before_it_left() {
    let mut cache = cache(PolicyName::WTinyLfu, 20, None);
    for key in 100..140 {
        put(&mut cache, key);
    }
    put(&mut cache, 0);
    for _ in 0..5 {
        assert!(has(&mut cache, 0, 0));
    }
    let slot = cache.locate(0, |key| *key == 0).unwrap();
    cache.take(slot);
    put(&mut cache, 0);
    for key in 200..300 {
        put(&mut cache, key);
    }
    assert!(has(&mut cache, 0, 0), "its uses are remembered");
}

#[test]
fn a_cache_of_size_zero_stores_nothing() {
    let mut cache = cache(PolicyName::Lru, 0, None);
    assert_eq!(put(&mut cache, 1), [1]);
    assert!(cache.is_empty());
    assert!(!has(&mut cache, 1, 0));
}

#[test]
fn bytes_are_bounded_and_a_too_large_entry_is_refused() {
    for policy in [PolicyName::Lru, PolicyName::WTinyLfu] {
        let mut cache = cache(policy, 100, Some(100));
        assert!(set(&mut cache, 1, sized(60), 0).is_empty());
        assert_eq!(set(&mut cache, 2, sized(60), 0), [1]);
        assert_eq!(set(&mut cache, 2, sized(101), 0).len(), 2, "old and new value");
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }
}

#[test]
fn an_entry_that_grows_evicts_others_but_not_itself() {
    for policy in [PolicyName::Lru, PolicyName::WTinyLfu] {
        let mut cache = cache(policy, 100, Some(100));
        for key in 0..10 {
            set(&mut cache, key, sized(10), 0);
        }
        set(&mut cache, 0, sized(95), 0);
        assert_eq!(keys(&cache), [0], "{policy:?}");
        assert_eq!(cache.bytes(), 95);
    }
}

#[test]
fn an_entry_ends_at_its_time_and_not_before() {
    let mut cache = cache(PolicyName::Lru, 10, None);
    assert!(!cache.needs_clock());
    set(&mut cache, 1, lasting(100), 1000);
    assert!(cache.needs_clock());
    assert!(has(&mut cache, 1, 1099));
    assert!(!has(&mut cache, 1, 1100));
    assert!(!cache.needs_clock());
    let expected = CacheStats {
        hits: 1,
        misses: 1,
        insertions: 1,
        expirations: 1,
        evictions: 0,
    };
    assert_eq!(cache.stats(), expected);
}

#[test]
fn ended_entries_make_room_before_live_ones_are_evicted() {
    let mut cache = cache(PolicyName::Lru, 2, None);
    put(&mut cache, 1);
    set(&mut cache, 2, lasting(5), 0);
    assert_eq!(set(&mut cache, 3, EntryOptions::default(), 10), [2]);
    assert_eq!(keys(&cache), [1, 3]);
    assert_eq!(cache.stats().evictions, 0);
}

#[test]
fn overwriting_renews_the_time_to_live() {
    let mut cache = cache(PolicyName::Lru, 10, None);
    for now in 0..1000 {
        set(&mut cache, 1, lasting(5), now);
    }
    let mut removed = Removed::new();
    cache.expire(1003, usize::MAX, &mut removed);
    assert!(has(&mut cache, 1, 1003));
    set(&mut cache, 1, EntryOptions::default(), 1003);
    cache.expire(u64::MAX - 1, usize::MAX, &mut removed);
    assert!(has(&mut cache, 1, u64::MAX - 1), "an end was taken away");
}

#[test]
fn an_entry_that_is_not_used_for_the_idle_time_ends() {
    for policy in [PolicyName::Lru, PolicyName::WTinyLfu] {
        let mut cache = cache(policy, 10, None).with_idle_ttl(10);
        assert!(cache.needs_clock());
        put(&mut cache, 1);
        set(&mut cache, 2, lasting(25), 0);
        assert!(has(&mut cache, 1, 9) && has(&mut cache, 2, 9));
        assert!(has(&mut cache, 2, 18));
        let mut removed = Removed::new();
        cache.expire(19, usize::MAX, &mut removed);
        assert_eq!(keys(&cache), [2], "1 was last used at 9");
        assert!(has(&mut cache, 2, 24));
        assert!(
            !has(&mut cache, 2, 25),
            "a use does not defer the end of the time to live"
        );
        assert_eq!(cache.stats().expirations, 2);
    }
}

#[test]
fn a_tag_removes_its_entries_once() {
    let names = ["a".to_owned(), "b".to_owned(), "a".to_owned()];
    let tagged = EntryOptions {
        tags: &names,
        ..EntryOptions::default()
    };
    let mut cache = cache(PolicyName::WTinyLfu, 10, None);
    set(&mut cache, 1, tagged, 0);
    set(
        &mut cache,
        2,
        EntryOptions {
            tags: &names[..1],
            ..tagged
        },
        0,
    );
    put(&mut cache, 3);
    let mut removed = Removed::default();
    assert_eq!(cache.invalidate_tag("b", &mut removed), 1);
    assert_eq!(cache.invalidate_tag("a", &mut removed), 1);
    assert_eq!(cache.invalidate_tag("a", &mut removed), 0);
    assert_eq!(
        removed.into_pairs().map(|(key, _)| key).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(keys(&cache), [3]);
}

#[test]
fn overwriting_replaces_the_tags() {
    let names = ["old".to_owned()];
    let mut cache = cache(PolicyName::Lru, 10, None);
    set(
        &mut cache,
        1,
        EntryOptions {
            tags: &names,
            ..EntryOptions::default()
        },
        0,
    );
    put(&mut cache, 1);
    assert_eq!(cache.invalidate_tag("old", &mut Removed::new()), 0);
}

#[test]
fn a_smaller_limit_evicts_at_once() {
    for policy in [PolicyName::Lru, PolicyName::WTinyLfu] {
        let mut cache = cache(policy, 10, None);
        (0..10).for_each(|key| drop(put(&mut cache, key)));
        let limits = Limits {
            max_entries: 3,
            max_bytes: Some(7),
        };
        let mut removed = Removed::new();
        cache.resize(limits, &mut removed).unwrap();
        assert_eq!(removed.into_pairs().count(), 7);
        assert_eq!((cache.len(), cache.limits()), (3, limits));
    }
}

#[test]
fn a_limit_beyond_the_slots_is_refused() {
    let limits = Limits {
        max_entries: ENTRIES_MAX + 1,
        max_bytes: None,
    };
    let error = Cache::<u8, u8>::new(limits, PolicyName::Lru).unwrap_err();
    assert!(error.to_string().starts_with("max_entries:"));
    let mut cache = cache(PolicyName::Lru, 1, None);
    assert!(cache.resize(limits, &mut Removed::new()).is_err());
    assert_eq!(cache.limits().max_entries, 1);
}

#[test]
fn clearing_gives_every_pair_away() {
    let names = ["tag".to_owned()];
    let mut cache = cache(PolicyName::WTinyLfu, 10, None);
    for key in 0..5 {
        let options = EntryOptions {
            ttl: Some(9),
            bytes: 1,
            tags: &names,
        };
        set(&mut cache, key, options, 0);
    }
    let mut removed = Removed::new();
    cache.clear(&mut removed);
    assert_eq!(removed.into_pairs().count(), 5);
    assert!(cache.is_empty() && !cache.needs_clock() && cache.bytes() == 0);
    put(&mut cache, 1);
    assert!(has(&mut cache, 1, 0));
}
