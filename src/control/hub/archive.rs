//! Archive of a hub's log: records that were evicted from memory are requested from their engine,
//! or read from the engine's tape if it is gone.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::Inner;
use crate::log::Log;
use crate::log::record::{Record, Seq};
use crate::log::store;

/// Number of records per request.
const BLOCK: usize = 256;
/// Time limit for the answer of an engine; short, because a screen waits for it.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) struct RemoteArchive {
    inner: Arc<Mutex<Inner>>,
    runtime: Handle,
    /// Engine and records of the last answer: most readers continue where they are.
    block: Mutex<(usize, Vec<Record>)>,
}

impl RemoteArchive {
    pub(super) fn new(inner: Arc<Mutex<Inner>>) -> Arc<Self> {
        Arc::new(Self { inner, runtime: Handle::current(), block: Mutex::default() })
    }

    /// Returns record `remote` of engine `at`, in the engine's own numbers.
    fn fetch(&self, at: usize, remote: Seq) -> Option<Record> {
        {
            let block = self.block.lock();
            if block.0 == at
                && let Ok(found) = block.1.binary_search_by_key(&remote, |record| record.seq)
            {
                return Some(block.1[found].clone());
            }
        }
        let (client, gone) = {
            let inner = self.inner.lock();
            let member = inner.members.get(at)?;
            (member.client.clone(), member.gone)
        };
        if gone {
            return self.on_tape(at, remote);
        }
        let ask = async { tokio::time::timeout(READ_TIMEOUT, client.records(remote, BLOCK)).await };
        // Readers of a log are synchronous, so the thread has to wait for the engine.
        let Ok(Ok(records)) = tokio::task::block_in_place(|| self.runtime.block_on(ask)) else {
            // The engine has just ended or is busy; its older records are on its tape.
            return self.on_tape(at, remote);
        };
        let record = records.iter().find(|record| record.seq == remote).cloned();
        *self.block.lock() = (at, records);
        record
    }

    fn on_tape(&self, at: usize, remote: Seq) -> Option<Record> {
        self.shelf(at, remote)?.get(remote).map(|record| Record::clone(&record))
    }

    /// Returns the tape of engine `at`. A tape that was opened while the engine lived may lack
    /// record `remote`; it is opened again.
    fn shelf(&self, at: usize, remote: Seq) -> Option<Arc<Log>> {
        let path = {
            let inner = self.inner.lock();
            let member = inner.members.get(at)?;
            if let Some(shelf) = member.shelf.as_ref().filter(|shelf| member.gone || shelf.last() >= remote) {
                return Some(Arc::clone(shelf));
            }
            member.recording()?
        };
        let opened = crate::tape::open(&path, &mut |_, _| ()).ok()?;
        self.inner.lock().members[at].shelf = Some(Arc::clone(&opened.log));
        Some(opened.log)
    }
}

impl store::Archive for RemoteArchive {
    fn read(&self, seq: Seq) -> Option<Arc<Record>> {
        let (at, remote) = self.inner.lock().owner(seq)?;
        let record = self.fetch(at, remote)?;
        let inner = self.inner.lock();
        let numbers = &inner.members.get(at)?.numbers;
        Some(Arc::new(Record {
            seq,
            at: record.at,
            session: numbers.session(record.session),
            body: numbers.translated(&record, seq),
        }))
    }

    fn next(&self, seq: Seq) -> Option<Seq> {
        let inner = self.inner.lock();
        let from = usize::try_from(seq).ok()?;
        let next = inner.owners.iter().skip(from).position(Option::is_some)?;
        Some(seq + 1 + next as Seq)
    }
}
