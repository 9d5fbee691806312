//! All processes of one server: how many may run, and how all of them end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::process::ServerProcess;

/// The processes of a server.
pub struct Supervisor {
    running: AtomicUsize,
    started: AtomicUsize,
    left: Notify,
    state: Mutex<State>,
    /// Sessions that may have a process at a time.
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    processes: Vec<Weak<ServerProcess>>,
    /// Nobody is started any more.
    closed: bool,
}

/// A process that counts until it has ended.
pub struct Counted {
    supervisor: Arc<Supervisor>,
    /// The place of its session.
    _place: Option<OwnedSemaphorePermit>,
}

impl Supervisor {
    /// A supervisor with `places` for sessions.
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
    pub fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Counts a process that was started; it is to end at once where nobody is started any more.
    pub fn join(
        self: &Arc<Self>,
        process: &Arc<ServerProcess>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Counted {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.started.fetch_add(1, Ordering::AcqRel);
        let mut state = self.state.lock();
        if state.closed {
            process.hang_up();
        }
        state.processes.retain(|process| process.strong_count() > 0);
        state.processes.push(Arc::downgrade(process));
        Counted { supervisor: Arc::clone(self), _place: place }
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
        for process in self.all(true) {
            process.hang_up();
        }
        // They are ended with force before that.
        let _ = tokio::time::timeout(patience, self.none()).await;
    }

    /// Ends every process at once.
    pub fn kill(&self) {
        for process in self.all(true) {
            process.kill();
        }
    }

    fn all(&self, closed: bool) -> Vec<Arc<ServerProcess>> {
        let mut state = self.state.lock();
        state.closed |= closed;
        state.processes.iter().filter_map(Weak::upgrade).collect()
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
        self.supervisor.running.fetch_sub(1, Ordering::AcqRel);
        self.supervisor.left.notify_waiters();
    }
}
