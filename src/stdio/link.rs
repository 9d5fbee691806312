//! The two ends of a link: the client and the server that a session connects.

use crate::session::Receipt;
use crate::transport::child::{Child, Process};
use crate::transport::{Sink, Source};

/// End of a link with a lane in each direction: the streams of a peer.
pub struct LinkEnd {
    /// Stream that is read from the peer.
    pub source: Box<dyn Source>,
    /// Stream that is written to the peer.
    pub sink: Box<dyn Sink<Receipt>>,
}

/// A started stdio server, with the end of the link to it.
pub struct StartedServer {
    /// Process group of the server.
    pub process: Process,
    /// Standard output and input of the server.
    pub end: LinkEnd,
    /// Standard error of the server.
    pub stderr: Box<dyn Source>,
}

impl From<Child> for StartedServer {
    fn from(child: Child) -> Self {
        let end = LinkEnd { source: Box::new(child.stdout), sink: Box::new(child.stdin) };
        Self { process: child.process, end, stderr: Box::new(child.stderr) }
    }
}
