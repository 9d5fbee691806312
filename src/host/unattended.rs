//! What is held while nobody is there who could decide: it goes on at once, or when the patience of
//! the breakpoint that holds it is over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Host;
use crate::clock::Stamp;
use crate::log::Seq;
use crate::log::record::Level;
use crate::log::record::SessionId;
use crate::session::Session;

/// Lets go what nobody decided on in time, for as long as the host lives.
pub(super) async fn mind(host: Weak<Host>) {
    let Some(mut news) = host.upgrade().map(|host| host.breakpoints.watch()) else { return };
    loop {
        let Some(wait) = host.upgrade().map(|host| host.release_overdue()) else { return };
        let changed = async {
            match wait {
                // Others can let it go as well; then there is nothing to do when it wakes.
                Some(wait) => tokio::time::timeout(wait, news.changed()).await.unwrap_or(Ok(())),
                None => news.changed().await,
            }
        };
        if changed.await.is_err() {
            return;
        }
    }
}

impl Host {
    /// The last one who could decide is gone: what no breakpoint is patient about goes on.
    pub(super) fn unattended(&self, why: &str) {
        let held = self.held();
        if !held.is_empty() {
            self.note(SessionId(0), Level::Warning, format!("{why}: {} frames were held", held.len()));
        }
        for (session, frame) in held {
            if self.breakpoints.patience(frame).is_zero() {
                // It may have been decided or withdrawn meanwhile.
                let _ = session.decide(frame, why, self.as_amended(frame));
                self.breakpoints.forget(frame);
            }
        }
        self.breakpoints.stir();
    }

    /// Every frame that waits for a verdict, in the order of arrival on each lane.
    pub fn held(&self) -> Vec<(Arc<Session>, Seq)> {
        let sessions: Vec<_> =
            self.sessions.lock().values().map(|running| Arc::clone(&running.session)).collect();
        let of = |session: Arc<Session>| {
            let held = session.held();
            held.into_iter().map(move |seq| (Arc::clone(&session), seq))
        };
        sessions.into_iter().flat_map(of).collect()
    }

    /// Lets go whose time is over. Returns how long until the next one is.
    fn release_overdue(&self) -> Option<Duration> {
        if self.breakpoints.decider().is_some() {
            return None;
        }
        let (now, alone) = (self.log.clock().now(), *self.alone.lock());
        let mut next: Option<Duration> = None;
        // In this order: what is held in between is not taken for one that was withdrawn.
        let patient = self.breakpoints.patient();
        let held = self.held();
        // A frame is ruled on a moment before it is stopped, and may be withdrawn later.
        const MOMENT: Duration = Duration::from_millis(10);
        const SOON: Duration = Duration::from_secs(1);
        for frame in patient {
            if held.iter().any(|(_, held)| *held == frame) {
                continue;
            }
            let arrived = self.log.get(frame).map_or(Stamp::default(), |record| record.at);
            match now.since(arrived) > SOON {
                true => self.breakpoints.forget(frame),
                false => next = Some(MOMENT),
            }
        }
        for (session, frame) in held {
            let patience = self.breakpoints.patience(frame);
            let arrived = self.log.get(frame).map_or(Stamp::default(), |record| record.at);
            let left = patience.saturating_sub(now.since(arrived.max(alone)));
            if left.is_zero() {
                let why = format!("nobody decided for {patience:?}");
                // It may have been decided or withdrawn meanwhile.
                let _ = session.decide(frame, &why, self.as_amended(frame));
                self.breakpoints.forget(frame);
            } else {
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        next
    }
}
