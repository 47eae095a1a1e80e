use std::collections::BTreeMap;

use super::{IDLE_LANES_MAX, Queue, Shed};
use crate::CoreError;

fn queue(capacity: Option<usize>) -> Queue<u32> {
    Queue::new(capacity).unwrap()
}

/// A batch without the numbers.
fn batch(queue: &mut Queue<u32>, limit: usize, lane: Option<&str>) -> Vec<u32> {
    let popped = queue.pop_batch(limit, lane).into_iter();
    popped.map(|(_, item)| item).collect()
}

#[test]
fn the_lowest_priority_value_leaves_first_and_equals_in_order() {
    let mut queue = queue(None);
    for (item, priority) in [(1, 5), (2, -5), (3, 5), (4, i64::MIN), (5, i64::MAX), (6, -5)] {
        queue.push(item, priority, "", 0).unwrap();
    }
    assert_eq!(queue.pop(), Some(4));
    assert_eq!(batch(&mut queue, 10, None), [2, 6, 1, 3, 5]);
    assert_eq!(queue.pop(), None);
}

#[test]
fn a_lane_is_popped_alone_or_with_all_others() {
    let mut queue = queue(None);
    queue.push_many(vec![(2, 1), (0, 2)], "a").unwrap();
    queue.push_many(vec![(1, 3), (3, 4)], "b").unwrap();
    assert_eq!(queue.lanes().collect::<Vec<_>>(), [("a", 2), ("b", 2)]);
    assert_eq!(batch(&mut queue, 1, Some("b")), [3]);
    assert_eq!(batch(&mut queue, 9, Some("none")), [0_u32; 0]);
    assert_eq!(batch(&mut queue, 9, None), [2, 1, 4]);
    assert_eq!(queue.lanes().count(), 0);
}

#[test]
fn delayed_items_come_out_when_due_and_only_then() {
    let mut queue = queue(None);
    queue.push(1, 9, "a", 200).unwrap();
    queue.push(2, 1, "a", 300).unwrap();
    queue.push(3, 1, "b", 200).unwrap();
    queue.push(4, 0, "b", 0).unwrap();
    assert_eq!(
        (queue.len(), queue.delayed(), queue.next_due_ms()),
        (4, 3, Some(200))
    );
    assert_eq!(batch(&mut queue, 9, None), [4]);
    assert_eq!(queue.pop_due(199, 9, None), [0_u32; 0]);
    assert_eq!(queue.pop_due(300, 9, Some("b")), [3]);
    assert_eq!(queue.pop_due(300, 1, None), [1]);
    assert_eq!(queue.pop_due(u64::MAX, 9, None), [2]);
    assert_eq!(queue.next_due_ms(), None);
    assert!(queue.is_empty());
}

#[test]
fn a_full_queue_refuses_all_or_nothing_and_gives_the_items_back() {
    let mut queue = queue(Some(2));
    queue.push(1, 0, "", 0).unwrap();
    let refused = queue.push_many(vec![(0, 2), (0, 3)], "").unwrap_err();
    assert_eq!(
        refused.error,
        CoreError::QueueFull {
            capacity: 2,
            offered: 2
        }
    );
    assert_eq!(refused.payload, [(0, 2), (0, 3)]);
    queue.push(4, 0, "", 50).unwrap();
    assert_eq!(queue.push(5, 0, "", 0).unwrap_err().payload, 5);
    assert_eq!(
        (queue.len(), queue.stats().refused, queue.capacity()),
        (2, 3, Some(2))
    );
    assert_eq!(queue.iter().count(), 2);
}

#[test]
fn a_capacity_of_zero_is_refused() {
    let error = Queue::<u8>::new(Some(0)).unwrap_err();
    assert!(error.to_string().starts_with("capacity:"));
}

#[test]
fn clearing_gives_everything_away() {
    let mut queue = queue(None);
    queue.push(1, 0, "a", 0).unwrap();
    queue.push(2, 0, "b", 7).unwrap();
    assert_eq!(queue.clear(), [1, 2]);
    assert_eq!((queue.len(), queue.pop(), queue.next_due_ms()), (0, None, None));
    assert_eq!(queue.stats().peak, 2);
}

#[test]
fn lanes_that_fall_empty_do_not_pile_up() {
    let mut queue = queue(None);
    for n in 0..1000 {
        queue.push(n, 0, &format!("session {n}"), 0).unwrap();
        queue.pop().unwrap();
    }
    assert!(queue.lanes.len() <= IDLE_LANES_MAX + 1);
    assert_eq!(queue.stats().popped, 1000);
}

#[test]
fn each_item_has_the_number_that_its_call_was_told() {
    let mut queue = queue(None);
    queue.push(7, 0, "", 0).unwrap();
    assert_eq!(queue.push_many(vec![(2, 10), (1, 11)], "").unwrap(), 1);
    assert_eq!(queue.push_many(vec![(0, 12)], "b").unwrap(), 3);
    assert_eq!(queue.pop_batch(9, None), [(0, 7), (3, 12), (2, 11), (1, 10)]);
}

#[test]
fn the_next_lane_is_that_of_the_first_item_of_those_that_are_not_busy() {
    let mut queue = queue(None);
    assert_eq!(queue.next_lane(|_| false), None);
    queue.push(1, 3, "a", 0).unwrap();
    queue.push(2, 1, "b", 0).unwrap();
    queue.push(3, 0, "c", 9).unwrap();
    assert_eq!(queue.next_lane(|_| false), Some("b"));
    assert_eq!(queue.next_lane(|name| name == "b"), Some("a"));
    assert_eq!(queue.next_lane(|_| true), None);
}

/// Every operation against a map from (priority, number) to lane and item.
#[test]
fn a_queue_that_sheds_behaves_as_a_sorted_map() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut queue: Queue<u64> = Queue::new(Some(400)).unwrap();
    let mut twin: BTreeMap<(i64, u64), usize> = BTreeMap::new();
    let names = ["", "a", "b"];
    let mut next = 0;
    for step in 0..1_000_000_u32 {
        let (lane, count) = (rng.usize(0..3), rng.usize(1..4));
        match rng.u32(0..if (step / 30_000) % 2 == 0 { 10 } else { 16 }) {
            0..6 => {
                let priorities: Vec<i64> = (0..count).map(|_| rng.i64(-30..30)).collect();
                if twin.len() + count > 400 {
                    let which = if rng.bool() { Shed::Last } else { Shed::Oldest };
                    let gone: Vec<u64> = queue.shed(count, which).into_iter().map(|it| it.0).collect();
                    let mut keys: Vec<(i64, u64)> = twin.keys().copied().collect();
                    match which {
                        Shed::Last => keys.reverse(),
                        Shed::Oldest => keys.sort_unstable_by_key(|key| key.1),
                    }
                    keys.truncate(count);
                    assert_eq!(gone, keys.iter().map(|key| key.1).collect::<Vec<_>>());
                    twin.retain(|key, _| !keys.contains(key));
                }
                let items = (next..)
                    .zip(&priorities)
                    .map(|(number, &p)| (p, number))
                    .collect();
                assert_eq!(queue.push_many(items, names[lane]).unwrap(), next);
                twin.extend((next..).zip(&priorities).map(|(number, &p)| ((p, number), lane)));
                next += count as u64;
            }
            6..9 => {
                let keys: Vec<(i64, u64)> = twin.keys().take(count).copied().collect();
                let numbers: Vec<(u64, u64)> = keys.iter().map(|key| (key.1, key.1)).collect();
                assert_eq!(queue.pop_batch(count, None), numbers);
                twin.retain(|key, _| !keys.contains(key));
            }
            _ => {
                let of_lane = twin.iter().filter(|(_, l)| **l == lane).map(|(key, _)| *key);
                let key = of_lane.into_iter().next();
                let popped = queue.pop_batch(1, Some(names[lane]));
                assert_eq!(popped.first().map(|it| it.0), key.map(|key| key.1));
                key.map(|key| twin.remove(&key));
            }
        }
        assert_eq!(queue.len(), twin.len());
    }
    assert!(queue.stats().shed > 10_000);
}
