//! HTTP through the pipeline: every exchange is two lanes of a session, its request and its response,
//! and takes the same way as every other message.
//!
//! From the client to the server: [`ProxyService`] checks who asks and reads the body, finds the
//! HTTP session and opens an `exchange`; the exchange records the request, waits for the
//! verdict and hands a [`Call`] to a [`CallService`]; `relay` takes the [`Answer`] into the response
//! lane. Modules use only those that follow them here: `built_in`, `bridge`,
//! `service`, `exchange`, `injected`,
//! `relay`, `sessions`, `call`, `context`, then the helpers `body`, `facts` and `fit`.

pub mod body;
pub mod call;

mod bridge;
mod built_in;
mod context;
mod exchange;
mod facts;
mod fit;
mod injected;
mod relay;
mod service;
mod sessions;

pub use bridge::Bridge;
pub use built_in::{BuiltInClient, ConnectedClient};
pub use call::{Answer, AnswerBody, Call, CallBody, CallService, Calling, HttpUpstream, StreamItem};
pub use context::{OfClient, OwnRequest, PeerAddress, RequestContext};
pub use service::{ProxyOptions, ProxyService};
