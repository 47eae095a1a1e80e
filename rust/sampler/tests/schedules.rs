//! The board and its poster under a scheduler that tries the orders in which their threads may go.
//!
//! Prints how many schedules it went through: `cargo test -p retain-sampler --test schedules -- --nocapture`

use std::sync::Arc;
use std::time::Duration;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

use board::{Bell, Board, Poster};

#[path = "../src/board.rs"]
mod board;

mod sync {
    pub(crate) use shuttle::sync::atomic::AtomicI8;
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use shuttle::thread::JoinHandle;
}

const RANDOM: usize = 10_000;
/// The search of all schedules in their order ends here.
const DEPTH_FIRST: usize = 30_000;
const FOR_EVER: Duration = Duration::MAX;

/// A bell that can be waited for.
#[derive(Default)]
struct Gong {
    rung: sync::Mutex<bool>,
    ringing: sync::Condvar,
}

impl Gong {
    fn hear(&self) {
        drop(
            self.ringing
                .wait_while(self.rung.lock().unwrap(), |rung| !*rung)
                .unwrap(),
        );
    }
}

impl Bell for Gong {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.ringing.notify_all();
    }

    fn silence(&self) {
        *self.rung.lock().unwrap() = false;
    }
}

struct World {
    board: Board<i8, Gong>,
    alarm: Gong,
    poster: Poster,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            board: Board::new(0, 0, Gong::default()),
            alarm: Gong::default(),
            poster: Poster::new(),
        })
    }

    fn post(&self, level: i8) {
        self.board.post(|value| {
            *value = level;
            (level, ())
        });
    }

    /// Starts a thread like the sampler's: until it is stopped it posts and pauses, where only the alarm ends a pause.
    fn start(self: &Arc<Self>) {
        let started = self.poster.start(&self.board, || {
            let world = Arc::clone(self);
            Ok::<_, ()>(thread::spawn(move || {
                while !world.board.stopping() {
                    world.post(1);
                    world.alarm.hear();
                    world.alarm.silence();
                }
            }))
        });
        started.unwrap();
    }

    fn stop(&self) {
        self.poster.stop(&self.board, &self.alarm);
    }
}

fn run(name: &str, scheduler: impl Scheduler + 'static, scene: fn()) -> usize {
    let count = Runner::new(scheduler, Config::default()).run(scene);
    println!("{name}: {count} schedules");
    count
}

fn explore(name: &str, scene: fn()) {
    let searched = run(
        &format!("{name}, depth first"),
        DfsScheduler::new(Some(DEPTH_FIRST), false),
        scene,
    );
    let random = run(
        &format!("{name}, random"),
        RandomScheduler::new_from_seed(7, RANDOM),
        scene,
    );
    let prioritised = run(
        &format!("{name}, by priorities"),
        PctScheduler::new_from_seed(7, 3, RANDOM),
        scene,
    );
    assert!(searched > 1 && random == RANDOM && prioritised == RANDOM);
}

#[test]
fn who_waits_for_the_bell_learns_of_the_last_level() {
    explore("bell", || {
        let world = World::new();
        let posting: Vec<_> = [[1, 2], [0, 2]]
            .into_iter()
            .map(|levels| {
                let world = Arc::clone(&world);
                thread::spawn(move || levels.into_iter().for_each(|level| world.post(level)))
            })
            .collect();
        // Both end at 2, so the last level is 2: who hears and takes must come to see it, without a lost ring.
        let mut seen = 0;
        while seen != 2 || world.board.look(|value, _| *value) != 2 {
            world.board.bell().hear();
            seen = world.board.take();
        }
        for thread in posting {
            thread.join().unwrap();
        }
        assert_eq!((world.board.level(), world.board.look(|value, _| *value)), (2, 2));
    });
}

#[test]
fn a_change_is_counted_once_and_wakes_who_waits_for_it() {
    explore("wait", || {
        let world = World::new();
        let posting: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.post(1))
            })
            .collect();
        assert_eq!(world.board.wait(0, FOR_EVER), 1);
        for thread in posting {
            thread.join().unwrap();
        }
        assert_eq!(world.board.look(|_, changes| changes), 1);
    });
}

#[test]
fn stop_ends_the_thread_wherever_it_is_and_wakes_who_waits() {
    explore("stop", || {
        let world = World::new();
        world.start();
        let waiting = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.board.wait(1, FOR_EVER))
        };
        world.stop();
        assert!(waiting.join().unwrap() <= 1);
        assert!(!world.poster.running());
    });
}

#[test]
fn a_start_beside_a_stop_leaves_a_thread_that_runs_or_none() {
    explore("start beside stop", || {
        let world = World::new();
        world.start();
        let stopping = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.stop())
        };
        world.start();
        stopping.join().unwrap();
        assert_ne!(world.poster.running(), world.board.stopping());
        world.stop();
        assert!(!world.poster.running() && world.board.stopping());
        assert_eq!(Arc::strong_count(&world), 1, "a thread is left");
    });
}
