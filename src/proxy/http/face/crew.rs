//! All processes of one server: how many may run, and how all of them end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::child::Worker;

/// The processes of a server.
pub struct Crew {
    running: AtomicUsize,
    started: AtomicUsize,
    left: Notify,
    state: Mutex<State>,
    /// Sessions that may have a process at a time.
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    workers: Vec<Weak<Worker>>,
    /// Nobody is started any more.
    closed: bool,
}

/// A process that counts until it has ended.
pub struct Counted {
    crew: Arc<Crew>,
    /// The place of its session.
    _place: Option<OwnedSemaphorePermit>,
}

impl Crew {
    /// A crew with `places` for sessions.
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            left: Notify::new(),
            state: Mutex::default(),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// A place for a session; none where all are taken.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Counts a process that was started; it is to end at once where nobody is started any more.
    pub fn join(self: &Arc<Self>, worker: &Arc<Worker>, place: Option<OwnedSemaphorePermit>) -> Counted {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.started.fetch_add(1, Ordering::AcqRel);
        let mut state = self.state.lock();
        if state.closed {
            worker.hang_up();
        }
        state.workers.retain(|worker| worker.strong_count() > 0);
        state.workers.push(Arc::downgrade(worker));
        Counted { crew: Arc::clone(self), _place: place }
    }

    /// Processes that run, and all that were started.
    pub fn counts(&self) -> (usize, usize) {
        (self.running.load(Ordering::Acquire), self.started.load(Ordering::Acquire))
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Ends every process, and waits for that; for `patience` at most.
    pub async fn close(&self, patience: Duration) {
        for worker in self.all(true) {
            worker.hang_up();
        }
        // They are ended with force before that.
        let _ = tokio::time::timeout(patience, self.none()).await;
    }

    /// Ends every process at once.
    pub fn kill(&self) {
        for worker in self.all(true) {
            worker.kill();
        }
    }

    fn all(&self, closed: bool) -> Vec<Arc<Worker>> {
        let mut state = self.state.lock();
        state.closed |= closed;
        state.workers.iter().filter_map(Weak::upgrade).collect()
    }

    /// Waits until none is left.
    async fn none(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.counts().0 == 0 {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.crew.running.fetch_sub(1, Ordering::AcqRel);
        self.crew.left.notify_waiters();
    }
}
