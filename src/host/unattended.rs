//! Frames that are held while no controller is attached: they are released at once, or when the
//! patience of the breakpoint that holds them is over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Host;
use crate::log::record::{Level, SessionId};
use crate::session::{HeldFrame, Session};

/// Releases the frames on which nobody decided in time, for as long as the host lives.
pub(super) async fn release_overdue_frames(host: Weak<Host>) {
    let Some((mut controllers, held)) =
        host.upgrade().map(|host| (host.breakpoints().watch(), Arc::clone(&host.hooks.held)))
    else {
        return;
    };
    loop {
        let Some(wait) = host.upgrade().map(|host| host.release_overdue()) else { return };
        let overdue = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = overdue => {}
            () = held.notified() => {}
            changed = controllers.changed() => if changed.is_err() { return },
        }
    }
}

impl Host {
    /// Releases the frames that no breakpoint has patience for, after the last controller detached.
    pub(super) fn release_impatient(&self, why: &str) {
        let held = self.held_frames();
        if !held.is_empty() {
            self.note(SessionId(0), Level::Warning, format!("{why}: {} frames were held", held.len()));
        }
        for (session, HeldFrame { seq, patience, .. }) in held {
            if patience.is_zero() {
                // A frame that was decided or withdrawn meanwhile needs no release; ignore the error.
                let _ = session.accept(seq, why);
            }
        }
    }

    /// Returns every held frame with its session, in the order of arrival on each lane.
    pub fn held_frames(&self) -> Vec<(Arc<Session>, HeldFrame)> {
        let of = |session: Arc<Session>| {
            let held = session.held_frames();
            held.into_iter().map(move |frame| (Arc::clone(&session), frame))
        };
        self.open_sessions().into_iter().flat_map(of).collect()
    }

    /// Releases the frames whose patience is over. Returns the time until the next one's is.
    fn release_overdue(&self) -> Option<Duration> {
        // Collect the frames first: a frame that is held after a controller has attached is not among them.
        let held = self.held_frames();
        if self.controllers().is_attended() {
            return None;
        }
        let (now, unattended_since) = (self.log.clock().now(), *self.unattended_since.lock());
        let mut next: Option<Duration> = None;
        for (session, HeldFrame { seq, since, patience }) in held {
            let left = patience.saturating_sub(now.since(since.max(unattended_since)));
            if left.is_zero() {
                let why = format!("nobody decided for {patience:?}");
                // A frame that was decided or withdrawn meanwhile needs no release; ignore the error.
                let _ = session.accept(seq, &why);
            } else {
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        next
    }
}
