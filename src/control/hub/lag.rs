//! Measurement of the delay between engines and the hub.

use std::collections::VecDeque;
use std::sync::Weak;
use std::time::Duration;

use futures_util::future::join_all;

use super::Hub;
use crate::clock::Stamp;
use crate::control::api::{Ask, EngineFacts};
use crate::log::record::Seq;

/// Interval between two probes of an engine, and time limit for each answer.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Asks every engine for its newest position, for as long as the hub exists.
pub(super) async fn mind(hub: Weak<Hub>) {
    // Positions of each engine, with the time of the probe, whose records have not arrived yet.
    let mut lags: Vec<VecDeque<(Seq, Stamp)>> = Vec::new();
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let Some(hub) = hub.upgrade() else { return };
        let living: Vec<_> = {
            let inner = hub.inner.lock();
            let living = inner.members.iter().enumerate().filter(|(_, member)| !member.gone);
            living.map(|(at, member)| (at, member.client.clone())).collect()
        };
        let count = living.last().map_or(0, |(at, _)| at + 1);
        lags.resize_with(count.max(lags.len()), VecDeque::new);
        let asked = living.iter().map(|(at, client)| async {
            let ask = Ask::Facts {};
            let answer = tokio::time::timeout(PROBE_INTERVAL, client.ask::<EngineFacts>(&ask)).await;
            (*at, answer.ok().and_then(Result::ok).map(|facts| facts.last))
        });
        let mut changed = false;
        for (at, last) in join_all(asked).await {
            let now = hub.log.clock().now();
            let mut inner = hub.inner.lock();
            let member = &mut inner.members[at];
            let newest = member.numbers.last();
            let lag = &mut lags[at];
            // An engine that does not answer adds no position.
            lag.extend(last.map(|last| (last, now)));
            while lag.front().is_some_and(|(last, _)| *last <= newest) {
                lag.pop_front();
            }
            let behind = lag.front().map_or(Duration::ZERO, |(_, when)| now.since(*when));
            changed |= std::mem::replace(&mut member.behind, behind) != behind;
        }
        if changed {
            hub.show();
        }
    }
}
