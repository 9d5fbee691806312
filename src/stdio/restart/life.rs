//! Lifetime of a restartable server: the ends of its processes, and their replacements.

use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use super::{POLL_INTERVAL, Phase, RestartableServer};
use crate::log::record::{Exit, Level};
use crate::session::Session;
use crate::stdio::drive::Threads;
use crate::stdio::lifecycle::{self, ClientWatch, ServerEnd};
use crate::transport::child::{Process, ProcessExit};

impl RestartableServer {
    /// Waits until the server has ended for good, and returns the end of its last process. `replaced` is
    /// called with every process that takes the place of another.
    pub async fn until_end(
        self: &Arc<Self>,
        session: &Arc<Session>,
        threads: &Threads,
        client: Option<&ClientWatch>,
        signals: &mut mpsc::Receiver<Signal>,
        replaced: impl Fn(Process),
    ) -> ProcessExit {
        let mut process = self.state.lock().process.clone();
        loop {
            let ServerEnd { ended, was_due } =
                lifecycle::until_end(session, &process, threads, client, signals).await;
            let next = match was_due {
                true => None,
                false => {
                    let left = lifecycle::until_unneeded(session, threads, client, signals);
                    self.next(&process, &Exit::from(ended).to_string(), left).await
                }
            };
            let Some(next) = next else {
                self.turn(Phase::Over);
                let last = self.state.lock().process.clone();
                if last.ended().is_none() {
                    // The process was started just as it became unneeded.
                    last.terminate().await;
                }
                return ended;
            };
            replaced(next.clone());
            process = next;
        }
    }

    /// Waits for the process that takes the place of `ended`. Returns `None` if none will come, or once
    /// `left` is ready because no process is needed any more.
    async fn next(&self, ended: &Process, how: &str, left: impl Future<Output = ()>) -> Option<Process> {
        let text = format!("the server ended: {how}");
        if self.stays && self.falls(ended, &text) {
            self.drained().await;
            self.settle(&text, false);
            if let Some(session) = self.session() {
                session.reopen(None);
            }
            self.note(
                Level::Warning,
                format!("{text}; its client stays, and Space s r or `shadowcat ctl restart` starts it again"),
            );
        }
        tokio::pin!(left);
        loop {
            {
                let state = self.state.lock();
                match state.phase {
                    Phase::Up | Phase::Greeting(_) if state.process.id() != ended.id() => {
                        return Some(state.process.clone());
                    }
                    Phase::Restarting | Phase::Down(_) => {}
                    Phase::Up | Phase::Greeting(_) | Phase::Over => return None,
                }
            }
            tokio::select! {
                () = &mut left => return None,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// Enters [`Phase::Down`] and returns `true`, unless another process has replaced this one or is about
    /// to.
    fn falls(&self, process: &Process, why: &str) -> bool {
        let mut state = self.state.lock();
        let falls =
            matches!(state.phase, Phase::Up | Phase::Greeting(_)) && state.process.id() == process.id();
        if falls {
            state.phase = Phase::Down(why.to_owned());
            self.changed.notify_all();
        }
        falls
    }
}
