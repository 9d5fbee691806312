//! HTTP: the listener that clients connect to, and the way to an upstream.
//!
//! Nothing here is added to, followed, retried, decompressed or remembered on behalf of a peer:
//! what one side says reaches the other as it was said. What happens to the parts of HTTP that
//! are about one hop only:
//!
//! | part | what becomes of it |
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
pub mod guard;
pub mod headers;
pub mod listen;
pub mod origin;
pub mod secrets;
pub mod upstream;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// What went wrong while a body was sent or received.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body that goes out.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

pub use authorized::Authorized;
pub use connect::{Connect, Sending, ServerAddress, Unanswered};
pub use guard::Guard;
pub use listen::{Cut, Listener};
pub use origin::Rewrite;
pub use secrets::Cleaner;
pub use upstream::{Upstream, UpstreamError, UpstreamOptions};

/// A body of no bytes that does not say so before: an upstream that did not say so is not to look as
/// if it had.
pub fn nothing() -> Body {
    use http_body_util::BodyExt;
    http_body_util::StreamBody::new(futures_util::stream::empty::<Result<_, BodyError>>()).boxed_unsync()
}

/// A body of these bytes.
pub fn full(bytes: Bytes) -> Body {
    use http_body_util::BodyExt;
    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
