//! The methods of all revisions as one table.
//!
//! Source: the request and notification unions of `schema/<revision>/schema.ts` and the deprecation
//! registry of the specification (2026-07-28).

use super::revision::{Era, Revision};
use Revision::{V2024_11_05 as A, V2025_06_18 as C, V2025_11_25 as D, V2026_07_28 as E};

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A method of the protocol: one row of [`METHODS`].
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// The name.
    pub name: &'static str,
    /// `true` for a request, `false` for a notification.
    pub is_request: bool,
    /// The sides that may send it.
    pub senders: Senders,
    /// The first revision that has the method.
    pub since: Revision,
    /// The last revision that has the method.
    pub until: Revision,
    /// The revision that deprecated the method while keeping it.
    pub deprecated: Option<Revision>,
    /// The member of `params` that names the target, e.g. the tool.
    pub target: Option<&'static str>,
}

/// The sides that may send a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Senders {
    /// Only the client.
    Client,
    /// Only the server.
    Server,
    /// Client and server.
    Both,
    /// Client and server until 2025-11-25; since 2026-07-28 only the server.
    BothThenServer,
    /// The server until 2025-11-25; later only embedded in an `input_required` result.
    ServerThenEmbedded,
}

impl Direction {
    /// Returns the opposite direction.
    pub const fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// Returns the word of the query language and of tapes: `c2s` or `s2c`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ToServer => "c2s",
            Self::ToClient => "s2c",
        }
    }
}

impl Method {
    /// Returns the row of the method `name`, if any revision defines it.
    pub fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// Returns `true` if `revision` has the method as a message of its own in `direction`.
    pub fn is_allowed(&self, revision: Revision, direction: Direction) -> bool {
        if revision < self.since || revision > self.until {
            return false;
        }
        let modern = revision.era() == Era::Stateless;
        match (self.senders, direction) {
            (Senders::Client, Direction::ToServer) | (Senders::Server, Direction::ToClient) => true,
            (Senders::Both, _) | (Senders::BothThenServer, Direction::ToClient) => true,
            (Senders::BothThenServer, Direction::ToServer) => !modern,
            (Senders::ServerThenEmbedded, Direction::ToClient) => !modern,
            _ => false,
        }
    }

    /// Returns `true` for methods that generic holds leave alone, and whose held messages hold up no
    /// others: a debugger that stops the heartbeat or a cancellation kills what it watches.
    pub fn is_vital(name: &str) -> bool {
        matches!(name, "ping" | "notifications/cancelled" | "notifications/progress")
    }
}

const fn request(name: &'static str, senders: Senders, since: Revision, until: Revision) -> Method {
    Method { name, is_request: true, senders, since, until, deprecated: None, target: None }
}

const fn notice(name: &'static str, senders: Senders, since: Revision, until: Revision) -> Method {
    Method { name, is_request: false, senders, since, until, deprecated: None, target: None }
}

const fn aimed(method: Method, target: &'static str) -> Method {
    Method { target: Some(target), ..method }
}

const fn fading(method: Method) -> Method {
    Method { deprecated: Some(E), ..method }
}

/// The methods of all published revisions.
pub static METHODS: &[Method] = &[
    request("initialize", Senders::Client, A, D),
    notice("notifications/initialized", Senders::Client, A, D),
    request("server/discover", Senders::Client, E, E),
    request("ping", Senders::Both, A, D),
    request("tools/list", Senders::Client, A, E),
    aimed(request("tools/call", Senders::Client, A, E), "name"),
    request("resources/list", Senders::Client, A, E),
    request("resources/templates/list", Senders::Client, A, E),
    aimed(request("resources/read", Senders::Client, A, E), "uri"),
    aimed(request("resources/subscribe", Senders::Client, A, D), "uri"),
    aimed(request("resources/unsubscribe", Senders::Client, A, D), "uri"),
    request("prompts/list", Senders::Client, A, E),
    aimed(request("prompts/get", Senders::Client, A, E), "name"),
    request("completion/complete", Senders::Client, A, E),
    request("logging/setLevel", Senders::Client, A, D),
    request("subscriptions/listen", Senders::Client, E, E),
    fading(request("sampling/createMessage", Senders::ServerThenEmbedded, A, E)),
    fading(request("roots/list", Senders::ServerThenEmbedded, A, E)),
    request("elicitation/create", Senders::ServerThenEmbedded, C, E),
    aimed(request("tasks/get", Senders::Both, D, E), "taskId"),
    aimed(request("tasks/result", Senders::Both, D, D), "taskId"),
    request("tasks/list", Senders::Both, D, D),
    aimed(request("tasks/cancel", Senders::Both, D, E), "taskId"),
    aimed(request("tasks/update", Senders::Client, E, E), "taskId"),
    notice("notifications/cancelled", Senders::Both, A, E),
    notice("notifications/progress", Senders::BothThenServer, A, E),
    fading(notice("notifications/message", Senders::Server, A, E)),
    notice("notifications/tools/list_changed", Senders::Server, A, E),
    notice("notifications/prompts/list_changed", Senders::Server, A, E),
    notice("notifications/resources/list_changed", Senders::Server, A, E),
    aimed(notice("notifications/resources/updated", Senders::Server, A, E), "uri"),
    notice("notifications/roots/list_changed", Senders::Client, A, D),
    notice("notifications/tasks/status", Senders::Both, D, D),
    notice("notifications/tasks", Senders::Server, E, E),
    notice("notifications/elicitation/complete", Senders::Server, D, D),
    notice("notifications/subscriptions/acknowledged", Senders::Server, E, E),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_spans_are_ordered() {
        for (index, method) in METHODS.iter().enumerate() {
            assert!(method.since <= method.until, "{}", method.name);
            assert!(METHODS[..index].iter().all(|other| other.name != method.name), "{}", method.name);
            assert_eq!(method.is_request, !method.name.starts_with("notifications/"), "{}", method.name);
        }
    }

    #[test]
    fn the_stateless_era_has_no_requests_from_the_server() {
        for method in METHODS.iter().filter(|method| method.is_request && method.senders != Senders::Both) {
            assert!(!method.is_allowed(E, Direction::ToClient), "{}", method.name);
        }
        let sampling = Method::find("sampling/createMessage").unwrap();
        assert!(sampling.is_allowed(D, Direction::ToClient));
    }

    #[test]
    fn ping_ended_with_the_stateful_era() {
        let ping = Method::find("ping").unwrap();
        assert!(ping.is_allowed(D, Direction::ToClient) && !ping.is_allowed(E, Direction::ToServer));
    }
}
