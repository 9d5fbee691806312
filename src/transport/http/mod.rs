//! HTTP transport: the listener that clients connect to, and the client of an upstream.
//!
//! Nothing is added, followed, retried, decompressed or remembered here on behalf of a peer: the
//! messages of one side reach the other side unchanged. The parts of HTTP that concern a single hop
//! are treated as follows:
//!
//! | part | treatment |
//! |---|---|
//! | `Connection` and what it names, `Keep-Alive`, `TE`, `Trailer`, `Transfer-Encoding`, `Proxy-*` | stays on its hop (RFC 9110, 7.6.1) |
//! | `Upgrade` | not passed on: a server may ignore it, and no revision of MCP uses it |
//! | `CONNECT` | refused with 405 |
//! | `Expect: 100-continue` | answered on its hop |
//! | trailers | dropped: no revision of MCP uses them |
//! | `HEAD`, `OPTIONS` and any other method | passed on |
//! | `Host` | checked, then the upstream's, unless `--preserve-host` |
//! | `Origin` | checked, then passed on |
//! | `Content-Length` of a 204 | dropped: it must not have one (RFC 9110, 8.6) |
//! | `Date` | passed on; none is added |
//! | HTTP version | each hop has its own |

pub mod authorized;
pub mod coding;
pub mod connect;
pub mod cors;
pub mod guard;
pub mod headers;
pub mod listen;
pub mod origin;
pub mod secrets;
pub mod upstream;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// The error with which sending or receiving a body fails.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// An outgoing body.
pub type HttpBody = UnsyncBoxBody<Bytes, BodyError>;

pub use authorized::Authorized;
pub use connect::{Connect, Sending, ServerAddress, Unanswered};
pub use guard::Guard;
pub use listen::{Cut, Listener};
pub use origin::Rewrite;
pub use secrets::Cleaner;
pub use upstream::{Upstream, UpstreamError, UpstreamOptions};

/// Returns an empty body of unknown length. An upstream that did not announce the empty body must not
/// look as if it had, which a known length of zero would.
pub fn nothing() -> HttpBody {
    use http_body_util::BodyExt;
    http_body_util::StreamBody::new(futures_util::stream::empty::<Result<_, BodyError>>()).boxed_unsync()
}

/// Returns a body of `bytes`, with a known length.
pub fn full(bytes: Bytes) -> HttpBody {
    use http_body_util::BodyExt;
    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
