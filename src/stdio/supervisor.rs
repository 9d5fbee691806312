//! The supervisor of a server's processes: how many may run, and how all of them end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A process that can be told to end.
pub trait Stop: Send + Sync {
    /// Closes the process's stdin, and ends it where that does not.
    fn stop(&self);

    /// Kills the process.
    fn kill(&self);

    /// Returns `true` if the process was told to end.
    fn is_ending(&self) -> bool;
}

/// The processes of a server.
pub struct Supervisor {
    running: AtomicUsize,
    started: AtomicUsize,
    left: Notify,
    state: Mutex<State>,
    /// Permits of the sessions that may have a process at a time.
    permits: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    processes: Vec<Weak<dyn Stop>>,
    /// Set when no more processes are to be started.
    closed: bool,
}

/// A process counts as running until its guard is dropped.
pub struct ProcessGuard {
    supervisor: Arc<Supervisor>,
    /// The permit of its session.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Supervisor {
    /// Creates a supervisor for up to `sessions` sessions with a process each.
    pub fn new(sessions: usize) -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            left: Notify::new(),
            state: Mutex::default(),
            permits: Arc::new(Semaphore::new(sessions.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// Reserves the process of a session; `None` if as many are reserved as may be.
    pub fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Waits until the process of a session can be reserved; `None` if the supervisor is closed.
    pub async fn reserved(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Returns `true` if a process was told to end, and runs yet.
    pub fn is_any_ending(&self) -> bool {
        let state = self.state.lock();
        let lasting = state.processes.iter().filter_map(Weak::upgrade).filter(|process| !process.is_ending());
        self.counts().0 > lasting.count()
    }

    /// Counts a process that was started. It is stopped at once if the supervisor is closed.
    pub fn add(
        self: &Arc<Self>,
        process: Weak<dyn Stop>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> ProcessGuard {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.started.fetch_add(1, Ordering::AcqRel);
        let mut state = self.state.lock();
        if let Some(process) = process.upgrade().filter(|_| state.closed) {
            process.stop();
        }
        state.processes.retain(|process| process.strong_count() > 0);
        state.processes.push(process);
        ProcessGuard { supervisor: Arc::clone(self), _permit: permit }
    }

    /// Returns the number of processes that run, and of all that were started.
    pub fn counts(&self) -> (usize, usize) {
        (self.running.load(Ordering::Acquire), self.started.load(Ordering::Acquire))
    }

    /// Returns `true` if no more processes are to be started.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Stops every process and waits until all have ended, but not longer than `timeout`.
    pub async fn close(&self, timeout: Duration) {
        for process in self.close_to_new() {
            process.stop();
        }
        // Each process is killed before that time is over; the result tells nothing more.
        let _ = tokio::time::timeout(timeout, self.none()).await;
    }

    /// Kills every process.
    pub fn kill(&self) {
        for process in self.close_to_new() {
            process.kill();
        }
    }

    fn close_to_new(&self) -> Vec<Arc<dyn Stop>> {
        let mut state = self.state.lock();
        state.closed = true;
        state.processes.iter().filter_map(Weak::upgrade).collect()
    }

    /// Waits until no process is left.
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

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        self.supervisor.running.fetch_sub(1, Ordering::AcqRel);
        self.supervisor.left.notify_waiters();
    }
}
