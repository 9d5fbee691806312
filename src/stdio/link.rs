//! What a session of two lanes stands between.

use std::io::Read;

use crate::session::Receipt;
use crate::transport::Sink;
use crate::transport::child::{Child, Process};

/// One end of a two-lane link: what we read from a peer and write to it.
pub struct End {
    pub source: Box<dyn Read + Send>,
    pub sink: Box<dyn Sink<Receipt>>,
}

/// A stdio server that was started, with the end that its client speaks to.
pub struct Server {
    pub process: Process,
    pub end: End,
    pub stderr: Box<dyn Read + Send>,
}

impl From<Child> for Server {
    fn from(child: Child) -> Self {
        let end = End { source: Box::new(child.stdout), sink: Box::new(child.stdin) };
        Self { process: child.process, end, stderr: Box::new(child.stderr) }
    }
}
