//! The queue against a naive twin, over random operations.

use fastrand::Rng;
use retain_core::queue::Queue;

#[derive(Clone, Debug)]
struct TwinItem {
    id: u64,
    priority: i64,
    lane: &'static str,
    due_ms: u64,
}

/// A list, searched and sorted for each answer. Ids ascend, so that they stand for the order.
#[derive(Default)]
struct Twin {
    items: Vec<TwinItem>,
}

impl Twin {
    fn take(
        &mut self,
        limit: usize,
        wanted: impl Fn(&TwinItem) -> bool,
        key: impl Fn(&TwinItem) -> (u64, i64, u64),
    ) -> Vec<u64> {
        let mut chosen: Vec<TwinItem> = self.items.iter().filter(|item| wanted(item)).cloned().collect();
        chosen.sort_by_key(key);
        let chosen: Vec<u64> = chosen.iter().take(limit).map(|item| item.id).collect();
        self.items.retain(|item| !chosen.contains(&item.id));
        chosen
    }
}

const LANES: [&str; 4] = ["", "embed", "link", "store"];

fn run(seed: u64, operations: u32) {
    let mut rng = Rng::with_seed(seed);
    let capacity = rng.bool().then(|| rng.usize(5..80));
    let mut queue = Queue::new(capacity).unwrap();
    let mut twin = Twin::default();
    let mut next_id = 0;
    let mut now = 1;
    for _ in 0..operations {
        now += rng.u64(0..3);
        let lane = LANES[rng.usize(0..LANES.len())];
        let chosen_lane = rng.bool().then_some(lane);
        let in_lane = |item: &TwinItem| chosen_lane.is_none_or(|lane| lane == item.lane);
        let by_priority = |item: &TwinItem| (0, item.priority, item.id);
        match rng.u32(0..100) {
            0..40 => {
                let priority = rng.i64(-3..3);
                let due_ms = if rng.u32(0..4) == 0 {
                    now + rng.u64(0..30)
                } else {
                    0
                };
                let room = capacity.is_none_or(|capacity| twin.items.len() < capacity);
                assert_eq!(queue.push(next_id, priority, lane, due_ms).is_ok(), room);
                if room {
                    twin.items.push(TwinItem {
                        id: next_id,
                        priority,
                        lane,
                        due_ms,
                    });
                }
                next_id += 1;
            }
            40..50 => {
                let pairs: Vec<(i64, u64)> = (0..rng.u64(0..8))
                    .map(|n| (rng.i64(-3..3), next_id + n))
                    .collect();
                next_id += 8;
                let room = capacity.is_none_or(|capacity| twin.items.len() + pairs.len() <= capacity);
                let new = pairs.iter().map(|&(priority, id)| TwinItem {
                    id,
                    priority,
                    lane,
                    due_ms: 0,
                });
                if room {
                    twin.items.extend(new);
                }
                assert_eq!(queue.push_many(pairs, lane).is_ok(), room);
            }
            50..75 => {
                let expected = twin.take(1, |item| item.due_ms == 0, by_priority);
                assert_eq!(queue.pop(), expected.first().copied());
            }
            75..87 => {
                let limit = rng.usize(0..6);
                let expected = twin.take(limit, |item| item.due_ms == 0 && in_lane(item), by_priority);
                let popped = queue.pop_batch(limit, chosen_lane).into_iter();
                assert_eq!(popped.map(|(_, id)| id).collect::<Vec<_>>(), expected);
            }
            87..99 => {
                let limit = rng.usize(0..6);
                let due = |item: &TwinItem| item.due_ms > 0 && item.due_ms <= now && in_lane(item);
                let expected = twin.take(limit, due, |item| (item.due_ms, item.priority, item.id));
                assert_eq!(queue.pop_due(now, limit, chosen_lane), expected);
            }
            _ => {
                let mut items = queue.clear();
                items.sort_unstable();
                let expected: Vec<u64> = twin.items.drain(..).map(|item| item.id).collect();
                assert_eq!(items, expected);
            }
        }
        assert_eq!(queue.len(), twin.items.len());
        let due = twin
            .items
            .iter()
            .map(|item| item.due_ms)
            .filter(|due_ms| *due_ms > 0);
        assert_eq!(queue.next_due_ms(), due.min());
    }
    let mut left: Vec<u64> = queue.iter().copied().collect();
    left.sort_unstable();
    assert_eq!(left, twin.items.iter().map(|item| item.id).collect::<Vec<_>>());
}

#[test]
fn the_queue_behaves_as_a_sorted_list() {
    const SEEDS: u32 = 250;
    const OPERATIONS: u32 = 4_000;
    (0..SEEDS).for_each(|seed| run(u64::from(seed), OPERATIONS));
    // `cargo test -- --nocapture` shows the line.
    println!("queue: {} random operations as the twin", SEEDS * OPERATIONS);
}

#[test]
fn a_million_items_leave_in_order_and_equals_as_they_came() {
    let mut rng = Rng::with_seed(3);
    let mut queue = Queue::new(None).unwrap();
    let mut expected: Vec<(i64, u32)> = (0..1_000_000).map(|id| (rng.i64(0..1000), id)).collect();
    for &(priority, id) in &expected {
        queue.push(id, priority, "", 0).unwrap();
    }
    expected.sort_by_key(|(priority, _)| *priority);
    assert!(expected.iter().all(|(_, id)| queue.pop() == Some(*id)));
    assert!(queue.is_empty());
}
