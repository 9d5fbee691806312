//! The reason why no response came from a server, in the `data` of the errors that shadowcat answers with.

/// The reason why no response came from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreached {
    /// Nobody listens at the address.
    Refused,
    /// The name of the host has no address.
    Unresolved,
    /// No connection was made in time.
    TimedOut,
    /// The connection ended before a response.
    Reset,
    /// TLS failed.
    Tls,
    /// The proxy of the environment did not connect.
    Proxy,
    /// Another failure, which the message names.
    Other,
}

impl Unreached {
    /// The name of the reason in the `data` of our JSON-RPC error.
    pub const KEY: &str = "unreached";

    const NAMES: [(Self, &'static str); 7] = [
        (Self::Refused, "refused"),
        (Self::Unresolved, "unresolved"),
        (Self::TimedOut, "timed-out"),
        (Self::Reset, "reset"),
        (Self::Tls, "tls"),
        (Self::Proxy, "proxy"),
        (Self::Other, "other"),
    ];

    /// Returns the name of the reason.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(reason, _)| *reason == self).map_or("other", |(_, name)| name)
    }

    /// Returns the reason that `name` names.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(reason, _)| *reason)
    }
}
