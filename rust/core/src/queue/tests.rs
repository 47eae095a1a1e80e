use super::{IDLE_LANES_MAX, Queue};
use crate::CoreError;

fn queue(capacity: Option<usize>) -> Queue<u32> {
    Queue::new(capacity).unwrap()
}

#[test]
fn the_lowest_priority_value_leaves_first_and_equals_in_order() {
    let mut queue = queue(None);
    for (item, priority) in [(1, 5), (2, -5), (3, 5), (4, i64::MIN), (5, i64::MAX), (6, -5)] {
        queue.push(item, priority, "", 0).unwrap();
    }
    assert_eq!(queue.pop(), Some(4));
    assert_eq!(queue.pop_batch(10, None), [2, 6, 1, 3, 5]);
    assert_eq!(queue.pop(), None);
}

#[test]
fn a_lane_is_popped_alone_or_with_all_others() {
    let mut queue = queue(None);
    queue.push_many(vec![(2, 1), (0, 2)], "a").unwrap();
    queue.push_many(vec![(1, 3), (3, 4)], "b").unwrap();
    assert_eq!(queue.lanes().collect::<Vec<_>>(), [("a", 2), ("b", 2)]);
    assert_eq!(queue.pop_batch(1, Some("b")), [3]);
    assert_eq!(queue.pop_batch(9, Some("none")), [0_u32; 0]);
    assert_eq!(queue.pop_batch(9, None), [2, 1, 4]);
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
    assert_eq!(queue.pop_batch(9, None), [4]);
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
